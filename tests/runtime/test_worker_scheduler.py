"""Which queue gets the next receive, by the examples of source document 002 and its bounds."""

from __future__ import annotations

from math import floor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forebay.errors import SettingsError
from forebay.worker.queue import HIGH, LOW, MEDIUM, Priority, Queue
from forebay.worker.scheduler import (
    Candidate,
    Scheduler,
    SchedulerSettings,
    require_queues,
    score,
)

DAY_MS = 24 * 3_600_000


@pytest.mark.parametrize(
    ("priority", "visible", "weight", "since_poll_s", "polls", "boost_step", "expected"),
    [
        # The document says 116,700, from a boost rounded to 1.167 before it multiplies.
        (HIGH, 10, 1.0, 5.0, 5, 0.25, 116_666.7),
        (HIGH, 10, 1.0, 5.0, 5, 0.5, 116_666.7),
        # The document says 22,500, a cap of 1.5; its code caps at 2.0.
        (MEDIUM, 20, 0.75, 60.0, 3, 0.25, 22_500.0),
        (MEDIUM, 20, 0.75, 60.0, 3, 0.5, 30_000.0),
        # The document says 2,534, from a boost rounded to 1.067.
        (LOW, 50, 0.5, 2.0, 15, 0.25, 2_533.3),
        # Ten polls in a row cost nothing, the eleventh does.
        (LOW, 100, 1.0, 0.0, 10, 0.25, 10_000.0),
        (LOW, 100, 1.0, 0.0, 11, 0.25, 9_500.0),
        # The boost after so many seconds, up to the cap of each class.
        (HIGH, 1, 1.0, 2.0, 0, 0.5, 10_666.7),
        (HIGH, 1, 1.0, 15.0, 0, 0.5, 15_000.0),
        (HIGH, 1, 1.0, 30.0, 0, 0.5, 20_000.0),
        (HIGH, 1, 1.0, 1e9, 0, 0.5, 25_000.0),
        (HIGH, 1, 1.0, 1e9, 0, 0.25, 17_500.0),
        (LOW, 1, 1.0, 1e9, 0, 0.25, 125.0),
        # Never polled: no boost.
        (HIGH, 1, 1.0, None, 0, 0.25, 10_000.0),
        (HIGH, 0, 1.0, 60.0, 0, 0.25, 0.0),
    ],
)
def test_the_score_of_a_queue(
    priority: Priority,
    visible: int,
    weight: float,
    since_poll_s: float | None,
    polls: int,
    boost_step: float,
    expected: float,
) -> None:
    queue = Candidate("orders", priority, visible, weight)
    value = score(queue, since_poll_s=since_poll_s, polls_in_a_row=polls, boost_step=boost_step)
    assert value == pytest.approx(expected, abs=0.05)


def test_the_document_s_three_queues_are_chosen_by_class() -> None:
    scheduler = Scheduler(SchedulerSettings(share_medium=0, share_low=0))
    low, medium, high = (
        Candidate("low", LOW, 50, 0.5),
        Candidate("medium", MEDIUM, 20, 0.75),
        Candidate("high", HIGH, 10),
    )
    assert scheduler.next_queue([low, medium, high], 0) == "high"
    assert scheduler.next_queue([low, medium], 0) == "medium"
    assert scheduler.next_queue([low], 0) == "low"
    assert scheduler.next_queue([], 0) is None


def test_no_count_lifts_a_queue_above_a_higher_class() -> None:
    """By score alone, 2,334 low messages would pass the high queue of the document's example."""
    low, high = Candidate("low", LOW, 1_000_000), Candidate("high", HIGH, 1)
    assert score(low, since_poll_s=None) > score(high, since_poll_s=5)
    assert Scheduler().next_queue([low, high], 0) == "high"


def test_a_queue_without_messages_is_not_chosen() -> None:
    """A long poll there would keep a poller for its whole wait."""
    scheduler = Scheduler()
    assert scheduler.next_queue([Candidate("high", HIGH, 0)], 0) is None
    assert scheduler.next_queue([Candidate("high", HIGH, 0), Candidate("low", LOW, 1)], 0) == "low"


def test_queues_of_a_class_take_turns() -> None:
    scheduler = Scheduler()
    queues = [Candidate("a", MEDIUM, 5), Candidate("b", MEDIUM, 5)]
    for name in "ab":
        scheduler.polled(name, 0)
    chosen = [scheduler.next_queue(queues, 1000 * second) for second in range(1, 7)]
    assert chosen == ["a", "b", "a", "b", "a", "b"]


def test_a_queue_polled_often_in_a_row_pays_for_it() -> None:
    scheduler = Scheduler()
    many, few = Candidate("many", MEDIUM, 102), Candidate("few", MEDIUM, 100)
    chosen = [scheduler.next_queue([many, few], 0) for _ in range(13)]
    # Eleven times in a row, then the other; that ends the row, as selecting a queue zeroes the
    # counts of all others in the document.
    assert chosen == ["many"] * 11 + ["few", "many"]


def test_the_classes_below_get_their_share_of_choices() -> None:
    scheduler = Scheduler()
    queues = [Candidate("high", HIGH, 9), Candidate("medium", MEDIUM, 9), Candidate("low", LOW, 9)]
    chosen = [scheduler.next_queue(queues, 0) for _ in range(1_001)]
    counts = {name: chosen.count(name) for name in ("high", "medium", "low")}
    assert counts == {"high": 801, "medium": 100, "low": 100}


def test_a_share_of_zero_starves() -> None:
    scheduler = Scheduler(SchedulerSettings(share_medium=0, share_low=0))
    queues = [Candidate("high", HIGH, 1), Candidate("low", LOW, 1)]
    assert {scheduler.next_queue(queues, 0) for _ in range(1_000)} == {"high"}


def test_what_a_class_gets_anyway_is_not_owed_to_it_later() -> None:
    scheduler = Scheduler()
    low, high = Candidate("low", LOW, 1), Candidate("high", HIGH, 1)
    for _ in range(1_000):
        assert scheduler.next_queue([low], 0) == "low"
    chosen = [scheduler.next_queue([low, high], 0) for _ in range(9)]
    assert chosen == ["high"] * 9


SHARES = st.integers(0, 99).flatmap(
    lambda medium: st.tuples(st.just(medium), st.integers(0, 99 - medium))
)


@given(
    shares=SHARES,
    runs=st.lists(
        st.tuples(
            st.sampled_from([(1, 1, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (0, 0, 1), (0, 1, 0)]),
            st.integers(1, 60),
        ),
        min_size=1,
        max_size=6,
    ),
)
@example(shares=(0, 30), runs=[((1, 0, 1), 200)])
@example(shares=(0, 30), runs=[((0, 0, 1), 100), ((1, 0, 1), 100)])
def test_a_class_gets_its_share_in_every_window_in_which_it_has_messages(
    shares: tuple[int, int], runs: list[tuple[tuple[int, int, int], int]]
) -> None:
    presence = [present for present, times in runs for _ in range(times)]
    share_of = {MEDIUM: shares[0], LOW: shares[1]}
    scheduler = Scheduler(
        SchedulerSettings(share_medium=shares[0] / 100, share_low=shares[1] / 100)
    )
    chosen: list[str | None] = []
    for present in presence:
        candidates = [
            Candidate(priority.name, priority, visible)
            for priority, visible in zip((HIGH, MEDIUM, LOW), present, strict=True)
        ]
        chosen.append(scheduler.next_queue(candidates, 0))
    for priority, index in ((MEDIUM, 1), (LOW, 2)):
        for start in range(len(presence)):
            polls = 0
            for end in range(start, len(presence)):
                if not presence[end][index]:
                    break
                polls += chosen[end] == priority.name
                size = end - start + 1
                assert polls >= floor(share_of[priority] * size / 100) - 1


@given(
    counts=st.lists(st.tuples(st.sampled_from(list(Priority)), st.integers(0, 1_000)), max_size=8)
)
def test_without_shares_the_choice_is_always_of_the_highest_class_with_messages(
    counts: list[tuple[Priority, int]],
) -> None:
    scheduler = Scheduler(SchedulerSettings(share_medium=0, share_low=0))
    candidates = [
        Candidate(str(number), priority, visible)
        for number, (priority, visible) in enumerate(counts)
    ]
    chosen = scheduler.next_queue(candidates, 0)
    with_messages = [priority for priority, visible in counts if visible]
    if chosen is None:
        assert not with_messages
    else:
        assert counts[int(chosen)][0] == max(with_messages)


def test_polls_older_than_a_day_are_forgotten_every_five_minutes() -> None:
    scheduler = Scheduler()
    for number in range(1_000):
        scheduler.polled(f"queue-{number}", 0)
    scheduler.polled("kept", 1)
    scheduler.polled("other", DAY_MS)
    assert scheduler.remembered == 1_002
    scheduler.polled("other", DAY_MS + 1 + 299_999)
    assert scheduler.remembered == 1
    assert scheduler.next_queue([Candidate("kept", LOW, 1)], DAY_MS + 300_000) == "kept"


def test_history_is_cleaned_at_the_end_of_five_minutes_and_not_before() -> None:
    scheduler = Scheduler()
    scheduler.polled("old", 0)
    scheduler.polled("first", DAY_MS + 1)
    assert scheduler.remembered == 1
    scheduler.polled("new", DAY_MS + 2)
    scheduler.polled("first", 2 * DAY_MS + 1 + 299_999)
    assert scheduler.remembered == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("boost_step", -0.1, "boost_step is -0.1; it must be at least 0"),
        ("boost_step", float("nan"), "boost_step is nan; it must be at least 0"),
        ("share_low", -1, "share_low is -1; it must be at least 0"),
        ("share_medium", 0.9, "share_medium and share_low are 1 together; they must be below 1"),
    ],
)
def test_a_setting_out_of_range_is_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SchedulerSettings(**{name: value})


def test_a_worker_serves_at_least_one_queue_and_none_twice() -> None:
    require_queues([Queue("a"), Queue("b")])
    with pytest.raises(SettingsError, match="A worker has no queue; give it at least one"):
        require_queues([])
    with pytest.raises(SettingsError, match="Queue a is given twice"):
        require_queues([Queue("a"), Queue("b"), Queue("a", priority=HIGH)])
