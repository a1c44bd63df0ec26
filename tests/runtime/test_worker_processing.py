"""What may run beside what: anything on a standard queue, one of each group on a FIFO queue."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.worker.lease import Lease
from forebay.worker.processing import Processing
from tests.runtime.worker_messages import lease


def names(leases: list[Lease]) -> list[str]:
    return [each.message_id for each in leases]


def with_leases(concurrency: int, *described: str) -> tuple[Processing, dict[str, Lease]]:
    """Messages described as `name` or `group/name`, taken in in this order."""
    processing = Processing(concurrency)
    leases = {}
    for description in described:
        group_id, _, name = description.rpartition("/")
        leases[name] = lease(name, group_id or None)
        processing.add(leases[name])
    return processing, leases


def take_all(processing: Processing) -> list[str]:
    taken = []
    while (each := processing.take()) is not None:
        taken.append(each.message_id)
    return taken


@pytest.mark.parametrize(
    ("concurrency", "received", "running", "ready", "blocked"),
    [
        (4, [], [], 0, 0),
        (4, ["a", "b"], ["a", "b"], 0, 0),
        (2, ["a", "b", "c"], ["a", "b"], 1, 0),
        (4, ["x/1", "x/2", "x/3"], ["1"], 0, 2),
        (4, ["x/1", "x/2", "y/3", "y/4"], ["1", "3"], 0, 2),
        (1, ["x/1", "x/2", "y/3"], ["1"], 1, 1),
        (4, ["x/1", "a", "x/2", "b"], ["1", "a", "b"], 0, 1),
    ],
)
def test_what_runs_at_once(
    concurrency: int, received: list[str], running: list[str], ready: int, blocked: int
) -> None:
    processing, _ = with_leases(concurrency, *received)
    assert take_all(processing) == running
    assert (processing.ready, processing.blocked) == (ready, blocked)


def test_a_group_goes_on_when_its_message_is_finished() -> None:
    processing, leases = with_leases(4, "x/1", "x/2")
    assert take_all(processing) == ["1"]
    processing.finish(leases["1"])
    assert take_all(processing) == ["2"]
    processing.finish(leases["2"])
    assert processing.is_idle


def test_groups_take_turns() -> None:
    processing, leases = with_leases(1, "x/1", "x/2", "y/3", "y/4")
    order = []
    while (each := processing.take()) is not None:
        order.append(each.message_id)
        processing.finish(leases[each.message_id])
    assert order == ["1", "3", "2", "4"]


def test_a_failure_gives_back_what_waits_behind_it_in_order() -> None:
    processing, leases = with_leases(4, "x/1", "y/4", "x/2", "x/3")
    take_all(processing)
    assert processing.is_followed(leases["1"])
    assert not processing.is_followed(leases["4"])
    assert names(processing.fail(leases["1"])) == ["2", "3"]
    assert (processing.running, processing.waiting) == (1, 0)


def test_a_failed_group_that_comes_back_starts_anew() -> None:
    processing, leases = with_leases(4, "x/1", "x/2")
    take_all(processing)
    processing.fail(leases["1"])
    processing.add(leases["1"])
    processing.add(leases["2"])
    assert take_all(processing) == ["1"]


def test_giving_up_returns_everything_that_has_not_started_and_leaves_the_rest_to_end() -> None:
    processing, leases = with_leases(2, "x/1", "x/2", "a", "y/3", "y/4", "b")
    assert take_all(processing) == ["1", "a"]
    assert names(processing.give_up()) == ["3", "4", "b", "2"]
    assert (processing.running, processing.waiting) == (2, 0)
    processing.finish(leases["1"])
    assert processing.fail(leases["a"]) == []
    assert processing.is_idle


@given(
    concurrency=st.integers(1, 4),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from(["", "x", "y", "z"])),
            st.tuples(st.sampled_from(["take", "finish", "fail"]), st.integers(0, 5)),
            st.tuples(st.just("give up"), st.just(0)),
        ),
        max_size=80,
    ),
)
def test_whatever_happens_order_holds_and_nothing_is_lost(
    concurrency: int, steps: list[tuple[str, str | int]]
) -> None:
    processing = Processing(concurrency)
    received: dict[str, Lease] = {}
    running: list[Lease] = []
    gone: list[str] = []
    last_started: dict[str, int] = defaultdict(int)
    for step, detail in steps:
        if step == "add":
            name = str(len(received) + 1)
            received[name] = lease(name, str(detail) or None)
            processing.add(received[name])
        elif step == "take":
            taken = processing.take()
            if taken is None:
                assert len(running) == concurrency or not processing.ready
                continue
            if taken.group_id is not None:
                assert taken.group_id not in {each.group_id for each in running}
                assert int(taken.message_id) > last_started[taken.group_id]
                last_started[taken.group_id] = int(taken.message_id)
            running.append(taken)
        elif step == "give up":
            gone += names(processing.give_up())
        elif running:
            ended = running.pop(int(detail) % len(running))
            gone.append(ended.message_id)
            if step == "finish":
                processing.finish(ended)
            else:
                behind = processing.fail(ended)
                assert {each.group_id for each in behind} <= {ended.group_id}
                numbers = [int(each.message_id) for each in behind]
                assert numbers == sorted(numbers)
                gone += names(behind)
        assert processing.running == len(running) <= concurrency
        assert len(gone) == len(set(gone))
        assert len(received) == len(gone) + processing.running + processing.waiting
