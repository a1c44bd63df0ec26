"""What the stores say of what they keep."""

from __future__ import annotations

import random
from math import ceil

import pytest
from msgspec.structs import replace

from forebay.apps.usage.retention import Span
from forebay.apps.usage.store import By, KeyUsage, Latencies, Rate, UsageStore
from forebay.errors import SettingsError
from tests.usage.events import LOG, NOON_MS, pack


def nearest_rank(sorted_times: list[int], thousandths: int) -> int:
    return sorted_times[ceil(len(sorted_times) * thousandths / 1000) - 1]


@pytest.mark.parametrize("by", list(By))
async def test_latencies_are_those_of_each_group(store: UsageStore, by: By) -> None:
    draw = random.Random(7)
    times: dict[str, list[int]] = {"a": [], "b": [], "c": [5]}
    for name, rows in (("a", 1_000), ("b", 99)):
        times[name] = [round(draw.lognormvariate(4, 1)) for _ in range(rows)]
    await store.write(
        [
            pack(name, *(replace(LOG, **{by.value: name}, response_time_us=us) for us in each))
            for name, each in times.items()
        ]
    )
    expected = []
    for name, each in times.items():
        each.sort()
        ranks = (nearest_rank(each, thousandths) for thousandths in (500, 900, 990, 999, 1000))
        expected.append(Latencies(name, len(each), *ranks))
    assert await store.latencies(by) == expected
    assert await store.latencies(by, limit=1) == expected[:1]


async def test_a_report_is_of_a_span(store: UsageStore) -> None:
    await store.write([pack("p1", *(replace(LOG, response_time_us=n) for n in range(10)))])
    span = Span(NOON_MS + 2, NOON_MS + 5)
    (found,) = await store.latencies(By.ASSET, span)
    assert (found.rows, found.p50_us, found.max_us) == (3, 3, 4)
    assert await store.rates(2, span) == [Rate(NOON_MS + 2, 2), Rate(NOON_MS + 4, 1)]


async def test_rates_are_of_the_steps_that_have_any(store: UsageStore) -> None:
    times = [NOON_MS + 999, NOON_MS, NOON_MS + 3_000, NOON_MS + 1_000]
    await store.write([pack("p1", *[LOG] * 4, times=times)])
    assert await store.rates(1_000) == [
        Rate(NOON_MS, 2),
        Rate(NOON_MS + 1_000, 1),
        Rate(NOON_MS + 3_000, 1),
    ]


async def test_a_step_of_no_time_is_refused(store: UsageStore) -> None:
    with pytest.raises(SettingsError, match="step_ms is 0; it must be 1 or more"):
        await store.rates(0)


async def test_keys_that_used_most_come_first(store: UsageStore) -> None:
    keys = ["a", "b", "b", "c", "b", "c"]
    await store.write([pack("p1", *(replace(LOG, api_key_id=key) for key in keys))])
    assert await store.usage(limit=2) == [
        KeyUsage("b", 3, NOON_MS + 4),
        KeyUsage("c", 2, NOON_MS + 5),
    ]


async def test_a_store_without_rows_has_reports(store: UsageStore) -> None:
    assert await store.latencies(By.SOURCE) == []
    assert await store.rates(1_000) == []
    assert await store.usage() == []


async def test_latencies_over_time_are_those_of_each_step(store: UsageStore) -> None:
    draw = random.Random(7)
    times: dict[tuple[int, str], list[int]] = {
        (step, tier): [] for step in (0, 2) for tier in ("L1_MEMORY", "ORIGIN")
    }
    for step, tier in times:
        times[step, tier] = [round(draw.lognormvariate(4, 1)) for _ in range(100 + 10 * step)]
    await store.write(
        [
            pack(
                f"{step}{tier}",
                *(replace(LOG, cache_tier=tier, response_time_us=us) for us in measured),
                times=[NOON_MS + 1_000 * step + place % 1_000 for place in range(len(measured))],
            )
            for (step, tier), measured in times.items()
        ]
    )
    moments = await store.latencies_over_time(By.CACHE_TIER, 1_000)
    assert [moment.at_ms for moment in moments] == [NOON_MS, NOON_MS + 2_000]
    for moment in moments:
        span = Span(moment.at_ms, moment.at_ms + 1_000)
        assert moment.groups == await store.latencies(By.CACHE_TIER, span)
    assert await store.latencies_over_time(By.CACHE_TIER, 1_000, Span(0, 1)) == []
    with pytest.raises(SettingsError, match="step_ms is 0"):
        await store.latencies_over_time(By.CACHE_TIER, 0)
