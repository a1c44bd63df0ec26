"""The Lambda function on events as AWS documents them, and on the real stores."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from typing import Any

import pytest
from msgspec.json import encode

from forebay.apps.usage.domain import USAGE_LOG_TYPE
from forebay.apps.usage.lambda_function import UsageFunction
from forebay.apps.usage.linked_store import LinkedStore
from forebay.apps.usage.settings import FixedAddress
from forebay.apps.usage.sqs_event import NotAnSqsEvent
from forebay.apps.usage.store import Totals, UsageStore
from forebay.errors import StoreError
from tests.runtime.worker_messages import envelope, sealed
from tests.usage.conftest import Sql
from tests.usage.events import LOG, NOON_MS
from tests.usage.test_writer import DOCUMENT

#: The record that AWS shows for a standard queue, and the attributes of other examples of AWS.
#: Source: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
RECORD = {
    "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
    "body": "Test message.",
    "attributes": {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1545082649183",
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "ApproximateFirstReceiveTimestamp": "1545082649185",
    },
    "messageAttributes": {
        "myAttribute": {
            "stringValue": "myValue",
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "String",
        }
    },
    "md5OfMessageAttributes": "00484c68...59e48fb7",
    "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
    "awsRegion": "us-east-2",
}


def record(identifier: str, body: str, **members: object) -> dict[str, Any]:
    return RECORD | {"messageId": identifier, "body": body} | members


def pack_record(identifier: str, size: int, payload: object = LOG) -> dict[str, Any]:
    """A message with a pack of its own name."""
    pack = sealed([encode((NOON_MS, payload))] * size, identifier=f"pack-{identifier}")
    attribute = {
        "binaryValue": b64encode(pack.content).decode(),
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": "Binary",
    }
    return record(identifier, pack.body.decode(), messageAttributes={"forebay.pack": attribute})


def failures(answer: dict[str, Any]) -> list[str]:
    assert answer.keys() == {"batchItemFailures"}
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


def always() -> int:
    return 10_000


class Away:
    """A database that is away for some of the times it is opened."""

    def __init__(self, store: UsageStore) -> None:
        self.store = store
        self.opened = 0
        self.failures = 0

    async def open(self, _: str) -> UsageStore:
        self.opened += 1
        if self.failures:
            self.failures -= 1
            raise StoreError("The usage database could not be opened: connection refused.")
        return self.store


@pytest.fixture
def away(store: UsageStore) -> Away:
    return Away(store)


@pytest.fixture
def make(away: Away) -> Callable[..., UsageFunction]:
    def make(rows_max: int = 50_000, **options: Any) -> UsageFunction:
        linked = LinkedStore(FixedAddress("sqlite:///x"), away.open, tries_max=2)
        return UsageFunction(linked, rows_max=rows_max, **options)

    return make


@pytest.fixture
async def function(make: Callable[..., UsageFunction]) -> AsyncIterator[UsageFunction]:
    made = make()
    yield made
    await made.close()


async def invoke(
    function: UsageFunction, records: Sequence[object], time_left_ms: Callable[[], int] = always
) -> list[str]:
    # As the runtime has it: parsed from JSON.
    event = json.loads(json.dumps({"Records": records}))
    return failures(await function.invoke(event, time_left_ms))


async def test_a_record_that_tells_no_queue_takes_no_other_along(
    function: UsageFunction, store: UsageStore
) -> None:
    nameless = pack_record("p1", 2) | {"eventSourceARN": ""}
    assert await invoke(function, [nameless, pack_record("p2", 3)]) == []
    assert (await store.totals()).rows == 5


async def test_a_batch_of_a_hundred_is_written_whole(
    function: UsageFunction, store: UsageStore
) -> None:
    records = [
        *(pack_record(f"p{number}", 50) for number in range(90)),
        *(
            record(f"e{number}", envelope(USAGE_LOG_TYPE, LOG, identifier=f"e{number}"))
            for number in range(10)
        ),
    ]
    assert await invoke(function, records) == []
    totals = Totals(rows=4_510, counted=4_510, rejects=0, packs=90)
    assert await store.totals() == totals
    # AWS delivers it again when the answer is lost.
    assert await invoke(function, records) == []
    assert await store.totals() == totals


async def test_the_envelope_of_document_000_is_told_by_its_message_id(
    function: UsageFunction, sql: Sql
) -> None:
    for identifier in ("m-1", "m-1", "m-2"):
        assert await invoke(function, [record(identifier, DOCUMENT)]) == []
    assert (
        sql("SELECT node, asset, response_time_us FROM usage_logs")
        == [("BeastMain", "BTC", 42)] * 2
    )
    assert sql("SELECT events FROM current_usage") == [(2,)]


@pytest.mark.parametrize(
    "strange",
    [
        RECORD,
        record("m", "{}"),
        record("m", "", messageAttributes=None),
        record("m", pack_record("m", 1)["body"]),
        pack_record("m", 2) | {"body": pack_record("m", 3)["body"]},
        pack_record("m", 2)
        | {"messageAttributes": {"forebay.pack": {"binaryValue": "%%", "dataType": "Binary"}}},
        record("m", DOCUMENT) | {"body": None},
        {"messageId": "m"},
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_no_event_comes_again_and_holds_up_no_other(
    function: UsageFunction,
    store: UsageStore,
    strange: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    batch = [pack_record("p1", 3), strange, pack_record("p2", 3)]
    assert await invoke(function, batch) == [strange["messageId"]]
    assert (await store.totals()).rows == 6
    [said] = caplog.messages
    assert strange["messageId"] in said


async def test_what_does_not_fit_its_type_is_kept_and_does_not_come_again(
    function: UsageFunction, sql: Sql
) -> None:
    batch = [
        pack_record("p1", 2, {"asset": "BTC"}),
        record("m-1", envelope("heartbeat", {"beat": 1}, identifier="e-1")),
    ]
    assert await invoke(function, batch) == []
    assert sql("SELECT message_id FROM usage_rejects ORDER BY 1") == [
        ("e-1",),
        ("pack-p1",),
        ("pack-p1",),
    ]


async def test_what_is_beyond_the_budget_comes_again(
    make: Callable[..., UsageFunction], store: UsageStore
) -> None:
    function = make(rows_max=100)
    batch = [pack_record(f"p{number}", 40) for number in range(6)]
    tries = []
    while batch:
        again = await invoke(function, batch)
        tries.append(len(batch) - len(again))
        batch = [each for each in batch if each["messageId"] in again]
    assert tries == [2, 2, 2]
    assert await store.totals() == Totals(240, 240, 0, 6)


async def test_one_that_is_larger_than_the_budget_is_taken_alone(
    make: Callable[..., UsageFunction], store: UsageStore
) -> None:
    function = make(rows_max=10)
    batch = [pack_record("large", 500), pack_record("small", 5)]
    assert await invoke(function, batch) == ["small"]
    assert (await store.totals()).rows == 500


async def test_nothing_is_begun_without_time_for_it(
    make: Callable[..., UsageFunction], store: UsageStore
) -> None:
    function = make(rows_max=60_000)
    batch = [pack_record(f"p{number}", 15_000) for number in range(3)]
    # Looks: a lease for each message, then one before each part.
    left = iter([9_000, 9_000, 9_000, 9_000, 1_400, 1_400])
    assert await invoke(function, batch, lambda: next(left)) == ["p1", "p2"]
    assert (await store.totals()).rows == 15_000


async def test_no_time_at_all_lets_the_first_part_be_tried(
    function: UsageFunction, store: UsageStore
) -> None:
    assert await invoke(function, [pack_record("p1", 3)], lambda: 0) == []
    assert (await store.totals()).rows == 3


async def test_a_cold_start_without_the_database_fails_whole(
    function: UsageFunction, away: Away, store: UsageStore
) -> None:
    away.failures = 1
    with pytest.raises(StoreError, match="connection refused"):
        await invoke(function, [pack_record("p1", 3)])
    assert await invoke(function, [pack_record("p1", 3)]) == []
    assert (await store.totals()).rows == 3


async def test_the_connection_is_kept_between_invocations(
    function: UsageFunction, away: Away
) -> None:
    for number in range(3):
        assert await invoke(function, [pack_record(f"p{number}", 3)]) == []
    assert away.opened == 1


class Failing:
    """A store whose writes fail when their turn comes."""

    def __init__(self, store: UsageStore, fail: set[int]) -> None:
        self._store = store
        self._fail = fail
        self._numbers = count(1)

    async def write(self, packs: Any) -> Any:
        if next(self._numbers) in self._fail:
            raise StoreError("The usage database could not be used: server closed the connection.")
        return await self._store.write(packs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_connection_that_broke_meanwhile_costs_a_try_and_no_message(
    make: Callable[..., UsageFunction], away: Away, store: UsageStore
) -> None:
    away.store = Failing(store, {2})
    function = make()
    for number in range(2):
        assert await invoke(function, [pack_record(f"p{number}", 3)]) == []
    assert (await store.totals()).rows == 6


async def test_a_database_that_goes_away_midway_lets_the_rest_come_again(
    make: Callable[..., UsageFunction], away: Away, store: UsageStore
) -> None:
    away.store = Failing(store, {2, 3})
    function = make(rows_max=30_000)
    batch = [pack_record(f"p{number}", 15_000) for number in range(2)]
    batch.append(pack_record("p2", 1))
    assert await invoke(function, batch) == ["p1", "p2"]
    assert (await store.totals()).rows == 15_000


async def test_a_database_that_is_away_fails_the_invocation(
    make: Callable[..., UsageFunction], away: Away, store: UsageStore
) -> None:
    away.store = Failing(store, {1, 2})
    with pytest.raises(StoreError, match="server closed the connection"):
        await invoke(make(), [pack_record("p1", 3), RECORD])


@pytest.mark.parametrize("event", [{}, [], None, {"Records": {}}, {"Records": [{"body": "x"}]}])
async def test_what_is_no_event_of_sqs_is_an_error(function: UsageFunction, event: Any) -> None:
    with pytest.raises(NotAnSqsEvent, match="event source mapping"):
        await function.invoke(event, always)


async def test_an_empty_event_is_done(function: UsageFunction) -> None:
    assert await invoke(function, []) == []
