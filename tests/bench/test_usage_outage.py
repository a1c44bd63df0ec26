"""How the run with an outage becomes a plot."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench.usage_offer import Answer, Sample
from bench.usage_outage import Report, moments, plot, value_at
from bench.usage_pipeline import Exactness, Outcome, Seen
from forebay.producer import ProducerLedger

_LEDGER = ProducerLedger(offered=200, delivered=200, dropped={}, failed=0, buffered=0)


def sample(at_s: float, offered: int, delivered: int, buffered: int) -> Sample:
    return Sample(at_s, offered, delivered, buffered, 0, 0, 50.0)


def outcome() -> Outcome:
    """Two producers of 50 logs/s each for 2 s, the second delivering in its last second."""
    first = [sample(100, 0, 0, 0), sample(101, 50, 50, 0), sample(102, 100, 100, 0)]
    second = [sample(100, 0, 0, 0), sample(101, 50, 0, 50), sample(102, 100, 100, 0)]
    return Outcome(
        begun_s=100.0,
        offers=[
            Answer(100, 100.0, 2.0, 102.0, 1.0, 0.5, 60.0, _LEDGER, each)
            for each in (first, second)
        ],
        seen=[Seen(100.0, 0), Seen(101.0, 0), Seen(103.0, 200)],
        written_s=103.0,
        exact=Exactness(200, 200, 0, 0, 0),
        messages=2,
        billed={},
        memory_mb={},
        cpu_s={},
    )


@pytest.mark.parametrize(
    ("at_s", "value"), [(0.0, 10), (1.0, 10), (1.5, 15), (2.0, 20), (2.5, 20), (4.0, 20)]
)
def test_between_two_points_the_value_is_on_the_line(at_s: float, value: float) -> None:
    assert value_at([(1.0, 10), (2.0, 20), (3.0, 20)], at_s) == value


def test_the_producers_are_added_up_and_counts_become_rates() -> None:
    found = moments(outcome())
    assert [moment.at_s for moment in found] == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]
    assert [moment.offered_per_s for moment in found] == [0, 100, 100, 100, 100, 0, 0, 0]
    assert [moment.delivered_per_s for moment in found] == [0, 50, 50, 150, 150, 0, 0, 0]
    assert [moment.rows_per_s for moment in found] == [0, 0, 0, 100, 100, 100, 100, 0]
    assert [moment.buffered for moment in found] == [0, 25, 50, 25, 0, 0, 0, 0]


def test_the_plot_stands_alone_or_is_a_page() -> None:
    measured = outcome()
    report = Report(0.5, 1.5, moments(measured), 200, 0, measured.exact)
    root = ElementTree.fromstring(plot(report, as_svg=True))
    paths = root.findall(".//{http://www.w3.org/2000/svg}path")
    assert len(paths) == 5
    marks = root.findall(".//{http://www.w3.org/2000/svg}line[@class='mark']")
    assert [mark[0].text for mark in marks[:2]] == ["the broker is killed", "the broker is back"]
    page = plot(report, as_svg=False)
    assert page.startswith("<!doctype html>")
    assert "200 logs were offered, 0 lost; 200 rows" in page
