from __future__ import annotations

import io

import pytest
from rich.console import Console

from forebay.apps.sale.demo import DemoResult, DemoSettings
from forebay.apps.sale.ledger import SaleLedger
from forebay.apps.sale.report import json_report, print_report
from forebay.apps.verdicts import Verdict
from forebay.errors import SettingsError

LEDGER = SaleLedger(
    buyers=10_000,
    accepted=10_000,
    duplicates_collapsed=963,
    confirmed=5_000,
    sold_out=4_940,
    dead_lettered=60,
    undecided=0,
    oversold=0,
    double_decided=0,
    inversions=0,
    api_inversions=17,
    lost=0,
    notified=9_940,
    usage_sent=12_040,
    usage_stored=12_040,
    usage_dropped=3,
    orders_per_second=812.345,
    busiest_second=1_500,
    accept_p50_ms=7.1234,
    accept_p99_ms=50.9876,
)


def result(*, holds: bool) -> DemoResult:
    verdicts = [
        Verdict("no order is decided twice", holds=True, detail=""),
        Verdict("nothing accepted is lost", holds, "" if holds else "2 accepted orders are lost"),
    ]
    return DemoResult(
        ledger=LEDGER, verdicts=verdicts, worker_kills=1, broker_kills=1, seconds=28.3712
    )


def test_the_json_report_has_exactly_the_promised_keys() -> None:
    assert json_report(result(holds=True)) == {
        "buyers": 10_000,
        "accepted": 10_000,
        "duplicates_collapsed": 963,
        "confirmed": 5_000,
        "sold_out": 4_940,
        "dead_lettered": 60,
        "undecided": 0,
        "oversold": 0,
        "double_decided": 0,
        "inversions": 0,
        "lost": 0,
        "usage_sent": 12_040,
        "usage_stored": 12_040,
        "usage_dropped": 3,
        "broker_kills": 1,
        "worker_kills": 1,
        "orders_per_second": 812.3,
        "accept_p50_ms": 7.123,
        "accept_p99_ms": 50.988,
        "seconds": 28.37,
        "ok": True,
    }


def test_a_broken_invariant_makes_the_whole_demo_fail() -> None:
    assert json_report(result(holds=False))["ok"] is False


@pytest.mark.parametrize(
    ("holds", "says"),
    [
        (True, ["Every invariant holds.", "9,940", "17 orders were overtaken"]),
        (False, ["BROKEN", "2 accepted orders are lost", "The sale went wrong"]),
    ],
)
def test_the_printed_report_says_how_it_went(holds: bool, says: list[str]) -> None:
    page = io.StringIO()
    print_report(Console(file=page, width=200), result(holds=holds))
    for text in says:
        assert text in page.getvalue()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"buyers": 0}, "--buyers is 0"),
        ({"sections": 0}, "--sections is 0"),
        ({"seats": 9, "sections": 10}, "--seats is 9; it must be at least 10"),
    ],
)
def test_what_cannot_be_a_sale_is_refused(wrong: dict[str, int], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        DemoSettings(**wrong)  # type: ignore[arg-type]
