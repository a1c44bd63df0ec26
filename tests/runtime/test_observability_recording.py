"""Rates, series and decisions over the views of workers, and the page that shows them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from forebay.observability.plot import plot_page
from forebay.observability.recording import Recording, rates, summaries
from tests.runtime.snapshots import (
    buffer,
    decision,
    histogram,
    ledger,
    process,
    queue,
    view,
    worker,
)

START_MS = 1_700_000_000_000


def test_rates_are_made_of_counts_that_run_on_and_no_reader_disturbs_another() -> None:
    before = view(
        process(worker(queue(ledger=ledger(received=100, acked=90), handling=histogram(10)))),
        at_ms=START_MS,
    )
    now = view(
        process(
            worker(
                queue(
                    failures=4,
                    ledger=ledger(received=180, acked=130),
                    handling=histogram(10, 20, 40),
                )
            )
        ),
        at_ms=START_MS + 2_000,
    )
    for _ in range(3):
        orders = rates(before, now)["orders"]
        assert (orders.received_s, orders.done_s, orders.failed_s) == (40.0, 20.0, 2.0)
        assert orders.handling_ms == 30.0
    assert rates(None, now)["orders"].done_s is None
    assert rates(now, now)["orders"].done_s is None


def test_a_queue_is_summed_over_processes_and_as_old_as_its_oldest_message() -> None:
    seen = view(
        process(worker(queue(age_s=3.0, polls=2, ledger=ledger(received=1, in_hand=1)))),
        process(worker(queue(age_s=9.0, polls=1, ledger=ledger(received=2, in_hand=2)))),
    )
    (orders,) = summaries(seen)
    assert (orders.age_s, orders.polls, orders.ledger.in_hand) == (9.0, 3, 3)


def test_each_decision_is_recorded_once() -> None:
    recording = Recording()
    first, second = decision(), decision(at_ms=START_MS + 1, pool="pollers")
    assert len(recording.add(view(process(worker(decisions=[first]))))) == 1
    assert len(recording.add(view(process(worker(decisions=[first, second]))))) == 1
    assert recording.add(view(process(worker(decisions=[second])))) == []
    assert [made.decision for made in recording.decisions] == [first, second]


def test_what_shows_no_worker_is_no_point() -> None:
    recording = Recording()
    nothing = process()
    nothing.snapshot = None
    recording.add(view(nothing))
    assert recording.points == []
    assert "No worker was seen." in plot_page(recording, "nothing")


class _Page(HTMLParser):
    """What a page has: its tags, and the addresses that it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.paths: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.loads += [value for name in ("src", "href") if (value := found.get(name))]
        if tag == "path":
            self.paths.append(found["d"] or "")


def recorded(*at_s: float) -> Recording:
    recording = Recording()
    for index, second in enumerate(at_s):
        one = worker(
            queue("<orders>", visible=index * 10, age_s=float(index)),
            buffers=[buffer(size=index)],
            decisions=[decision(reason="too <old>", at_ms=START_MS + 1_000)],
        )
        recording.add(view(process(one), at_ms=START_MS + round(second * 1000)))
    return recording


def test_the_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    text = plot_page(recorded(*range(10)), "A <spike>")
    page = _Page(text)
    assert page.loads == []
    assert "<script" not in text
    assert "&lt;orders&gt;" in text
    assert "<orders>" not in text
    assert "A &lt;spike&gt;" in text
    assert "1.0 s, process 1: processors 4 → 8: too &lt;old&gt;" in text
    assert "<tr><td>1.0 s</td><td>1</td><td>processors</td><td>4 → 8</td>" in text
    for title in ("Depth", "Age", "Pollers", "Processors", "Buffers", "Decisions"):
        assert f"<h2>{title}</h2>" in text
    # Depth, age and one buffer; two lines for each pool.
    assert len(page.paths) == 7
    assert all(re.fullmatch(r"M[\d.]+ [\d.]+([LHV][\d. ]+)*", path) for path in page.paths)


def test_an_outage_breaks_the_lines() -> None:
    whole = _Page(plot_page(recorded(*range(20)), "x"))
    broken = _Page(plot_page(recorded(*range(10), *range(60, 70)), "x"))
    assert len(broken.paths) == 2 * len(whole.paths)


def test_a_long_recording_makes_no_huge_page_and_keeps_its_peak() -> None:
    text = plot_page(recorded(*range(5_000)), "x")
    assert len(text) < 300_000
    assert "60,000" in text or "50,000" in text or "80,000" in text


def test_one_point_is_enough() -> None:
    assert "<svg" in plot_page(recorded(0.0), "x")
