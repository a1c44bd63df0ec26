"""What every usage store promises."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from forebay.apps.usage.domain import AnalyticsEvent, UsageLog
from forebay.apps.usage.store import Totals, UsageStore, Written
from forebay.clock import ManualClock
from forebay.errors import SettingsError
from forebay.sql.texts import NAME_MAX
from forebay.worker.packs import BadRecord
from tests.usage.conftest import Sql
from tests.usage.events import DAY_MS, LOG, NOON_MS, pack

_COLUMNS = (
    "at_ms, record_index, key, api_key_id, asset, source, response_time_us, cache_tier,"
    " http_status, node"
)


async def test_every_event_of_a_pack_is_a_row(store: UsageStore, sql: Sql) -> None:
    written = await store.write(
        [pack("p1", LOG, replace(LOG, asset="ETH", http_status=200), key="order-7")]
    )
    assert written == Written(rows=2, packs=1)
    assert sql(f"SELECT {_COLUMNS} FROM usage_logs ORDER BY record_index") == [
        (NOON_MS, 0, "order-7", *("ak_live_abc123", "BTC", "binance", 42, "L1_MEMORY", None),
         "BeastMain"),
        (NOON_MS + 1, 1, "order-7", *("ak_live_abc123", "ETH", "binance", 42, "L1_MEMORY", 200),
         "BeastMain"),
    ]  # fmt: skip
    assert sql(
        "SELECT id, type, node, events, rejects, written_ms FROM usage_packs"
        " WHERE number = (SELECT max(pack_number) FROM usage_logs)"
    ) == [("p1", "usage_log", "BeastMain", 2, 0, NOON_MS)]


async def test_a_pack_that_comes_again_is_written_once(store: UsageStore, sql: Sql) -> None:
    first, second = pack("p1", LOG, LOG), pack("p2", LOG)
    assert await store.write([first, first]) == Written(rows=2, packs=1, repeated=1)
    assert await store.write([second, first]) == Written(rows=1, packs=1, repeated=1)
    assert await store.totals() == Totals(rows=3, counted=3, rejects=0, packs=2)
    assert sql("SELECT api_key_id, events FROM current_usage") == [("ak_live_abc123", 3)]


async def test_an_envelope_that_comes_again_is_written_once(store: UsageStore, sql: Sql) -> None:
    envelopes = [pack(f"e{number}", LOG, sealed=False, at_ms=NOON_MS + number)
                 for number in range(5)]  # fmt: skip
    assert await store.write(envelopes[:3] + envelopes[:1]) == Written(3, 0, 3, 1)
    assert await store.write(envelopes[2:]) == Written(2, 0, 2, 1)
    assert sql("SELECT id FROM usage_seen ORDER BY id") == [(f"e{n}",) for n in range(5)]
    assert await store.totals() == Totals(rows=5, counted=5, rejects=0, packs=0)
    assert sql("SELECT count(*) FROM usage_logs WHERE pack_number IS NULL") == [(5,)]


@pytest.mark.parametrize("sealed", [True, False])
async def test_writers_that_have_the_same_packs_write_each_once(
    store: UsageStore, sealed: bool
) -> None:
    packs = [
        pack(f"p{number}", replace(LOG, api_key_id=f"k{number % 3}"), sealed=sealed)
        for number in range(12)
    ]
    answers = await asyncio.gather(
        *(store.write(packs if writer % 2 else packs[::-1]) for writer in range(6))
    )
    assert sum(each.rows for each in answers) == 12
    assert sum(each.repeated for each in answers) == 60
    totals = await store.totals()
    assert (totals.rows, totals.counted) == (12, 12)


async def test_nothing_to_write_is_written(store: UsageStore) -> None:
    assert await store.write([]) == Written()


async def test_texts_are_kept_as_they_are(store: UsageStore, sql: Sql) -> None:
    texts = [
        *("", "NULL", "null", "\\N", "None", "a\tb", "a\nb", "a\rb", "a\\b", '"', 'a"b', "\\."),
        *("],[", "]\n[", "a,b", "\x01\x1a\x7f", "äöü€", "\U0001f600", "\u2028", " a ", "\\u0000"),
    ]
    await store.write(
        [
            pack(f"p{number}", replace(LOG, asset=text), node=text, key=text)
            for number, text in enumerate(texts)
        ]
    )
    await store.write([pack("all", *(replace(LOG, asset=text) for text in texts))])
    found = sql("SELECT asset, node, key FROM usage_logs WHERE key IS NOT NULL")
    assert sorted(found) == sorted((text, text, text) for text in texts)
    assert sql("SELECT asset FROM usage_logs WHERE key IS NULL ORDER BY record_index") == [
        (text,) for text in texts
    ]


@pytest.mark.parametrize(
    ("payload", "at_ms", "reason"),
    [
        (replace(LOG, asset="a\0b"), NOON_MS, "asset holds the character U+0000"),
        (replace(LOG, response_time_us=2**63), NOON_MS, f"response_time_us is {2**63}, beyond"),
        (replace(LOG, response_time_us=-(2**63) - 1), NOON_MS, "beyond 64 bits"),
        (replace(LOG, http_status=10**30), NOON_MS, "http_status is 1000"),
        (replace(LOG, api_key_id="k" * (NAME_MAX + 1)), NOON_MS, "api_key_id has 501 characters"),
        (LOG, 0, "too old: at_ms is 0"),
        (LOG, -1, "too old"),
        (LOG, NOON_MS - 34 * DAY_MS - 1, "too old"),
        (LOG, NOON_MS + DAY_MS, "in the future"),
        (LOG, 253_370_764_800_000, "in the future"),
        (LOG, 2**80, "in the future"),
    ],
)
@pytest.mark.parametrize("sealed", [True, False])
async def test_a_row_that_cannot_be_written_is_a_reject_and_the_others_are_rows(
    store: UsageStore, sql: Sql, payload: UsageLog, at_ms: int, reason: str, sealed: bool
) -> None:
    if sealed:
        bad = pack("p1", LOG, payload, LOG, times=[NOON_MS, at_ms, NOON_MS], key="order-7")
        index, rows = 1, 2
    else:
        bad, index, rows = pack("p1", payload, at_ms=at_ms, sealed=False, key="order-7"), 0, 0
    other = pack("p2", LOG)
    kind = reason.partition(":")[0] if reason.startswith(("too old", "in the")) else "does not fit"
    assert await store.write([bad, other]) == Written(rows + 1, 1, 2, 0, {kind: 1})
    assert await store.write([bad, other]) == Written(0, 0, 0, 2)
    ((rejected_ms, name, record_index, node, said, json),) = sql(
        "SELECT rejected_ms, message_id, record_index, node, reason, json FROM usage_rejects"
    )
    assert (rejected_ms, name, record_index, node) == (NOON_MS, "p1", index, "BeastMain")
    assert reason in said
    assert json.startswith(f'[{at_ms},{{"api_key_id":"')
    assert json.endswith('},"order-7"]')
    assert await store.totals() == Totals(rows + 1, rows + 1, 1, 2)


async def test_the_first_and_the_last_moment_that_are_taken_in(store: UsageStore) -> None:
    moments = [NOON_MS - 34 * DAY_MS, NOON_MS + DAY_MS - 1]
    written = await store.write([pack("p1", LOG, LOG, times=moments)])
    assert written == Written(rows=2, packs=1)


async def test_what_the_worker_could_not_decode_is_a_reject(store: UsageStore, sql: Sql) -> None:
    bad = [
        BadRecord(1, NOON_MS, b'[1,{"asset":7}]', "Expected `str`, got `int`\0"),
        BadRecord(2, None, b'"\xff"', "no record"),
        BadRecord(3, 2**70, b"[]", "no record"),
    ]
    assert await store.write([pack("p1", LOG, bad=bad)]) == Written(1, 3, 1, 0, {"does not fit": 3})
    again = pack("p2", bad=bad[:1], sealed=False)
    assert await store.write([again]) == Written(0, 1, 1, 0, {"does not fit": 1})
    assert sql(
        "SELECT message_id, record_index, type, at_ms, reason, json FROM usage_rejects"
        " ORDER BY message_id, record_index"
    ) == [
        ("p1", 1, "usage_log", NOON_MS, "Expected `str`, got `int`\ufffd", '[1,{"asset":7}]'),
        ("p1", 2, "usage_log", None, "no record", '"\ufffd"'),
        ("p1", 3, "usage_log", None, "no record", "[]"),
        ("p2", 1, "usage_log", NOON_MS, "Expected `str`, got `int`\ufffd", '[1,{"asset":7}]'),
    ]
    assert sql("SELECT id, events, rejects FROM usage_packs ORDER BY id") == [
        ("p1", 1, 3),
        ("p2", 0, 1),
    ]


@pytest.mark.parametrize("name", ["x" * 5_000, "a\0b", "p\n", "\ud800"])
@pytest.mark.parametrize("sealed", [True, False])
async def test_ids_and_nodes_of_any_kind_are_told_apart(
    store: UsageStore, sql: Sql, name: str, sealed: bool
) -> None:
    packs = [pack(name + each, LOG, node="n\0\udfff", sealed=sealed) for each in ("1", "2")]
    assert await store.write(packs) == Written(2, 0, 2, 0)
    assert await store.write(packs) == Written(0, 0, 0, 2)
    assert sql("SELECT DISTINCT node FROM usage_logs") == [("n\ufffd?",)]


async def test_counters_are_by_key_and_day_and_know_the_latest_event(
    store: UsageStore, sql: Sql
) -> None:
    midnight = NOON_MS + DAY_MS // 2
    other = replace(LOG, api_key_id="other")
    await store.write(
        [
            pack("p1", LOG, other, LOG, LOG, times=[midnight, midnight - 5, midnight - 9,
                                                    midnight - 7]),
            pack("p2", LOG, times=[midnight - 8]),
        ]
    )  # fmt: skip
    await store.write([pack("p3", other, LOG, times=[midnight - 20, midnight - 2])])
    assert sql(
        "SELECT api_key_id, CAST(day AS text), events, last_ms FROM current_usage"
        " ORDER BY api_key_id, day"
    ) == [
        ("ak_live_abc123", "2026-11-28", 4, midnight - 2),
        ("ak_live_abc123", "2026-11-29", 1, midnight),
        ("other", "2026-11-28", 2, midnight - 5),
    ]
    assert [each.events for each in await store.usage()] == [5, 2]


async def test_another_type_has_a_table_of_its_own_and_no_counters(
    store: UsageStore, sql: Sql
) -> None:
    seen = AnalyticsEvent("page_view", "/pricing", "user-1")
    written = await store.write([pack("p1", seen, seen), pack("p2", LOG)])
    assert written == Written(rows=3, packs=2)
    assert await store.write([pack("p1", seen, seen)]) == Written(repeated=1)
    assert sql(
        "SELECT at_ms, record_index, key, event, path, user_id, node FROM analytics_events"
        " ORDER BY record_index"
    ) == [
        (NOON_MS + index, index, None, "page_view", "/pricing", "user-1", "BeastMain")
        for index in range(2)
    ]
    assert await store.totals() == Totals(rows=1, counted=1, rejects=0, packs=2)


async def test_a_type_without_a_table_is_refused_and_nothing_is_written(
    store: UsageStore,
) -> None:
    unknown = pack("p2", LOG)
    unknown.type = "heartbeat"
    with pytest.raises(SettingsError, match="no table for events of the type 'heartbeat'"):
        await store.write([pack("p1", LOG), unknown])
    assert await store.totals() == Totals(0, 0, 0, 0)


async def test_a_type_without_a_table_may_have_rejects(store: UsageStore, sql: Sql) -> None:
    unknown = pack("p2", bad=[BadRecord(0, NOON_MS, b"[1,{}]", "unknown type")])
    unknown.type = "heartbeat"
    reasons = {"unknown type": 1}
    assert await store.write([pack("p1", LOG), unknown]) == Written(1, 1, 2, 0, reasons)
    assert await store.write([unknown]) == Written(0, 0, 0, 1)
    assert sql("SELECT message_id, type, json FROM usage_rejects") == [
        ("p2", "heartbeat", "[1,{}]")
    ]


async def test_what_is_taken_in_goes_with_the_clock(store: UsageStore, clock: ManualClock) -> None:
    await store.write([pack("p1", LOG)])
    clock.advance(33 * DAY_MS)
    assert (await store.write([pack("p2", LOG)])).rows == 1
    clock.advance(2 * DAY_MS)
    assert await store.write([pack("p3", LOG)]) == Written(0, 1, 1, 0, {"too old": 1})
