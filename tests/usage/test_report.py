from __future__ import annotations

import io
import random
import re
from html.parser import HTMLParser

import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console

from forebay.apps.usage.domain import UsageLog
from forebay.apps.usage.report import (
    UsageReport,
    gather_report,
    readable_us,
    step_for,
)
from forebay.apps.usage.report_page import report_page
from forebay.apps.usage.report_text import report_text
from forebay.apps.usage.retention import Span
from forebay.apps.usage.store import By, UsageStore
from tests.usage.events import DAY_MS, LOG, NOON_MS, pack

#: A day around what is written below.
DAY = Span(NOON_MS - DAY_MS, NOON_MS + DAY_MS)

TIERS = {"L1_MEMORY": 25, "L2_SHARED": 240, "ORIGIN": 16_000}


async def fill(store: UsageStore, *, seconds: int = 20, rows: int = 2_000) -> list[UsageLog]:
    """Write as many usage logs, even over this time."""
    dice = random.Random(1)
    logs = [
        UsageLog(
            api_key_id=dice.choice(["ak_one", "ak_two"]),
            asset=dice.choice(["BTC", "<ETH>"]),
            source="kraken",
            response_time_us=TIERS[tier] + dice.randrange(10),
            cache_tier=tier,
            http_status=200,
        )
        for tier in dice.choices(list(TIERS), [80, 15, 5], k=rows)
    ]
    times = [NOON_MS + number * seconds * 1_000 // rows for number in range(rows)]
    await store.write([pack("pack-1", *logs, times=times)])
    return logs


async def test_a_report_counts_every_row_in_every_view(store: UsageStore) -> None:
    logs = await fill(store)
    report = await gather_report(store, DAY)
    assert report.rows == report.totals.rows == report.totals.counted == len(logs)
    assert report.span == Span(NOON_MS, NOON_MS + 20_000)
    assert list(report.groups) == list(By)
    for by, groups in report.groups.items():
        assert sum(group.rows for group in groups) == len(logs), by
    assert sum(key.events for key in report.keys) == len(logs)
    assert report.step_ms == 250
    assert len(report.moments) == 80
    assert sum(tier.rows for each in report.moments for tier in each.groups) == len(logs)
    assert {sum(tier.rows for tier in each.groups) for each in report.moments} == {25}
    slowest = {group.name: group.max_us for group in report.groups[By.CACHE_TIER]}
    assert slowest == {
        tier: max(log.response_time_us for log in logs if log.cache_tier == tier) for tier in TIERS
    }


async def test_a_report_is_of_the_time_that_was_asked_for(store: UsageStore) -> None:
    await store.write(
        [
            pack("early", LOG, at_ms=NOON_MS - 5_000),
            pack("asked", *[LOG] * 3, at_ms=NOON_MS),
            pack("late", LOG, at_ms=NOON_MS + 5_000),
        ]
    )
    report = await gather_report(store, Span(NOON_MS, NOON_MS + 5_000))
    assert report.rows == 3
    assert sum(tier.rows for each in report.moments for tier in each.groups) == 3
    assert report.totals.rows == 5


async def test_steps_without_any_use_are_shown_as_such(store: UsageStore) -> None:
    await store.write(
        [pack("one", LOG, at_ms=NOON_MS), pack("two", LOG, LOG, at_ms=NOON_MS + 1_000)]
    )
    report = await gather_report(store, DAY)
    assert report.step_ms == 250
    assert [sum(tier.rows for tier in each.groups) for each in report.moments] == [1, 0, 0, 0, 2]


async def test_without_any_use_a_report_says_so(store: UsageStore) -> None:
    report = await gather_report(store, DAY)
    assert (report.rows, report.moments) == (0, [])
    assert "No use was logged in this time." in report_page(report, "Usage")
    assert "No use was logged in this time." in as_text(report)


class Resources(HTMLParser):
    """What a page would have a browser fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "img", "iframe", "object"}:
            self.found.append(tag)
        self.found += [name for name, _ in attrs if name in {"src", "href", "onclick"}]


async def test_the_page_shows_all_groups_and_needs_nothing_else(store: UsageStore) -> None:
    await fill(store)
    text = report_page(await gather_report(store, DAY), "Usage of <prices>")
    resources = Resources()
    resources.feed(text)
    assert resources.found == []
    assert "http" not in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<svg") == 1 + len(TIERS)
    for shown in ("ak_one", "&lt;ETH&gt;", "kraken", "ORIGIN", "they agree", "2,000 uses"):
        assert shown in text
    assert "<ETH>" not in text
    assert "Usage of &lt;prices&gt;" in text
    assert re.search(r'<path class="line" stroke="#0072b2" d="M[\d.]+ ', text)


async def test_a_page_tells_when_rows_and_counters_do_not_agree(store: UsageStore) -> None:
    await fill(store, rows=10)
    report = await gather_report(store, DAY)
    wrong = replace(report, totals=replace(report.totals, counted=9))
    assert '<b class="bad">they do not agree</b>' in report_page(wrong, "Usage")


async def test_the_terminal_and_json_show_the_same(store: UsageStore) -> None:
    await fill(store)
    report = await gather_report(store, DAY)
    text = as_text(report)
    for shown in ("ak_two", "ORIGIN", "2,000 rows, 2,000 by the counters", "at most 100"):
        assert shown in text
    encoded = msgspec.json.encode(report)
    assert msgspec.json.decode(encoded, type=UsageReport) == report
    assert set(msgspec.json.decode(encoded)["groups"]) == {by.value for by in By}


async def test_few_uses_are_told_and_drawn_too(store: UsageStore) -> None:
    """One request in four minutes is a rate, and no 0."""
    await store.write(
        [
            pack("one", LOG, at_ms=NOON_MS),
            pack("two", LOG, LOG, at_ms=NOON_MS + 20 * 240_000),
        ]
    )
    report = await gather_report(store, Span(NOON_MS, NOON_MS + 20 * 240_000 + 1_000))
    text = as_text(report)
    assert "at most 0.017:" in text
    assert "█" in text
    assert "▄" in text
    assert "0.00062 a second" in report_page(report, "Usage")


async def test_names_steer_no_terminal(store: UsageStore) -> None:
    await store.write([pack("one", replace(LOG, asset="BTC\x1b]0;mine\x07\u202e"))])
    text = as_text(await gather_report(store, DAY))
    assert "BTC\ufffd]0;mine\ufffd\ufffd" in text
    assert "\x1b" not in text


async def test_a_long_name_is_cut_in_a_terminal_and_no_number(store: UsageStore) -> None:
    await store.write([pack("one", replace(LOG, asset="a" * 60, response_time_us=1_234_000_000))])
    text = as_text(await gather_report(store, DAY), width=80)
    assert text.count("1,234 s") == 5 * len(By)
    assert "aaa…" in text


def as_text(report: UsageReport, width: int = 120) -> str:
    page = io.StringIO()
    Console(file=page, width=width).print(report_text(report))
    return page.getvalue()


@pytest.mark.parametrize(
    ("duration_ms", "step_ms"),
    [
        (1_000, 250),
        (20_001, 500),
        (3_600_000, 60_000),
        (7 * DAY_MS, 7_200_000 * 3),
        (90 * DAY_MS, 2 * DAY_MS),
    ],
)
def test_a_step_is_one_that_clocks_have(duration_ms: int, step_ms: int) -> None:
    assert step_for(Span(NOON_MS, NOON_MS + duration_ms)) == step_ms


@pytest.mark.parametrize(
    ("duration_us", "said"),
    [
        (0, "0 µs"),
        (999, "999 µs"),
        (1_000, "1 ms"),
        (16_234, "16.2 ms"),
        (3_000_000, "3 s"),
        (999_600, "1,000 ms"),
        (5_000_000_000, "5,000 s"),
    ],
)
def test_times_are_told_in_their_unit(duration_us: int, said: str) -> None:
    assert readable_us(duration_us) == said
