"""The producer of code without a loop, with a queue that answers as it is told."""

from __future__ import annotations

import asyncio
import pickle
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from forebay.client.base import SqsClient
from forebay.errors import Closed, ForebayError, ServiceUnreachable, SettingsError, StoreError
from forebay.parameters.address import open_store
from forebay.producer.background import BackgroundProducer
from forebay.producer.ledger import Lost
from forebay.producer.loop_thread import LoopThread, start_daemon_thread
from forebay.producer.settings import ProducerSettings
from forebay.protocol.errors import ACCESS_DENIED, SqsError
from forebay.tunables import SCHEMA, following
from tests.runtime.producer_queue import (
    STANDARD,
    Sqs,
    account,
    raises,
    says_nothing,
)

KEPT = ProducerSettings(flush_ms=60_000)


class Client(Sqs):
    """Remembers where it was made and closed."""

    threads: list[str]

    async def close(self) -> None:
        self.threads.append(threading.current_thread().name)


def made_in_the_thread(sqs: Client) -> Callable[[], SqsClient]:
    def factory() -> SqsClient:
        asyncio.get_running_loop()
        sqs.threads = [threading.current_thread().name]
        return sqs

    return factory


def threads() -> set[str]:
    return {each.name for each in threading.enumerate() if each.name.startswith("forebay-prod")}


def test_the_thread_begins_at_the_first_call_and_ends_with_close() -> None:
    sqs = Client()
    with BackgroundProducer(STANDARD, client_factory=made_in_the_thread(sqs), settings=KEPT) as it:
        assert threads() == set()
        assert it.send("click", 1, "key-1")
        assert threads() == {"forebay-producer"}
    assert threads() == set()
    assert sqs.payloads() == [["1"]]
    assert sqs.threads == ["forebay-producer"] * 2
    assert account(it.ledger) == (1, 1, 0, 0, 0)


def test_publish_returns_what_sqs_acknowledged_and_raises_what_it_refuses() -> None:
    sqs = Sqs()
    with BackgroundProducer(STANDARD, client_factory=lambda: sqs, settings=KEPT) as it:
        assert it.publish("order", 1, "order-1").message_id.startswith("m-")
        sqs.script(raises(SqsError(ACCESS_DENIED, "Not you.")))
        with pytest.raises(SqsError, match="Not you"):
            it.publish("order", 2)


def test_publish_gives_up_at_its_timeout() -> None:
    it = BackgroundProducer(STANDARD, client_factory=lambda: Sqs(says_nothing))
    with pytest.raises(ServiceUnreachable, match=r"acknowledged the message within 0.05 s"):
        it.publish("order", 1, timeout_s=0.05)
    assert account(it.close(timeout_s=0)) == (1, 0, 0, 1, 0)


def test_flush_returns_when_all_is_settled() -> None:
    sqs = Sqs()
    with BackgroundProducer(STANDARD, client_factory=lambda: sqs, settings=KEPT) as it:
        for n in range(25):
            it.send("click", n)
        assert it.flush()
        assert account(it.ledger) == (25, 25, 0, 0, 0)
        sqs.script(says_nothing)
        it.send("click", 25)
        assert not it.flush(timeout_s=0.05)
        it.close(timeout_s=0)


def test_closing_again_gives_the_same_and_then_nothing_is_accepted() -> None:
    sqs = Sqs()
    it = BackgroundProducer(STANDARD, client_factory=lambda: sqs)
    it.send("click", 1)
    with ThreadPoolExecutor(8) as pool:
        ledgers = list(pool.map(lambda _: it.close(), range(8)))
    assert [account(each) for each in ledgers] == [(1, 1, 0, 0, 0)] * 8
    assert not it.send("click", 2)
    assert it.ledger.dropped["closed"] == 1
    for call in (it.flush, lambda: it.publish("order", 1)):
        with pytest.raises(Closed, match="make a new one"):
            call()


def test_one_that_was_never_called_closes() -> None:
    it = BackgroundProducer(STANDARD, client_factory=Sqs)
    assert account(it.close()) == (0, 0, 0, 0, 0)
    assert not it.send("click", 1)


async def test_it_is_closed_inside_a_loop_of_others() -> None:
    sqs = Sqs()
    with BackgroundProducer(STANDARD, client_factory=lambda: sqs) as it:
        it.send("click", 1)
    assert account(it.ledger) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize("round_", range(5))
def test_threads_that_send_while_another_closes_are_counted_exactly(round_: int) -> None:
    sqs = Sqs()
    settings = ProducerSettings(buffer_size=1_000)
    it = BackgroundProducer(STANDARD, client_factory=lambda: sqs, settings=settings)
    going, closed = threading.Event(), threading.Event()

    def send_on(_: int) -> tuple[int, int]:
        offered = accepted = 0
        while not closed.is_set():
            offered += 1
            accepted += it.send("click", offered)
            if offered == 50:
                going.set()
        return offered, accepted

    with ThreadPoolExecutor(4) as pool:
        senders = [pool.submit(send_on, number) for number in range(4)]
        going.wait()
        it.close()
        closed.set()
    offered, accepted = (sum(counts) for counts in zip(*[s.result() for s in senders], strict=True))
    assert account(it.ledger) == (offered, accepted, offered - accepted, 0, 0)
    assert it.ledger.dropped["closed"] + it.ledger.dropped["full"] == offered - accepted
    assert sum(map(len, sqs.batches)) == accepted


def test_those_who_wait_when_it_is_closed_are_told() -> None:
    it = BackgroundProducer(STANDARD, client_factory=lambda: Sqs(says_nothing))
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(it.publish, "order", 1), pool.submit(it.publish, "order", 2)]
        while it.ledger.buffered < 2:
            pass
        it.close(timeout_s=0.01)
        for each in waiting:
            with pytest.raises(Closed, match="before SQS acknowledged"):
                each.result()


def test_a_url_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(SettingsError, match="is not an endpoint URL"):
        BackgroundProducer(STANDARD, endpoint_url="127.0.0.1:9324")


def test_a_client_that_cannot_be_made_is_told_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def factory() -> SqsClient:
        raise SettingsError("No region is known.")

    it = BackgroundProducer(STANDARD, client_factory=factory)
    accepted = it.send("click", 1)
    with pytest.raises(SettingsError, match="No region is known"):
        it.publish("order", 1)
    assert not it.send("click", 2)
    assert account(it.close()) == (2, 0, 2 - accepted, accepted, 0)
    assert "could not begin; it sends nothing" in caplog.text


def test_a_spill_directory_that_cannot_be_used_is_told_and_counted(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    lost: list[Lost] = []
    it = BackgroundProducer(
        STANDARD, client_factory=Sqs, spill=tmp_path / "file", on_lost=lost.append
    )
    accepted = it.send("click", 1)
    with pytest.raises(ForebayError, match="file"):
        it.flush()
    assert not it.send("click", 2)
    assert account(it.close()) == (2, 0, 2 - accepted, accepted, 0)
    assert sum(each.events for each in lost) == 2
    assert "could not begin; it sends nothing" in caplog.text


def test_no_thread_is_left_of_one_with_a_spill(tmp_path: Path) -> None:
    it = BackgroundProducer(STANDARD, client_factory=lambda: Sqs(says_nothing), spill=tmp_path)
    assert it.send("click", 1)
    assert it.close(0).spilled == 1
    assert threads() == set()


def test_on_lost_is_called_in_the_thread_and_must_not_wait_for_it() -> None:
    told: list[tuple[str, int, str]] = []

    def on_lost(lost: Lost) -> None:
        told.append((lost.reason, lost.events, threading.current_thread().name))
        for call in (it.flush, it.close, lambda: it.publish("order", 1)):
            with pytest.raises(ForebayError, match="cannot wait for itself"):
                call()

    it = BackgroundProducer(STANDARD, client_factory=Sqs, on_lost=on_lost)
    assert not it.send("click", object())
    it.close()
    assert told == [("unencodable", 1, "forebay-producer")]


def test_the_end_of_with_logs_what_was_lost(caplog: pytest.LogCaptureFixture) -> None:
    with BackgroundProducer(STANDARD, client_factory=Sqs, settings=KEPT) as it:
        assert it.send("click", 1)
        assert not it.send("click", object())
    assert "has lost envelopes: offered 2, delivered 1, dropped {'unencodable': 1}" in caplog.text


def test_where_no_thread_can_be_had_nothing_is_lost_and_it_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = [RuntimeError("can't start new thread")] * 2

    def start_thread(run: Callable[[], None]) -> None:
        if refusals:
            raise refusals.pop()
        start_daemon_thread(run)

    sqs = Sqs()
    it = BackgroundProducer(STANDARD, client_factory=lambda: sqs, start_thread=start_thread)
    assert it.send("click", 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with pytest.raises(ForebayError, match="No thread can be had"):
        it.flush()
    assert it.send("click", 2)
    assert account(it.close()) == (2, 2, 0, 0, 0)


def test_where_no_thread_can_be_had_at_all_close_sends_what_is_buffered() -> None:
    def start_thread(run: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    sqs = Sqs()
    it = BackgroundProducer(STANDARD, client_factory=lambda: sqs, start_thread=start_thread)
    assert it.send("click", 1)
    assert account(it.close()) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize("runs", [False, True])
def test_ctrl_c_at_the_first_call_leaves_a_producer_that_sends(*, runs: bool) -> None:
    interrupts = [KeyboardInterrupt()]

    def start_thread(run: Callable[[], None]) -> None:
        if runs or not interrupts:
            start_daemon_thread(run)
        if interrupts:
            raise interrupts.pop()

    sqs = Sqs()
    it = BackgroundProducer(STANDARD, client_factory=lambda: sqs, start_thread=start_thread)
    with pytest.raises(KeyboardInterrupt):
        it.send("click", 1)
    assert it.send("click", 2)
    assert account(it.close()) == (1, 1, 0, 0, 0)


def test_a_callback_that_exits_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def nothing() -> AsyncIterator[None]:
        yield

    async def exits() -> None:
        asyncio.get_running_loop().call_soon(sys.exit, 1)

    async def three() -> int:
        return 3

    thread = LoopThread(nothing)
    start_daemon_thread(thread.run)
    thread.submit(exits).result()
    assert thread.submit(three).result() == 3
    assert thread.end(three).result() == 3
    assert thread.ended.wait(10)
    assert "goes on after an error" in caplog.text


def test_a_thread_stands_still_until_all_who_held_it_have_released_it() -> None:
    @asynccontextmanager
    async def nothing() -> AsyncIterator[None]:
        yield

    async def three() -> int:
        return 3

    thread = LoopThread(nothing)
    start_daemon_thread(thread.run)
    thread.submit(three).result()
    thread.hold()
    thread.hold()
    answer = thread.submit(three)
    thread.release()
    assert not answer.done()
    thread.release()
    assert answer.result(10) == 3
    thread.end(three).result()


def test_it_follows_parameters_in_its_own_loop(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'parameters.db'}"

    async def set_to(flush_ms: int) -> None:
        store = open_store(url, SCHEMA)
        await store.set({"sqs_flush_ms": flush_ms}, by="test")
        await store.close()

    asyncio.run(set_to(2_000))
    with BackgroundProducer(
        STANDARD,
        client_factory=Sqs,
        beside=lambda it: following(url, producer=it, poll_s=0.05),
    ) as it:
        it.send("click", 1)
        while it.settings.flush_ms != 2_000:
            pass
        asyncio.run(set_to(300))
        while it.settings.flush_ms != 300:
            pass
    assert threads() == set()


def test_what_fails_beside_it_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fails(it: BackgroundProducer) -> AbstractAsyncContextManager[None]:
        raise StoreError("The database is away.")

    with BackgroundProducer(STANDARD, client_factory=Sqs, beside=fails) as it:
        assert it.publish("order", 1).message_id
        assert it.send("click", 1)
    assert account(it.ledger) == (2, 2, 0, 0, 0)
    assert "it sends without it" in caplog.text


def test_it_cannot_be_handed_to_another_process() -> None:
    with pytest.raises(TypeError, match="belongs to its process"):
        pickle.dumps(BackgroundProducer(STANDARD))


def test_settings_are_those_of_the_producer() -> None:
    it = BackgroundProducer(STANDARD, settings=KEPT)
    assert it.settings is KEPT
    it.settings = ProducerSettings(buffer_size=1)
    assert it.settings.buffer_size == 1
