"""The handlers of the usage writer, on the stores that they write to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import Struct
from msgspec.json import encode
from msgspec.structs import replace

from forebay.apps.usage.domain import ANALYTICS_EVENT_TYPE, USAGE_LOG_TYPE, AnalyticsEvent
from forebay.apps.usage.event_table import EVENT_TABLES, EventTable
from forebay.apps.usage.settings import WriterSettings
from forebay.apps.usage.store import PackRefused, Totals, UsageStore, Written
from forebay.apps.usage.writer import UsageWriter, usage_router
from forebay.worker import Reject, Retry, Router
from forebay.worker.packs import Pack
from forebay.worker.routing import Routed
from tests.runtime.worker_messages import envelope, lease, pack_lease, sealed
from tests.usage.conftest import Sql
from tests.usage.events import LOG, NOON_MS

VIEW = AnalyticsEvent("page_view", "/pricing", "user-1")

#: As document 000 has it, on a day that the stores still take.
DOCUMENT = """{
  "type": "usage_log",
  "timestamp": "2026-11-27T15:30:00.000Z",
  "node": "BeastMain",
  "payload": {
    "api_key_id": "ak_live_abc123",
    "asset": "BTC",
    "source": "binance",
    "response_time_us": 42,
    "cache_tier": "L1_MEMORY"
  }
}"""


@pytest.fixture
def writer(store: UsageStore) -> UsageWriter:
    return UsageWriter(store)


@pytest.fixture
def router(writer: UsageWriter) -> Router:
    return usage_router(writer)


def packed(
    router: Router, identifier: str, *payloads: object, message_type: str = USAGE_LOG_TYPE
) -> Routed:
    records = [encode((NOON_MS + index, each)) for index, each in enumerate(payloads)]
    return router.route(pack_lease(sealed(records, message_type, identifier=identifier)))


def plain(router: Router, identifier: str, body: str) -> Routed:
    return router.route(lease(identifier, body=body))


async def handled(*batch: Routed) -> Any:
    """What the handler says of messages that it gets as one batch."""
    [route] = {each.route for each in batch}
    return await route.call([each.received for each in batch])


def counts(writer: UsageWriter, type_name: str = USAGE_LOG_TYPE) -> dict[str, int]:
    return {
        count.name.removeprefix("usage_"): count.value
        for count in writer.counts()
        if count.labels.get("type", type_name) == type_name
    }


def reasons(writer: UsageWriter) -> dict[tuple[str, str], int]:
    return {
        (count.labels["type"], count.labels["reason"]): count.value
        for count in writer.counts()
        if "reason" in count.labels
    }


async def test_a_batch_of_packs_and_envelopes_is_one_transaction(
    router: Router, writer: UsageWriter, store: UsageStore
) -> None:
    batch = [
        packed(router, "p-1", LOG, LOG),
        packed(router, "p-2", LOG, {"asset": "no log"}),
        plain(router, "m-1", envelope(USAGE_LOG_TYPE, LOG, identifier="e-1")),
        packed(router, "p-1", LOG, LOG),
    ]
    assert await handled(*batch) is None
    assert await store.totals() == Totals(rows=4, counted=4, rejects=1, packs=2)
    assert counts(writer) == {
        "rows": 4,
        "packs": 3,
        "repeated_packs": 1,
        "rejects": 1,
        "transactions": 1,
        "refused_packs": 0,
    }
    assert reasons(writer) == {(USAGE_LOG_TYPE, "does not fit"): 1}


async def test_the_handlers_gather_as_document_000_says(router: Router) -> None:
    assert {(each.name, each.batch, each.within_ms) for each in router.routes} == {
        (USAGE_LOG_TYPE, 100, 5_000),
        (ANALYTICS_EVENT_TYPE, 100, 5_000),
        ("(every)", 100, 5_000),
    }


async def test_a_second_type_goes_to_its_own_table(router: Router, sql: Sql) -> None:
    await handled(packed(router, "p-1", VIEW, message_type=ANALYTICS_EVENT_TYPE))
    assert sql("SELECT event, path, user_id FROM analytics_events") == [
        ("page_view", "/pricing", "user-1")
    ]
    assert sql("SELECT count(*) FROM current_usage") == [(0,)]


async def test_the_envelope_of_document_000_is_told_by_its_message(
    router: Router, sql: Sql
) -> None:
    for identifier in ("m-1", "m-1", "m-2"):
        await handled(plain(router, identifier, DOCUMENT))
    assert (
        sql("SELECT node, api_key_id, asset, source, response_time_us FROM usage_logs")
        == [("BeastMain", "ak_live_abc123", "BTC", "binance", 42)] * 2
    )
    assert sql("SELECT events FROM current_usage") == [(2,)]


async def test_a_type_without_a_table_is_kept_as_it_came(
    router: Router, writer: UsageWriter, sql: Sql
) -> None:
    body = envelope("heartbeat", {"beat": 1}, identifier="e-1")
    batch = [
        packed(router, "p-1", {"beat": 2}, "any JSON", message_type="heartbeat"),
        packed(router, "p-2", VIEW, message_type="login"),
        plain(router, "m-1", body),
    ]
    assert await handled(*batch) is None
    assert await handled(*batch) is None
    rows = sql("SELECT message_id, type, reason, json FROM usage_rejects ORDER BY 1, record_index")
    assert [(row[0], row[1]) for row in rows] == [
        ("e-1", "heartbeat"),
        ("p-1", "heartbeat"),
        ("p-1", "heartbeat"),
        ("p-2", "login"),
    ]
    assert all(row[2].startswith("unknown type: no table for") for row in rows)
    assert '{"beat":1}' in rows[0][3]
    assert rows[1][3] == f'[{NOON_MS},{{"beat":2}}]'
    assert reasons(writer) == {("(unknown)", "unknown type"): 4}
    assert counts(writer, "(unknown)")["repeated_packs"] == 3
    # A metric has no label that senders choose.
    assert {count.labels["type"] for count in writer.counts() if count.labels} == {"(unknown)"}


@pytest.mark.parametrize("body", ["hello", "{}", "[1]", '{"type": "usage_log"}', "5", ""])
def test_what_is_no_event_is_rejected(router: Router, body: str) -> None:
    with pytest.raises(Reject, match="The body is no event"):
        plain(router, "m-1", body)


def test_what_is_wrong_with_an_event_without_an_id_is_not_the_id(router: Router) -> None:
    with pytest.raises(Reject, match=r"length >= 1 - at `\$.node`"):
        plain(router, "m-1", DOCUMENT.replace("BeastMain", ""))


def test_a_damaged_pack_is_rejected(router: Router) -> None:
    pack = sealed([encode((NOON_MS, LOG))])
    with pytest.raises(Reject, match="The pack 'p-1' is damaged"):
        router.route(pack_lease(replace(pack, content=pack.content[:-1])))


async def test_a_document_with_a_broken_time_is_a_reject(router: Router, sql: Sql) -> None:
    body = DOCUMENT.replace("2026-11-27T15:30:00.000Z", "yesterday")
    assert await handled(plain(router, "m-1", body)) is None
    [(message_id, json)] = sql("SELECT message_id, json FROM usage_rejects")
    assert message_id == "m-1"
    assert json == body


class Refusing:
    """A store that does not take some packs for a reason that only the database knows."""

    def __init__(self, store: UsageStore, *, rejects_too: bool = False) -> None:
        self._store = store
        self._rejects_too = rejects_too
        self.calls: list[list[str]] = []

    async def write(self, packs: Sequence[Pack[Any]]) -> Written:
        self.calls.append([pack.id for pack in packs])
        for pack in packs:
            if "poison" in pack.id and (self._rejects_too or pack.records):
                raise PackRefused("PostgreSQL does not take it: too odd.")
        return await self._store.write(packs)


async def test_a_pack_that_the_database_refuses_holds_up_no_other(
    store: UsageStore, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    refusing = Refusing(store)
    writer = UsageWriter(refusing)
    router = usage_router(writer)
    names = [f"p-{number}" for number in range(31)] + ["poison"]
    assert await handled(*(packed(router, name, LOG, LOG) for name in names)) is None
    assert await store.totals() == Totals(rows=62, counted=62, rejects=2, packs=32)
    assert sql("SELECT message_id, record_index, reason FROM usage_rejects ORDER BY 2") == [
        ("poison", index, "refused: PostgreSQL does not take it: too odd.") for index in range(2)
    ]
    assert counts(writer)["refused_packs"] == 1
    assert reasons(writer) == {(USAGE_LOG_TYPE, "refused"): 2}
    assert len(refusing.calls) <= 12
    assert len(caplog.records) == 1


async def test_what_is_refused_in_any_form_comes_again_alone(store: UsageStore) -> None:
    router = usage_router(UsageWriter(Refusing(store, rejects_too=True)))
    batch = [packed(router, name, LOG) for name in ("p-1", "poison", "p-2")]
    said = await handled(*batch)
    assert list(said) == [batch[1].received]
    assert isinstance(said[batch[1].received], Retry)
    assert (await store.totals()).rows == 2


async def test_a_batch_of_too_many_events_is_written_in_parts(store: UsageStore) -> None:
    seen = Refusing(store)
    router = usage_router(UsageWriter(seen, WriterSettings(rows_per_transaction=5)))
    batch = [
        packed(router, f"p-{number}", *[LOG] * size) for number, size in enumerate([2, 3, 9, 1])
    ]
    assert await handled(*batch) is None
    assert seen.calls == [["p-0", "p-1"], ["p-2"], ["p-3"]]
    assert (await store.totals()).rows == 15


class Heartbeat(Struct, frozen=True):
    """A type that an application adds."""

    service: str
    up_s: int


def test_a_new_type_is_a_struct_and_its_table(store: UsageStore) -> None:
    """The handler comes with the table; the table itself is one more migration."""
    table = EventTable("heartbeat", Heartbeat, "heartbeats")
    router = usage_router(UsageWriter(store), tables=[*EVENT_TABLES, table])
    pack = packed(router, "p-1", Heartbeat("api", 5), {"up_s": "long"}, message_type="heartbeat")
    assert [record.payload for record in pack.received.payload.records] == [Heartbeat("api", 5)]
    assert "up_s" in pack.received.payload.bad[0].reason
