"""Source document 002's scaling: its worked examples, and what was wrong in its code."""

from __future__ import annotations

from typing import Any

import pytest

from forebay.errors import SettingsError
from forebay.worker.scaling import Document002
from forebay.worker.scaling.document_002 import pollers_wanted
from tests.runtime.scaling_inputs import load, pool, seen
from tests.runtime.scaling_simulation import Simulation, turns

HALF_FULL = (3_000, 2_500, 2_000)
NINE_TENTHS = (5_400, 4_500, 3_600)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        # The document's example 1: about 10 of 100 pollers at 90%. Its code compares with > 0.9 and
        # truncates 9.999…, so 0.9 itself would not count, and 0.9000001 would give 9.
        ({"buffered": NINE_TENTHS}, 10),
        ({"buffered": (6_000, 5_000, 2_500)}, 10),
        ({"buffered": (5_400, 4_500, 3_601)}, 10),
        ({"buffered": (6_000, 4_400, 3_600)}, 7),
        ({"buffered": (6_000, 5_000, 4_000)}, 5),
        # Example 2: nothing queued, nothing in flight.
        ({"visible": 0, "in_flight": 0}, 5),
        # Example 3: 1,000 messages of 200 ms at 5 s, the buffer half full.
        ({"visible": 1_000, "handling_ms": 200.0, "buffered": HALF_FULL}, 40),
        ({"visible": 600, "in_flight": 400, "handling_ms": 200.0, "buffered": HALF_FULL}, 40),
        # Without timing data a handler counts as 100 ms.
        ({"visible": 1_000, "buffered": HALF_FULL}, 20),
        ({"visible": 1_000, "handling_ms": 0.0, "buffered": HALF_FULL}, 20),
        ({"visible": 1_000, "handling_ms": 3.0, "buffered": HALF_FULL}, 20),
        ({"visible": 1_000, "handling_ms": float("nan"), "buffered": HALF_FULL}, 20),
        # A part of a poller is a poller; bounds are 5 and 100.
        ({"visible": 1_001, "handling_ms": 200.0}, 41),
        ({"visible": 1, "handling_ms": 200.0}, 5),
        ({"visible": 1_000_000, "handling_ms": 200.0}, 100),
        # No more than there is room for: 1,600 places of 200 ms.
        ({"visible": 9_000, "handling_ms": 200.0, "buffered": (5_400, 4_500, 3_500)}, 64),
    ],
)
def test_how_many_pollers_the_document_wants(values: dict[str, Any], wanted: int) -> None:
    assert pollers_wanted(load(interval_s=5.0, **values), least=5, most=100) == wanted


@pytest.mark.parametrize(
    ("target", "since", "values", "after"),
    [
        # Three up at a time, one down.
        (20, {}, {"visible": 1_000, "handling_ms": 200.0}, 23),
        (39, {}, {"visible": 1_000, "handling_ms": 200.0}, 40),
        (20, {}, {"visible": 0, "in_flight": 0}, 19),
        (20, {}, {"buffered": NINE_TENTHS, "visible": 9_000}, 19),
        # Five seconds between steps up, ten before a step down.
        (20, {"since_up_s": 4.0}, {"visible": 1_000, "handling_ms": 200.0}, 20),
        (20, {"since_up_s": 5.0}, {"visible": 1_000, "handling_ms": 200.0}, 23),
        (20, {"since_down_s": 5.0}, {"visible": 0}, 20),
        (20, {"since_up_s": 10.0, "since_down_s": 10.0}, {"visible": 0}, 19),
        # A full buffer asks for fewer pollers. The formula alone gives 10 and would add some to 5.
        (5, {}, {"buffered": NINE_TENTHS, "visible": 9_000}, 5),
        # As long as nobody has told what is queued, nothing changes.
        (20, {}, {}, 20),
        (20, {}, {"in_flight": 0}, 19),
    ],
)
def test_how_pollers_get_there(
    target: int, since: dict[str, Any], values: dict[str, Any], after: int
) -> None:
    pollers = pool(target, least=5, **since)
    assert (
        Document002().pollers(seen(load(interval_s=5.0, **values), pollers=pollers)).after == after
    )


@pytest.mark.parametrize(
    ("busy", "target", "buffered", "after"),
    [
        # The document's three examples.
        (16, 20, (4_500, 0, 0), 21),
        (9, 30, (4_500, 0, 0), 29),
        (15, 25, (4_500, 0, 0), 25),
        # Busy without pressure, pressure without being busy.
        (16, 20, (4_200, 0, 0), 20),
        (14, 20, (6_000, 5_000, 4_000), 20),
        # Its code looks at the high class alone; the others show pressure just as well.
        (16, 20, (0, 3_750, 0), 21),
        (16, 20, (0, 0, 3_000), 21),
        # Exactly at half of the threshold nothing shrinks.
        (7, 20, (0, 0, 0), 20),
        (6, 20, (0, 0, 0), 19),
        # Bounds are 10 and 100.
        (0, 10, (0, 0, 0), 10),
        (100, 100, (6_000, 5_000, 4_000), 100),
    ],
)
def test_how_many_processors_the_document_wants(
    busy: int, target: int, buffered: tuple[int, int, int], after: int
) -> None:
    processors = pool(target, busy=busy, least=10)
    decided = Document002().processors(seen(load(buffered=buffered), processors=processors))
    assert decided.after == after


def test_a_decision_says_why() -> None:
    policy = Document002()
    full = seen(load(buffered=NINE_TENTHS, visible=1), pollers=pool(20))
    assert policy.pollers(full).reason == "the buffer is 90% full"
    queued = seen(load(visible=700, in_flight=300), pollers=pool(20))
    assert policy.pollers(queued).reason == "1000 messages are queued or in flight"
    busy = seen(load(buffered=(4_500, 0, 0)), processors=pool(20, busy=16))
    assert (
        policy.processors(busy).reason == "80% of the processors are busy and a channel is 75% full"
    )


def test_a_poller_pauses_while_the_buffer_is_full() -> None:
    assert Document002().poll_pause_ms(load(buffered=NINE_TENTHS)) == 500
    assert Document002().poll_pause_ms(load(buffered=HALF_FULL)) == 0


def test_a_backlog_makes_it_grow() -> None:
    """At the document's revision, usage divided by nothing kept the pool at its least."""
    worker = Simulation(
        [(0, 20_000)],
        handling_ms=1_500,
        policy=Document002(),
        pollers=(5, 100),
        processors=(10, 100),
        capacity=5_000,
        receive_ms=200,
        interval_s=5,
    ).run(900)
    assert worker.completed == 20_000
    assert max(worker.pollers_after(0)) == 100
    assert max(worker.processors_after(0)) > 60
    assert turns(worker.pollers_after(0)) <= 1
    assert turns(worker.processors_after(0)) <= 1


@pytest.mark.parametrize("threshold", [0, -0.1, 1.1, 70, float("nan")])
def test_a_threshold_that_no_usage_can_pass_is_refused(threshold: float) -> None:
    with pytest.raises(SettingsError, match="at most 1"):
        Document002(threshold=threshold)
