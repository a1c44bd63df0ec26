"""The producer of code without a loop, in real processes: forks, ends and signals."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.testing import BrokerForTests
from tests.acceptance.producer_program import PATIENCE_S, Programs


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    with BrokerForTests() as broker:
        yield Programs(broker, tmp_path)


def test_a_script_that_ends_right_away_has_sent_all(programs: Programs) -> None:
    programs.run("""
        it = producer(settings=KEPT)
        send(it, "script", 1_000)
    """)
    assert programs.arrived() == {"script": 1_000}


def test_what_atexit_handlers_of_others_send_arrives(programs: Programs) -> None:
    programs.run("""
        import atexit
        it = producer(settings=KEPT)
        atexit.register(send, it, "goodbye", 3)
    """)
    assert programs.arrived() == {"goodbye": 3}


def test_a_script_that_fails_has_sent_all(programs: Programs) -> None:
    with programs.start("""
        it = producer(settings=KEPT)
        send(it, "script", 10)
        raise SystemExit("something else")
    """) as process:
        _, complaints = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, complaints) == (1, "something else\n")
    assert programs.arrived() == {"script": 10}


def test_a_forked_child_begins_empty_and_the_parent_sends_its_own(programs: Programs) -> None:
    printed = programs.run("""
        it = producer(settings=KEPT)
        it.publish("click", "published-0")
        send(it, "parent", 5)
        child = os.fork()
        if child == 0:
            print(it.ledger.offered, it.ledger.buffered)
            it.publish("click", "child-published-0")
            send(it, "child", 7)
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
        send(it, "parent-again", 2)
        print(it.close().delivered)
    """)
    assert printed == "0 0\n8\n"
    assert programs.arrived() == {
        "published": 1,
        "parent": 5,
        "child-published": 1,
        "child": 7,
        "parent-again": 2,
    }


def test_forks_beside_threads_that_send_stop_nobody(programs: Programs) -> None:
    programs.run("""
        it = producer(settings=ProducerSettings(buffer_size=1_000_000))
        going = True
        sent = [0] * 3

        def go_on(thread):
            while going:
                time.sleep(0.0001)
                if sent[thread] < 200:
                    send(it, f"{thread}-{sent[thread]}", 1)
                    sent[thread] += 1
                else:
                    it.ledger

        threads = [threading.Thread(target=go_on, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        children = []
        for number in range(20):
            child = os.fork()
            if child == 0:
                send(it, f"child-{number}", 10)
                assert it.close().delivered == 10
                os._exit(0)
            children.append(child)
            time.sleep(0.01)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 20
        going = False
        for thread in threads:
            thread.join()
        ledger = it.close()
        assert ledger.delivered == ledger.offered == sum(sent), (ledger, sent)
    """)
    arrived = programs.arrived()
    assert {f"child-{number}": 10 for number in range(20)}.items() <= arrived.items()
    assert sum(arrived.values()) == 20 * 10 + 3 * 200


def test_workers_that_a_server_forks_after_it_has_loaded_the_application(
    programs: Programs,
) -> None:
    """As gunicorn --preload does, which ends its workers by SIGTERM and an exception."""
    programs.run("""
        it = producer(settings=KEPT)
        it.publish("click", "loaded-0")
        send(it, "master", 3)

        def serve(number):
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            requests = [
                threading.Thread(target=send, args=(it, f"worker-{number}-request-{each}", 10))
                for each in range(8)
            ]
            for request in requests:
                request.start()
            for request in requests:
                request.join()
            os.write(ready, b"r")
            while True:
                time.sleep(0.1)

        heard, ready = os.pipe()
        workers = []
        for number in range(3):
            worker = os.fork()
            if worker == 0:
                serve(number)
            workers.append(worker)
        for _ in range(3):
            assert os.read(heard, 1) == b"r"
        for worker in workers:
            os.kill(worker, signal.SIGTERM)
        assert [os.waitpid(worker, 0)[1] for worker in workers] == [0] * 3
    """)
    assert programs.arrived() == {
        "loaded": 1,
        "master": 3,
        **{f"worker-{number}-request-{each}": 10 for number in range(3) for each in range(8)},
    }


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_have_sent_all_when_they_end(
    programs: Programs, method: str
) -> None:
    programs.run(
        """
        from concurrent.futures import ProcessPoolExecutor

        it = producer(settings=KEPT)

        def work(name):
            send(it, name, 20)

        if __name__ == "__main__":
            send(it, "parent", 5)
            context = multiprocessing.get_context(os.environ["METHOD"])
            processes = [context.Process(target=work, args=(f"child-{n}",)) for n in range(2)]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
                assert process.exitcode == 0
            with context.Pool(1) as pool:
                pool.map(work, ["pool"])
                pool.close()
                pool.join()
            with ProcessPoolExecutor(1, mp_context=context) as executor:
                executor.submit(work, "executor").result()
        """,
        METHOD=method,
    )
    sent = {"parent": 5, "child-0": 20, "child-1": 20, "pool": 20, "executor": 20}
    assert programs.arrived() == sent


def test_sigterm_ends_a_process_at_once_and_what_was_buffered_is_lost(programs: Programs) -> None:
    with programs.start("""
        it = producer()
        send(it, "flushed", 5)
        it.flush()
        it.settings = KEPT
        send(it, "buffered", 5)
        print("ready", flush=True)
        signal.pause()
    """) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        asked_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == -signal.SIGTERM
        assert time.monotonic() - asked_s < 5
    assert programs.arrived() == {"flushed": 5}


def test_a_process_that_exits_at_sigterm_loses_nothing(programs: Programs) -> None:
    with programs.start("""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        it = producer(settings=KEPT)
        send(it, "buffered", 5)
        print("ready", flush=True)
        while True:
            time.sleep(0.1)
    """) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert programs.arrived() == {"buffered": 5}


def test_requests_in_threads_send_and_publish_without_a_loop(programs: Programs) -> None:
    """As Django's views do under a server with threads, and a management command at the end."""
    printed = programs.run("""
        from concurrent.futures import ThreadPoolExecutor

        usage = producer()

        def view(number):
            usage.send("click", f"view-{number}")
            if number % 10 == 0:
                return usage.publish("order", f"order-{number}", key=f"order-{number}").message_id

        with ThreadPoolExecutor(8) as server:
            answers = list(server.map(view, range(100)))
        with usage:
            send(usage, "command", 10)
        print(len(set(filter(None, answers))), usage.ledger.delivered, usage.ledger.lost)
    """)
    assert printed == "10 120 0\n"
    assert programs.arrived() == {"view": 100, "order": 10, "command": 10}


def test_a_black_hole_holds_up_the_end_of_a_script_for_so_long_and_is_reported(
    programs: Programs,
) -> None:
    with programs.start("""
        import socket
        hole = socket.create_server(("127.0.0.1", 0))
        it = producer(
            endpoint_url=f"http://127.0.0.1:{hole.getsockname()[1]}", close_timeout_s=1.0
        )
        send(it, "lost", 25)
        print(time.monotonic(), flush=True)
    """) as process:
        assert process.stdout is not None
        # By the same clock, and read before a busy machine can be late with it.
        asked_s = float(process.stdout.readline())
        _, complaints = process.communicate(timeout=PATIENCE_S)
        assert 0.5 < time.monotonic() - asked_s < 5
    assert process.returncode == 0
    assert "has lost envelopes: offered 25, delivered 0, dropped 0, failed 25" in complaints


def test_what_could_not_be_sent_at_the_end_waits_on_the_disk_for_the_next_process(
    programs: Programs, tmp_path: Path
) -> None:
    spill = str(tmp_path / "spill")
    with programs.start(
        """
        it = producer(
            endpoint_url="http://127.0.0.1:1", spill=os.environ["SPILL"], close_timeout_s=0.2
        )
        send(it, "kept", 25)
        """,
        SPILL=spill,
    ) as process:
        _, complaints = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert f"25 envelopes for {programs.queue_url} wait in {spill}" in complaints
    printed = programs.run(
        """
        with producer(spill=os.environ["SPILL"]) as it:
            send(it, "new", 5)
            while it.ledger.delivered < 30:
                time.sleep(0.01)
        print(it.ledger.offered, it.ledger.delivered)
        """,
        SPILL=spill,
    )
    assert printed == "30 30\n"
    assert programs.arrived() == {"kept": 25, "new": 5}


@pytest.mark.parametrize("close", ["it.close()", "pass"])
def test_a_forked_child_that_never_calls_sends_nothing_and_ends_cleanly(
    programs: Programs, close: str
) -> None:
    programs.run(f"""
        it = producer(settings=KEPT)
        send(it, "parent", 5)
        child = os.fork()
        if child == 0:
            {close}
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
    """)
    assert programs.arrived() == {"parent": 5}


def test_a_producer_that_was_closed_stays_closed_in_a_forked_child(programs: Programs) -> None:
    printed = programs.run("""
        it = producer()
        send(it, "parent", 5)
        it.close()
        child = os.fork()
        if child == 0:
            print(it.send("click", 1), it.close().buffered)
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
    """)
    assert printed == "False 0\n"
    assert programs.arrived() == {"parent": 5}
