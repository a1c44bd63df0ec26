"""Producers and workers at work that follow a store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from forebay.clock import ManualClock
from forebay.parameters import LiveParameters, MemoryParameterStore, open_store
from forebay.producer.background import BackgroundProducer
from forebay.producer.producer import Producer
from forebay.producer.settings import ProducerSettings, WhenFull
from forebay.tunables import SCHEMA, follow, following
from forebay.worker import Received, Router, Worker, WorkerSettings
from tests.parameters.conftest import Place
from tests.runtime.engine_client import EngineClient
from tests.runtime.producer_queue import STANDARD, Sqs, says_nothing

#: Nothing leaves by time.
SLOW = ProducerSettings(flush_ms=60_000)


def producer(sqs: Sqs, settings: ProducerSettings, clock: ManualClock | None = None) -> Producer:
    return Producer(sqs, STANDARD, node="node-1", settings=settings, clock=clock or ManualClock())


async def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it has not come about")


async def test_the_batches_of_a_running_producer_change_their_size(place: Place) -> None:
    sqs = Sqs()
    live = LiveParameters(place.store)
    async with producer(sqs, SLOW) as it:
        follow(live, producer=it)
        await place.store.set({"sqs_batch_size": 3}, by="ada")
        await live.poll()
        for number in range(9):
            assert it.send("event", number)
        await eventually(lambda: it.ledger.delivered == 9)
    assert [len(batch) for batch in sqs.batches] == [3, 3, 3]


async def test_a_running_producer_flushes_at_another_pace_from_the_next_tick(place: Place) -> None:
    sqs, clock = Sqs(), ManualClock()
    live = LiveParameters(place.store)
    async with producer(sqs, ProducerSettings(flush_ms=1_000), clock) as it:
        follow(live, producer=it)
        await asyncio.sleep(0)
        await place.store.set({"sqs_flush_ms": 50}, by="ada")
        await live.poll()
        # The tick under way.
        clock.advance(1_000)
        await asyncio.sleep(0.01)
        for round_ in range(1, 4):
            assert it.send("event", round_)
            clock.advance(50)
            await eventually(lambda round_=round_: it.ledger.delivered == round_)  # type: ignore[misc]


async def test_the_buffer_of_a_running_producer_shrinks_and_grows(place: Place) -> None:
    live = LiveParameters(place.store)
    async with producer(Sqs(), SLOW) as it:
        follow(live, producer=it)
        await place.store.set({"sqs_buffer_size": 2}, by="ada")
        await live.poll()
        assert [it.send("event", number) for number in range(4)] == [True, True, False, False]
        await place.store.set({"sqs_buffer_size": 3}, by="ada")
        await live.poll()
        assert [it.send("event", number) for number in range(2)] == [True, False]


async def test_the_calls_of_a_running_producer_are_more_and_fewer(place: Place) -> None:
    sqs, clock = Sqs(says_nothing), ManualClock()
    live = LiveParameters(place.store)
    it = producer(sqs, replace(SLOW, batch_size=1, concurrency=2), clock)
    await it.start()
    follow(live, producer=it)
    for number in range(9):
        it.send("event", number)
    await eventually(lambda: len(sqs.batches) == 2)
    await place.store.set({"sqs_concurrency": 5}, by="ada")
    await live.poll()
    clock.advance(60_000)
    await eventually(lambda: len(sqs.batches) == 5)
    await it.close(drain_timeout_s=0)


async def test_a_running_worker_runs_more_handlers_and_fewer(place: Place) -> None:
    client = EngineClient()
    url = await client.create("jobs")
    for number in range(40):
        await client.send(url, f"job {number}", None)
    running = 0
    go = asyncio.Semaphore(0)
    router = Router()

    @router.raw(str)
    async def handle(received: Received[str]) -> None:
        nonlocal running
        running += 1
        await go.acquire()
        running -= 1

    settings = WorkerSettings(concurrency=2, concurrency_min=2, wait_s=1)
    worker = Worker(client, url, router, settings=settings)
    live = LiveParameters(place.store)
    task = asyncio.create_task(worker.run())
    follow(live, worker=worker)
    await eventually(lambda: running == 2)
    await place.store.set({"worker_concurrency": 9, "worker_concurrency_min": 9}, by="ada")
    await live.poll()
    await eventually(lambda: running == 9)
    await place.store.set({"worker_concurrency": 1, "worker_concurrency_min": 1}, by="ada")
    await live.poll()
    for _ in range(8):
        go.release()
    await eventually(lambda: running == 1)
    for _ in range(40):
        go.release()
    worker.stop()
    ledger = await task
    assert ledger.lost == 0


async def test_a_worker_that_is_told_before_it_begins_begins_so(place: Place) -> None:
    client = EngineClient()
    url = await client.create("jobs")
    for number in range(20):
        await client.send(url, f"job {number}", None)
    running = most = 0
    router = Router()

    @router.raw(str)
    async def handle(received: Received[str]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await place.store.set({"worker_concurrency": 1}, by="ada")
    worker = Worker(client, url, router, settings=WorkerSettings(wait_s=1))
    async with LiveParameters(place.store) as live:
        follow(live, worker=worker)
        assert worker.settings.concurrency == 1
        task = asyncio.create_task(worker.run())
        await eventually(lambda: worker.ledger.acked == 20)
        worker.stop()
        await task
    assert most == 1


async def test_what_is_not_set_is_the_program_s_own_also_after_a_reset() -> None:
    store = MemoryParameterStore(SCHEMA)
    live = LiveParameters(store)
    it = producer(Sqs(), ProducerSettings(flush_ms=333, batch_size=7))
    follow(live, producer=it)
    assert it.settings == ProducerSettings(flush_ms=333, batch_size=7)
    await store.set({"sqs_flush_ms": 50, "sqs_when_full": "block"}, by="ada")
    await live.poll()
    assert it.settings == ProducerSettings(flush_ms=50, batch_size=7, when_full=WhenFull.BLOCK)
    assert isinstance(it.settings.when_full, WhenFull)
    await store.set({"sqs_flush_ms": None, "sqs_when_full": None}, by="ada")
    await live.poll()
    assert it.settings == ProducerSettings(flush_ms=333, batch_size=7)


async def test_what_the_program_changes_itself_stays_unless_it_is_set() -> None:
    store = MemoryParameterStore(SCHEMA)
    live = LiveParameters(store)
    it = producer(Sqs(), ProducerSettings())
    follow(live, producer=it)
    it.settings = replace(it.settings, concurrency=3)
    await store.set({"sqs_flush_ms": 50}, by="ada")
    await live.poll()
    assert it.settings == ProducerSettings(flush_ms=50, concurrency=3)


async def test_what_does_not_go_with_the_program_s_own_settings_is_left_out_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryParameterStore(SCHEMA)
    live = LiveParameters(store)
    settings = WorkerSettings(concurrency=16, concurrency_min=8)
    worker = Worker(EngineClient(), "jobs", Router(), settings=settings)
    follow(live, worker=worker)
    await store.set({"worker_concurrency": 4, "worker_pollers": 5}, by="ada")
    await live.poll()
    await store.set({"worker_pollers": 6}, by="ada")
    await live.poll()
    assert worker.settings == replace(settings, pollers=6)
    [error] = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert "worker_concurrency does not go with the program's own settings" in error
    assert "concurrency_min is 8; it must be at most concurrency, which is 4" in error
    await store.set({"worker_concurrency_min": 2}, by="ada")
    await live.poll()
    assert worker.settings == WorkerSettings(concurrency=4, concurrency_min=2, pollers=6)


async def test_what_a_producer_has_no_place_for_is_left_out_and_the_others_take_effect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryParameterStore(SCHEMA)
    live = LiveParameters(store)
    it = producer(Sqs(), ProducerSettings())
    follow(live, producer=it)
    await store.set({"sqs_when_full": "spill", "sqs_flush_ms": 50}, by="ada")
    await live.poll()
    assert it.settings == ProducerSettings(flush_ms=50)
    [error] = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert "sqs_when_full does not go with the program's own settings" in error
    assert "give the producer a directory" in error


async def test_a_background_producer_follows_as_well() -> None:
    store = MemoryParameterStore(SCHEMA)
    live = LiveParameters(store)
    with BackgroundProducer(STANDARD, client_factory=Sqs) as it:
        follow(live, producer=it)
        await store.set({"sqs_flush_ms": 50, "sqs_buffer_size": 7}, by="ada")
        await live.poll()
        assert (it.settings.flush_ms, it.settings.buffer_size) == (50, 7)


async def test_one_that_no_longer_follows_keeps_what_it_has() -> None:
    store = MemoryParameterStore(SCHEMA)
    live = LiveParameters(store)
    first, second = (producer(Sqs(), ProducerSettings()) for _ in range(2))
    end = follow(live, producer=first)
    follow(live, producer=second)
    await store.set({"sqs_flush_ms": 50}, by="ada")
    await live.poll()
    end()
    await store.set({"sqs_flush_ms": 70}, by="ada")
    await live.poll()
    assert (first.settings.flush_ms, second.settings.flush_ms) == (50, 70)


async def test_following_takes_a_url_or_none(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/parameters.db"
    await open_store(url, SCHEMA).set({"sqs_flush_ms": 50}, by="ada")
    it = producer(Sqs(), ProducerSettings())
    async with following(None, producer=it):
        assert it.settings == ProducerSettings()
    async with following(url, producer=it, poll_s=0.05):
        assert it.settings == ProducerSettings(flush_ms=50)
        await open_store(url, SCHEMA).set({"sqs_flush_ms": 70}, by="ada")
        await eventually(lambda: it.settings.flush_ms == 70)
    assert it.settings == ProducerSettings(flush_ms=70)
