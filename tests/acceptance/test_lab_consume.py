"""`forebay consume` as a process: crashes, signals, files that outlive it, a service outside."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from forebay.broker.running import running_broker
from forebay.client.base import SqsClient
from forebay.client.http import HttpSqsClient
from forebay.idempotency import MessageStatus, SideEffect, SqliteIdempotencyStore, Status
from forebay.lab.consumer import CRASH_EXIT_CODE, StepKind
from forebay.lab.consumer.tables import Tables
from forebay.lab.outside.client import OutsideClient
from forebay.lab.outside.ledger import read_effects
from forebay.protocol.actions import GetQueueAttributesRequest
from forebay.scaled_clock import ScaledClock
from tests.acceptance.test_lab_outside import OutsideProcess
from tests.lab.consuming import Bench, Crashed
from tests.runtime.engine_client import EngineClient

#: How much faster time passes: a visibility timeout of ten seconds takes half of one.
SCALE = 20

COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")


class Shop:
    """A broker with a queue, and consumers of it."""

    def __init__(self, client: SqsClient, url: str, tables: Path) -> None:
        self.client = client
        self.url = url
        self.tables = tables

    async def start(self, **variables: object) -> asyncio.subprocess.Process:
        table = f"sqlite:///{self.tables}"
        environment = {
            "PATH": "",
            "QUEUE_URL": self.url,
            "FOREBAY_TIME_SCALE": str(SCALE),
            "MESSAGE_STATUS_TABLE": table,
            "MESSAGE_SIDE_EFFECTS_TABLE": table,
            "AWS_EC2_METADATA_DISABLED": "true",
            **{name: str(value) for name, value in variables.items()},
        }
        command = (sys.executable, "-m", "forebay", "consume")
        return await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=self.tables.parent
        )

    async def counts(self) -> tuple[int, ...]:
        """Messages that are visible, and in flight."""
        request = GetQueueAttributesRequest(queue_url=self.url, attribute_names=list(COUNTS))
        attributes = (await self.client.get_queue_attributes(request)).attributes or {}
        return tuple(int(attributes[name]) for name in COUNTS)

    async def until_one_is_in_flight(self) -> None:
        for _ in range(3_000):
            if (await self.counts())[1]:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("Nothing was received.")

    async def rows(self, message_id: str) -> tuple[MessageStatus | None, SideEffect | None]:
        """What the tables say of a message."""
        store = await SqliteIdempotencyStore.open(self.tables)
        try:
            effect = await store.find_effect(f"delivery/{message_id}")
            return await store.find_message(message_id), effect
        finally:
            await store.close()


@asynccontextmanager
async def shop(directory: Path) -> AsyncIterator[Shop]:
    async with (
        running_broker(None, port=0, time_scale=SCALE) as broker,
        HttpSqsClient(broker.endpoint_url) as client,
    ):
        created = await client.create_queue("orders", VisibilityTimeout=10)
        yield Shop(client, created.queue_url, directory / "tables.sqlite3")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[OutsideProcess]:
    process = OutsideProcess(tmp_path / "outside.db")
    yield process
    process.end(signal.SIGKILL)


async def test_a_crash_after_the_effect_and_a_second_consumer_that_completes_it(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path) as it:
        await it.client.send(it.url, {"id": "a"})
        crashed = await it.start(CRASH_AFTER_SIDE_EFFECT="yes")
        assert await crashed.wait() == CRASH_EXIT_CODE
        status, effect = await it.rows("a")
        assert status is not None
        assert status.status is Status.STARTED
        assert effect is not None
        second = await it.start(MESSAGE_LIMIT=1)
        assert await second.wait() == 0
        status, effect_later = await it.rows("a")
        assert status is not None
        assert (status.status, status.attempts) == (Status.COMPLETED, 2)
        assert effect_later == effect
        assert await it.counts() == (0, 0)


async def test_sigterm_lets_the_message_in_hand_be_done(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        for name in "abc":
            await it.client.send(it.url, {"id": name})
        consumer = await it.start(SIDE_EFFECT_DELAY_SECONDS=8)
        await it.until_one_is_in_flight()
        consumer.send_signal(signal.SIGTERM)
        assert await consumer.wait() == 0
        statuses = [status.status for name in "abc" if (status := (await it.rows(name))[0])]
        done = statuses.count(Status.COMPLETED)
        # It may have begun the next one by the time that the signal came.
        assert done >= 1
        assert await it.counts() == (3 - done, 0)


@pytest.mark.parametrize(
    ("without", "performed"), [((), 1), (("idempotency-key",), 2), (("idempotency",), 2)]
)
async def test_only_an_idempotency_key_saves_an_effect_outside_from_a_crash_after_it(
    tmp_path: Path, outside: OutsideProcess, without: tuple[str, ...], performed: int
) -> None:
    store = await SqliteIdempotencyStore.open(tmp_path / "tables.sqlite3")
    clock = ScaledClock(100)
    client = EngineClient(clock=clock)
    url = await client.create("orders", VisibilityTimeout=10, max_receive_count=3)
    bench = Bench(client, url, clock)
    variables: dict[str, Any] = {
        "MESSAGE_SIDE_EFFECTS_TABLE": outside.url,
        "WAIT_TIME_SECONDS": 0,
        "MESSAGE_LIMIT": 1,
        # As long as a busy machine may need; it is the limit that ends it.
        "IDLE_TIMEOUT_SECONDS": 3_000,
        "tables": Tables(status=store, keys=store),
        "without": without,
        "BUSINESS_IDEMPOTENCY_FIELD": "order_id",
    }
    await bench.send({"id": "a", "order_id": "o-1", "action": "charge"})
    with pytest.raises(Crashed):
        await bench.consume(**variables, CRASH_AFTER_SIDE_EFFECT=1)
    await bench.consume(**variables)
    await store.close()
    outside.end(signal.SIGKILL)
    effects = read_effects(outside.ledger)
    assert [(each.action, each.subject) for each in effects] == [("charge", "o-1")] * performed
    assert {each.key for each in effects} == {
        None if without else 'business/charge/{"order_id":"o-1"}'
    }


async def test_two_at_once_without_tables_are_one_effect_outside_and_neither_fails(
    outside: OutsideProcess,
) -> None:
    async with OutsideClient(outside.url) as service:
        await service.configure(delay_s=0.3)
    clock = ScaledClock(100)
    client = EngineClient(clock=clock)
    url = await client.create("orders", VisibilityTimeout=600, max_receive_count=3)
    bench = Bench(client, url, clock)
    await bench.send({"id": "a"}, {"id": "a"})
    consuming = [
        bench.consume(
            MESSAGE_SIDE_EFFECTS_TABLE=outside.url,
            WAIT_TIME_SECONDS=0,
            MESSAGE_LIMIT=1,
            IDLE_TIMEOUT_SECONDS=3_000,
            tables=Tables(),
        )
        for _ in range(2)
    ]
    assert [each.processed for each in await asyncio.gather(*consuming)] == [1, 1]
    outside.end(signal.SIGKILL)
    assert [each.key for each in read_effects(outside.ledger)] == ["delivery/a"]
    assert bench.ids(StepKind.FAILED) == []
