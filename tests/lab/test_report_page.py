"""The page of a run: who did what when, nothing that a browser takes for markup, and its size."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from forebay.apps.verdicts import Verdict
from forebay.lab.events import Event, Kind
from forebay.lab.report.page import lab_page
from forebay.lab.report.timeline import MARKS_MAX, timeline
from forebay.observability.chart import Chart, Line, Mark, TimeAxis, drawn
from forebay.observability.lanes import Bar, Lane, Row, Tick, drawn_lanes
from tests.lab.made_up import BEGAN_MS, BROKEN, EVENTS, KEY, QUEUE, depths, effect, event, made_up
from tests.lab.made_up import without as went_without

AXIS = TimeAxis(0, 10_000)


def test_each_process_has_a_lane_with_what_it_did() -> None:
    shown = timeline(made_up())
    assert {
        lane.name: {row.name: [tick.text for tick in row.ticks] for row in lane.rows}
        for lane in shown.lanes
    } == {
        "producer": {"sent": ["1.50 s: sent a"]},
        "worker-1": {"received": ["2.50 s: received a"]},
        "worker-2": {
            "again": ["12.50 s: received a for the 2nd time"],
            "applied": ["12.60 s: applied door-7, 3, of a"],
            "effect": ["12.70 s: mail a for worker-2 with key k-1"],
            "deleted": ["12.80 s: deleted a"],
        },
    }
    assert [mark.text for mark in shown.marks] == ["3.00 s: worker-1 is killed"]
    assert shown.axis == TimeAxis(BEGAN_MS, BEGAN_MS + 13_000, in_seconds=True)


def test_a_process_lives_until_it_ends_and_may_live_again() -> None:
    again = (event(5.0, Kind.STARTED), event(6.0, Kind.RECEIVED, queue=QUEUE, id="b"))
    lanes = {lane.name: lane.bars for lane in timeline(made_up(events=EVENTS + again)).lanes}
    assert lanes["worker-1"] == [
        Bar(
            BEGAN_MS + 2_000,
            BEGAN_MS + 3_100,
            "worker-1 is killed (signal 9) at 3.10 s",
            bad=True,
        ),
        Bar(BEGAN_MS + 5_000, None, "worker-1 runs"),
    ]
    assert lanes["producer"][0].text == "producer ends with exit code 0 at 3.10 s"
    assert not lanes["producer"][0].bad


def test_who_did_nothing_has_a_lane_and_unknown_callers_have_one_together() -> None:
    events = (event(1.0, Kind.STARTED, "idle"),)
    shown = timeline(made_up(events=events, effects=(effect(2.0, "a", "stranger"),)))
    assert [(lane.name, [row.name for row in lane.rows]) for lane in shown.lanes] == [
        ("idle", []),
        ("service outside", ["effect"]),
    ]
    assert shown.lanes[1].rows[0].ticks[0].text == "2.00 s: mail a for stranger without a key"


def test_a_process_has_a_lane_for_each_queue() -> None:
    events = (
        event(1.0, Kind.STARTED),
        event(1.5, Kind.NOTE, text="awake"),
        event(2.0, Kind.RECEIVED, queue=QUEUE, id="a"),
        event(3.0, Kind.SENT, queue="sqs-demo-letters-dlq", id="a"),
    )
    shown = timeline(made_up(events=events, effects=()))
    assert [(lane.name, [row.name for row in lane.rows]) for lane in shown.lanes] == [
        ("worker-1, main queue", ["received", "note"]),
        ("worker-1, dead letters of main queue", ["sent"]),
    ]


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (event(1, Kind.EXTENDED, id="a", value=30), "hid a for 30 s more"),
        (event(1, Kind.RELEASED, id="a"), "made a visible"),
        (event(1, Kind.NOT_SENT, id="a", text="Throttled"), "not sent a: Throttled"),
        (event(1, Kind.SKIPPED, id="a", text="stale"), "passed over a: stale"),
        (event(1, Kind.SKIPPED, id="a", subject="d", value=2), "passed over d, 2, of a"),
        (event(1, Kind.RECEIVED, id="a", receives=11), "received a for the 11th time"),
        (event(1, Kind.RECEIVED, id="a", receives=23), "received a for the 23rd time"),
        (event(1, Kind.SENT, id="0123456789abcdef"), "sent 01234567…"),
        (event(1, Kind.NOTE, text="the bug is mended"), "the bug is mended"),
    ],
)
def test_an_event_is_told_in_words(what: Event, text: str) -> None:
    (lane,) = timeline(made_up(events=(what,), effects=())).lanes
    assert lane.rows[0].ticks[0].text == f"1.00 s: {text}"


def test_depths_are_lines_over_the_same_time() -> None:
    other = depths(4.0, 7, 0, 0, queue="other")
    cut_off = depths(9.0, 1, 1, 1)[:1]
    shown = timeline(made_up(events=(*EVENTS, *other, *cut_off)))
    (main, times_ms), (second, _) = shown.depths
    assert times_ms == [BEGAN_MS + 2_600, BEGAN_MS + 13_000]
    assert {line.name: list(line.values) for line in main.lines} == {
        "visible": [0, 0],
        "in flight": [1, 0],
        "dead-lettered": [0, 0],
    }
    assert (main.title, second.title) == ("Depth of main queue", "Depth of other")


def test_the_first_faults_are_shown_and_all_are_counted() -> None:
    faults = tuple(event(each, Kind.FAULT, "lab", text=f"{each}") for each in range(MARKS_MAX + 5))
    shown = timeline(made_up(events=faults))
    assert (len(shown.marks), shown.marks_all) == (MARKS_MAX, MARKS_MAX + 5)
    page = lab_page([made_up(events=(*EVENTS, *faults))])
    assert f"The first {MARKS_MAX} of {MARKS_MAX + 6} faults are shown." in page


def ticks(times_ms: list[int], colour: str = "#000") -> Row:
    return Row("received", [Tick(each, colour, f"at {each}") for each in times_ms])


def test_ticks_that_would_lie_on_each_other_are_one() -> None:
    lanes = [Lane("worker", [ticks([1_000, 1_001, 5_000])])]
    drawing = drawn_lanes(lanes, [], AXIS, label="", ticks_max=100)
    assert drawing.thinned
    assert re.findall(r"<title>([^<]*)</title>", drawing.svg) == [
        "2 together:\nat 1000\nat 1001",
        "at 5000",
    ]
    assert drawing.svg.count("<rect") == 1


def test_a_tick_that_stands_for_several_is_as_long_as_they_took() -> None:
    begin_ms, end_ms = AXIS.begin_ms, AXIS.end_ms
    middle_ms = (begin_ms + end_ms) // 2
    times_ms = [*range(begin_ms, middle_ms + 1, (middle_ms - begin_ms) // 50), end_ms]
    drawing = drawn_lanes([Lane("worker", [ticks(times_ms)])], [], AXIS, label="", ticks_max=2)
    block = re.search(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', drawing.svg)
    assert block is not None
    assert float(block[2]) > 0.4 * (AXIS.x(end_ms) - AXIS.x(begin_ms))


def test_ticks_of_different_colours_stay_apart() -> None:
    row = Row("received", [*ticks([1_000]).ticks, *ticks([1_001], "#fff").ticks])
    drawing = drawn_lanes([Lane("worker", [row])], [], AXIS, label="", ticks_max=100)
    assert not drawing.thinned
    assert drawing.svg.count("<title>") == 2


def test_ticks_are_thinned_until_there_are_few_enough() -> None:
    lanes = [Lane("worker", [ticks(list(range(0, 10_000, 10)))])]
    drawing = drawn_lanes(lanes, [], AXIS, label="", ticks_max=40)
    counts = [int(each) for each in re.findall(r"<title>(\d+) together", drawing.svg)]
    assert len(counts) <= 40
    assert sum(counts) == 1_000, "each is told of"


def test_marks_are_numbered_and_those_near_each_other_stand_in_two_levels() -> None:
    marks = [Mark(1_000, "one"), Mark(1_010, "two"), Mark(9_000, "three")]
    drawing = drawn_lanes([Lane("worker", [])], marks, AXIS, label="", ticks_max=9)
    assert re.findall(r'cy="(\d+)"', drawing.svg) == ["8", "25", "8"]
    assert re.findall(r'middle">(\d)</text></g>', drawing.svg) == ["1", "2", "3"]


def test_a_long_run_is_told_in_seconds_as_its_faults_are() -> None:
    page = lab_page([made_up(events=(*EVENTS, event(600.0, Kind.FAULT, "lab", text="late")))])
    assert ">600 s</text>" in page
    assert " min</text>" not in page


EVIL = "<script>alert('&')</script>\"]]>"


def test_nothing_that_is_said_becomes_markup() -> None:
    page = lab_page(
        [
            made_up(
                scenario=EVIL,
                title=EVIL,
                claim=EVIL,
                options={"mode": EVIL},
                verdicts=(Verdict(EVIL, False, EVIL),),
                error=EVIL,
                events=(
                    *EVENTS,
                    event(4.0, Kind.STARTED, EVIL),
                    event(4.0, Kind.RECEIVED, EVIL, queue=EVIL, id=EVIL),
                    event(4.5, Kind.SENT, EVIL, queue=QUEUE, id=EVIL),
                    event(5.0, Kind.FAULT, "lab", text=EVIL),
                    event(6.0, Kind.ENDED, "lab", subject=EVIL, value=1),
                    *depths(6.0, 1, 1, 1, queue=EVIL),
                ),
                effects=(effect(5.0, EVIL, EVIL, EVIL),),
            )
        ]
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 12
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_the_page_needs_nothing_else_and_leads_to_each_run() -> None:
    page = lab_page([made_up(), went_without([KEY], BROKEN)])
    assert not re.search(r"https?://|<script|<link|<img|@import|url\(", page)
    assert re.findall(r'href="#([^"]*)"', page) == ["run-1", "run-2"]
    assert re.findall(r'id="([^"]*)"', page) == ["run-1", "run-2"]
    assert "2 runs, 1 passed, 1 failed" in page
    assert "FAIL</span>, as it must without key</h2>" in page
    assert "each effect is performed once (as stated)" in page
    assert "seed 7, without key, --count 1" in page


#: Eight hundred messages that five workers take.
BUSY = tuple(
    event(number / 20 + after_s, kind, f"worker-{number % 5}", queue=QUEUE, id=f"{number:032}")
    for number in range(800)
    for after_s, kind in ((0.0, Kind.RECEIVED), (0.2, Kind.DELETED))
)


def test_a_page_of_many_busy_runs_stays_small_and_says_what_it_left_out() -> None:
    page = lab_page([made_up(scenario=f"busy-{number}", events=BUSY) for number in range(12)])
    assert len(page) < 1_500_000
    assert page.count("drawn as one block") == 12
    assert "timeline is left out" not in page


def test_of_very_many_runs_the_failed_ones_have_a_timeline_first() -> None:
    results = [made_up() for _ in range(60)] + [made_up(verdicts=(BROKEN,))]
    sections = lab_page(results).split("<section")[1:]
    without_timeline = [
        number for number, section in enumerate(sections) if "is left out" in section
    ]
    assert without_timeline == list(range(39, 60))


def test_a_line_is_broken_where_nothing_is_known() -> None:
    times_ms = [0, 100, 200, 5_000]
    chart = Chart("Depth", "", [Line("visible", "#000", [1, 2, 3, 4])])
    assert drawn(chart, times_ms).count("<path") == 2
