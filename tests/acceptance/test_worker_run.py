"""`forebay worker run`: processes that start, die, hang and stop. The worker is a fake one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forebay.client.endpoint import ENDPOINT_VARIABLES, REGION_VARIABLES
from forebay.stop_signals import SAME_REQUEST_S
from tests.acceptance.serve_process import free_port
from tests.acceptance.worker_run_process import WorkerRun, get, runs, until

TARGET = "fake_worker:worker"


def test_processes_work_behind_one_port_and_drain_at_the_first_signal() -> None:
    with WorkerRun(TARGET, "--processes", "2", "--port", "0") as run:
        url, processes = run.working(2)
        assert len({process["process_id"] for process in processes}) == 2
        status, health = get(f"{url}/health")
        assert (status, json.loads(health)["reasons"]) == (200, [])
        metrics = get(f"{url}/metrics")[1]
        assert 'forebay_worker_process_up{process="1"} 1.0' in metrics
        assert 'forebay_worker_process_up{process="2"} 1.0' in metrics
        # What SQS says of a queue is the same for all processes.
        assert metrics.count('forebay_worker_queue_visible_messages{priority="medium"') == 1
        run.signal(signal.SIGTERM)
        code, errors = run.end()
    assert code == 0, errors
    assert "Stopped: 6 received, 6 done, 0 rejected, 0 retried, 0 released, 0 lost." in errors
    assert not any(runs(process["process_id"]) for process in processes)


def test_a_second_signal_gives_back_at_once_and_more_change_nothing() -> None:
    with WorkerRun(TARGET, "--port", "0", FAKE_FAULT="slow") as run:
        run.working()
        run.signal(signal.SIGTERM)
        until(lambda: "running messages finish" in run.errors())
        for _ in range(3):
            time.sleep(2 * SAME_REQUEST_S)
            # An interpreter that is ending takes its signal handlers away.
            if "Stopped:" not in run.errors():
                run.signal(signal.SIGINT)
        code, errors = run.end()
    assert code == 0, errors
    assert "3 released" in errors
    assert "Traceback" not in errors


def test_a_signal_that_a_wrapper_passes_on_is_no_second_one() -> None:
    with WorkerRun(TARGET, "--port", "0", FAKE_FAULT="slow") as run:
        run.working()
        run.signal(signal.SIGINT)
        run.signal(signal.SIGINT)
        until(lambda: "running messages finish" in run.errors())
        time.sleep(2 * SAME_REQUEST_S)
        assert "Stopping at once" not in run.errors()
        run.signal(signal.SIGINT)
        code, errors = run.end()
    assert code == 0, errors
    assert "Stopping at once" in errors


def test_what_is_lost_makes_one_line_and_an_exit_code() -> None:
    with WorkerRun(TARGET, "--port", "0", FAKE_FAULT="loses") as run:
        run.working()
        run.signal(signal.SIGTERM)
        code, errors = run.end()
    assert code == 1
    assert errors.splitlines()[-1] == (
        "Error: Process 1 lost 3 messages, to be delivered again after the visibility timeout."
    )


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("dies", "exit code 7"),
        ("killed", "SIGKILL, as the kernel does when memory is short"),
        ("raises", "exit code 1"),
    ],
)
def test_a_process_that_dies_is_started_again_and_its_death_explained(
    fault: str, cause: str
) -> None:
    with WorkerRun(TARGET, "--port", "0", FAKE_FAULT=fault) as run:
        url = run.url()
        until(lambda: "died 2 times in a row" in run.errors())
        status, health = get(f"{url}/health")
        (process,) = json.loads(get(f"{url}/snapshot")[1])["processes"]
        run.signal(signal.SIGTERM)
        code, errors = run.end()
    assert status == 503
    assert json.loads(health)["status"] == "failing"
    assert process["deaths"] >= 2
    assert f"{cause}." in errors
    if fault == "raises":
        assert "RuntimeError: a bug" in errors
    else:
        assert "It had 3 messages in hand, to be delivered again" in errors
        assert code == 1


def test_settings_that_are_refused_when_the_worker_begins_end_the_command() -> None:
    with WorkerRun(TARGET, "--port", "0", FAKE_FAULT="refuses") as run:
        code, errors = run.end()
    assert code == 2
    assert errors.splitlines()[-1] == "Error: The queue is its own dead-letter queue."


def test_a_process_that_is_killed_is_replaced_by_one_that_works() -> None:
    with WorkerRun(TARGET, "--processes", "2", "--port", "0") as run:
        url, before = run.working(2)
        os.kill(before[0]["process_id"], signal.SIGKILL)
        until(lambda: f"pid {before[0]['process_id']}" in run.errors())
        after = until(
            lambda: [
                process
                for process in json.loads(get(f"{url}/snapshot")[1])["processes"]
                if process["state"] == "working"
                and process["process_id"] not in (None, before[0]["process_id"])
            ][1:]
        )
        metrics = get(f"{url}/metrics")[1]
        run.signal(signal.SIGTERM)
        run.end()
    assert after
    assert 'forebay_worker_process_deaths_total{process="1"} 1.0' in metrics
    # The first one's messages are counted still: received by both, lost by the first.
    labels = 'priority="medium",process="1",queue="orders"'
    assert f"forebay_worker_received_messages_total{{{labels}}} 6.0" in metrics
    assert f"forebay_worker_in_hand_messages{{{labels}}} 3.0" in metrics


@pytest.mark.parametrize("fault", ["hangs", "blocks"])
def test_a_process_that_hangs_is_killed_after_its_deadline_and_reported(fault: str) -> None:
    arguments = ("--drain-timeout", "0", "--port", "0")
    with WorkerRun(TARGET, *arguments, FAKE_FAULT=fault) as run:
        _, (process,) = run.working()
        begun = time.monotonic()
        run.signal(signal.SIGTERM)
        code, errors = run.end()
    assert code == 1
    assert time.monotonic() - begun < 20, "a stop has a bound"
    assert "Process 1 has not ended" in errors
    assert "Error: Process 1 hung and was killed." in errors.splitlines()[-1]
    assert not runs(process["process_id"])


def test_a_thread_that_goes_on_behind_the_drain_is_no_loss_and_holds_up_no_stop() -> None:
    with WorkerRun(TARGET, "--port", "0", FAKE_FAULT="lingers") as run:
        run.working()
        begun = time.monotonic()
        run.signal(signal.SIGTERM)
        code, errors = run.end()
    assert code == 0, errors
    assert time.monotonic() - begun < 15
    assert "Process 1 has drained, but has not ended 5 s later, and is killed" in errors


def test_a_failure_behind_the_drain_is_said() -> None:
    with WorkerRun("fake_worker:closing_badly", "--port", "0") as run:
        run.working()
        run.signal(signal.SIGTERM)
        code, errors = run.end()
    assert code == 1
    assert "RuntimeError: a bug behind the drain" in errors
    assert errors.splitlines()[-1] == (
        "Error: Process 1 failed after its drain, with exit code 1; see the log."
    )


def test_children_drain_and_end_when_the_parent_is_killed() -> None:
    with WorkerRun(TARGET, "--processes", "2", "--port", "0") as run:
        _, processes = run.working(2)
        os.kill(run.process_id, signal.SIGKILL)
        until(lambda: not any(runs(process["process_id"]) for process in processes))
        assert "The process above has died" in run.errors()


def test_a_signal_to_a_child_drains_it_and_it_is_replaced() -> None:
    with WorkerRun(TARGET, "--port", "0") as run:
        _, (process,) = run.working()
        os.kill(process["process_id"], signal.SIGTERM)
        until(lambda: "its worker was stopped by somebody else" in run.errors())
        run.signal(signal.SIGTERM)
        code, errors = run.end()
    assert code == 0, errors


def test_only_the_named_queues_are_served() -> None:
    with WorkerRun(TARGET, "--port", "0", "--queue", "mail") as run:
        _, (process,) = run.working()
        run.signal(signal.SIGTERM)
        run.end()
    assert [queue["name"] for queue in process["snapshot"]["queues"]] == ["mail"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["shop:wroker"], "shop has no wroker. Did you mean worker?"),
        (["shopp:worker"], "There is no module shopp in "),
        (["shop"], "'shop' names no object. Say module:object, for example shop:worker."),
        (["shop.py:worker"], "shop.py is a file. Name its module as Python imports it: shop:"),
        (["shop:NUMBER"], "shop:NUMBER is of type int, and not a Worker, an App, or a function"),
        (["shop:router"], 'A Router needs a worker: Worker(client, "orders", router).'),
        (["shop:needs"], "shop:needs needs arguments."),
        (["broken:worker"], "broken cannot be imported: ZeroDivisionError: division by zero ("),
        (
            ["missing:worker"],
            "missing cannot be imported: ModuleNotFoundError: No module named 'no",
        ),
        (["syntax:worker"], "syntax cannot be imported: SyntaxError: "),
        (["leaves:worker"], "leaves ended the program while it was imported."),
        (
            ["shop:worker", "--queue", "oders"],
            "--queue oders: shop:worker serves orders, mail only.",
        ),
        (["shop:worker", "--endpoint-url", "nonsense"], "is not an endpoint URL"),
        (["nowhere:app"], "No endpoint and no AWS region are known."),
        (["shop:worker", "--host", "999.1.1.1"], "Nobody can listen on 999.1.1.1"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    (tmp_path / "shop.py").write_text(
        "from tests.acceptance.fake_worker import FakeWorker, worker\n"
        "from forebay.worker import Router\n"
        "NUMBER = 7\n"
        "router = Router()\n"
        "def needs(url): ...\n"
    )
    (tmp_path / "broken.py").write_text("def f(): 1 / 0\nf()\n")
    (tmp_path / "missing.py").write_text("import no_such_thing\n")
    (tmp_path / "nowhere.py").write_text(
        "from forebay import App\napp = App()\napp.consume('orders', dict)(print)\n"
    )
    (tmp_path / "syntax.py").write_text("def (\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(0)\n")
    root = str(Path(__file__).parents[2])
    nowhere = dict.fromkeys((*ENDPOINT_VARIABLES, *REGION_VARIABLES), "")
    with WorkerRun(
        *(*arguments, "--processes", "2", "--port", "0"),
        directory=tmp_path,
        PYTHONPATH=root,
        **nowhere,
    ) as run:
        code, errors = run.end()
    assert code == 2, errors
    assert complaint in errors
    assert errors.startswith("Error: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        "made = FakeWorker",
        "async def made(): return FakeWorker()",
        "class App:\n    def worker(self): return FakeWorker()\nmade = App()",
        "class App:\n    def worker(self): return FakeWorker()\ndef made(): return App()",
        "from contextlib import asynccontextmanager\n"
        "@asynccontextmanager\n"
        "async def made():\n    yield FakeWorker()\n    print('closed')",
    ],
)
def test_a_worker_comes_in_several_forms(tmp_path: Path, text: str) -> None:
    header = "from tests.acceptance.fake_worker import FakeWorker\n"
    (tmp_path / "shop.py").write_text(header + text)
    root = str(Path(__file__).parents[2])
    with WorkerRun("shop:made", "--port", "0", directory=tmp_path, PYTHONPATH=root) as run:
        run.working()
        run.signal(signal.SIGTERM)
        code, errors = run.end()
    assert code == 0, errors


def test_a_module_of_the_directory_does_not_stand_for_one_of_python(tmp_path: Path) -> None:
    (tmp_path / "select.py").write_text("raise RuntimeError('not this one')")
    (tmp_path / "shop.py").write_text("from tests.acceptance.fake_worker import worker\n")
    root = str(Path(__file__).parents[2])
    with WorkerRun("shop:worker", "--port", "0", directory=tmp_path, PYTHONPATH=root) as run:
        run.working()
        run.signal(signal.SIGTERM)
        assert run.end()[0] == 0


def test_a_port_that_is_taken_is_said_and_the_usual_one_is_not_needed() -> None:
    with WorkerRun(TARGET, "--port", "0") as run:
        url, _ = run.working()
        with WorkerRun(TARGET, "--port", url.rpartition(":")[2]) as other:
            code, errors = other.end()
    assert code == 1
    assert "is taken by another process. Choose another --port." in errors


def test_in_json_every_line_is_an_object_with_its_process() -> None:
    with WorkerRun(TARGET, "--port", "0", "--json-logs") as run:
        until(lambda: "working on" in run.errors())
        run.signal(signal.SIGTERM)
        code, errors = run.end()
    lines = [json.loads(line) for line in errors.splitlines()]
    assert code == 0
    assert lines[0]["url"].startswith("http://127.0.0.1:")
    (said,) = [line for line in lines if line["message"].startswith("working on")]
    assert (said["process"], said["logger"]) == (1, "shop")


def test_a_watch_waits_for_workers_outlives_them_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    port = free_port()
    log = tmp_path / "watch.log"
    command = ["worker", "watch", f"127.0.0.1:{port}", "--every", "0.2", "--plot", str(page)]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "forebay", *command],
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as watch,
    ):
        try:
            until(lambda: "No workers answer at" in log.read_text())
            with WorkerRun(TARGET, "--port", str(port)) as run:
                until(lambda: "orders: 5 visible" in log.read_text())
                run.signal(signal.SIGTERM)
                run.end()
            count = log.read_text().count("No workers answer at")
            until(lambda: log.read_text().count("No workers answer at") > count)
            watch.send_signal(signal.SIGINT)
            assert watch.wait(20) == 0
        finally:
            watch.kill()
        assert "Traceback" not in log.read_text()
        assert f"Wrote {page}" in log.read_text()
    assert "<h2>Depth</h2>" in page.read_text()


def test_a_cloudwatch_that_is_away_holds_up_neither_work_nor_stop() -> None:
    with WorkerRun(
        *(TARGET, "--port", "0", "--cloudwatch"),
        AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="x",
        AWS_ENDPOINT_URL_CLOUDWATCH="http://127.0.0.1:1",
    ) as run:
        run.working()
        until(lambda: "CloudWatch is not reached" in run.errors())
        run.signal(signal.SIGTERM)
        code, errors = run.end()
    assert code == 0, errors
    assert errors.count("CloudWatch is not reached") == 1
