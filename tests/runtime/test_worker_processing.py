"""What may run beside what: anything on a standard queue, one of each group on a FIFO queue."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from forebay.worker.lease import Lease
from forebay.worker.limits import Limiters
from forebay.worker.priority_buffer import Capacities, PriorityBuffer
from forebay.worker.processing import Job, Processing
from forebay.worker.queue import HIGH, LOW, MEDIUM, Priority
from forebay.worker.route import Route
from tests.runtime.worker_messages import lease, source

LETTERS = Route(name="letter", call=print, plain=True)


def batches_of(size: int, within_ms: int = 1_000) -> Route:
    return replace(LETTERS, batch=size, within_ms=within_ms)


class Desk:
    """A Processing, and messages described as `name` or `group/name`."""

    def __init__(self, concurrency: int = 4, *described: str, route: Route = LETTERS) -> None:
        capacities = Capacities(high=100, medium=100, low=100)
        self.processing = Processing(concurrency, PriorityBuffer(capacities), Limiters())
        self.route = route
        self.source = source()
        self.jobs: dict[str, Job] = {}
        self.add(*described)

    def add(self, *described: str, priority: Priority = MEDIUM, now_ms: int = 0) -> None:
        for description in described:
            group_id, _, name = description.rpartition("/")
            job = Job(priority, [lease(name, group_id or None, of=self.source)], [], self.route)
            self.processing.add(job, now_ms)

    def take(self, now_ms: int = 0) -> str | None:
        """The names of the messages of the next job, with commas between."""
        job = self.processing.take(now_ms)
        if job is None:
            return None
        name = ",".join(names(job.leases))
        self.jobs[name] = job
        return name

    def take_all(self, now_ms: int = 0) -> list[str]:
        taken = []
        while (name := self.take(now_ms)) is not None:
            taken.append(name)
        return taken

    def finish(self, name: str, *returned: str, now_ms: int = 0) -> list[str]:
        """End a job, some of whose messages go back; the names of what must follow."""
        job = self.jobs.pop(name)
        back = [each for each in job.leases if each.message_id in returned]
        return names(self.processing.finish(job, now_ms, back=back))


def names(leases: list[Lease]) -> list[str]:
    return [each.message_id for each in leases]


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
    desk = Desk(concurrency, *received)
    assert desk.take_all() == running
    assert (desk.processing.ready, desk.processing.blocked) == (ready, blocked)
    assert desk.processing.waiting_of(MEDIUM) == ready + blocked


def test_a_higher_class_goes_first() -> None:
    desk = Desk(4)
    desk.add("low", priority=LOW)
    desk.add("high", priority=HIGH)
    assert desk.take_all() == ["high", "low"]


def test_a_group_goes_on_when_its_message_is_finished() -> None:
    desk = Desk(4, "x/1", "x/2")
    assert desk.take_all() == ["1"]
    assert desk.finish("1") == []
    assert desk.take_all() == ["2"]
    assert desk.finish("2") == []
    assert desk.processing.is_idle


def test_groups_take_turns() -> None:
    desk = Desk(1, "x/1", "x/2", "y/3", "y/4")
    order = []
    while (name := desk.take()) is not None:
        order.append(name)
        desk.finish(name)
    assert order == ["1", "3", "2", "4"]


def test_a_failure_gives_back_what_waits_behind_it_in_order() -> None:
    desk = Desk(4, "x/1", "y/4", "x/2", "x/3")
    desk.take_all()
    assert desk.processing.is_followed(desk.jobs["1"].leases[0])
    assert not desk.processing.is_followed(desk.jobs["4"].leases[0])
    assert desk.finish("1", "1") == ["2", "3"]
    assert (desk.processing.running, desk.processing.waiting) == (1, 0)


def test_a_failed_group_that_comes_back_starts_anew() -> None:
    desk = Desk(4, "x/1", "x/2")
    desk.take_all()
    desk.finish("1", "1")
    desk.add("x/1", "x/2")
    assert desk.take_all() == ["1"]


def test_giving_up_returns_everything_that_has_not_started_and_leaves_the_rest_to_end() -> None:
    desk = Desk(2, "x/1", "x/2", "a", "y/3", "y/4", "b")
    assert desk.take_all() == ["1", "a"]
    assert names(desk.processing.give_up()) == ["3", "b", "4", "2"]
    assert (desk.processing.running, desk.processing.waiting) == (2, 0)
    assert desk.finish("1") == []
    assert desk.finish("a", "a") == []
    assert desk.processing.is_idle


def test_a_batch_runs_when_it_is_full() -> None:
    desk = Desk(4, "1", "2", route=batches_of(3))
    assert desk.take() is None
    assert desk.processing.waiting == 2
    desk.add("3", "4")
    assert desk.take_all() == ["1,2,3"]
    assert (desk.processing.running, desk.processing.running_messages) == (1, 3)
    assert desk.processing.waiting == 1
    assert desk.finish("1,2,3") == []
    assert desk.processing.running_messages == 0


def test_a_batch_runs_when_its_first_message_has_waited_long_enough() -> None:
    desk = Desk(4, "1", route=batches_of(3, within_ms=200))
    assert desk.processing.alarms == [200]
    desk.add("2", now_ms=150)
    desk.processing.ring(199)
    assert desk.take() is None
    desk.processing.ring(200)
    assert desk.take(200) == "1,2"


def test_a_drain_lets_a_batch_run_as_it_is() -> None:
    desk = Desk(4, "1", "2", route=batches_of(10))
    desk.processing.close_batches(0)
    assert desk.take() == "1,2"


def test_classes_gather_apart() -> None:
    desk = Desk(4, route=batches_of(2))
    desk.add("1", priority=HIGH)
    desk.add("2", priority=LOW)
    assert desk.take() is None
    desk.add("3", priority=HIGH)
    assert desk.take() == "1,3"


def test_a_group_gathers_in_its_order_and_then_waits_for_its_batch() -> None:
    desk = Desk(4, "x/1", "x/2", "y/3", route=batches_of(3))
    desk.add("x/4", "y/5")
    assert desk.take_all() == ["1,2,3"]
    assert desk.processing.blocked == 2
    desk.finish("1,2,3")
    desk.add("x/6")
    assert desk.take() == "4,5,6"


def test_a_batch_that_fails_for_one_group_lets_the_others_go_on() -> None:
    desk = Desk(4, "x/1", "x/2", "y/3", route=batches_of(3))
    desk.add("x/4", "y/5")
    desk.take()
    assert desk.finish("1,2,3", "1", "2") == ["4"]
    desk.processing.close_batches(0)
    assert desk.take() == "5"


def test_giving_up_a_batch_keeps_the_order_of_its_groups() -> None:
    desk = Desk(4, "x/1", "y/2", "x/3", route=batches_of(3))
    desk.add("x/4", "y/5")
    assert names(desk.processing.give_up()) == ["1", "2", "3", "4", "5"]
    assert desk.processing.waiting == 0


@given(
    concurrency=st.integers(1, 4),
    batch=st.sampled_from([0, 2, 3]),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from(["", "x", "y", "z"])),
            st.tuples(
                st.sampled_from(["take", "finish", "fail", "ring", "close"]), st.integers(0, 5)
            ),
            st.tuples(st.just("give up"), st.just(0)),
        ),
        max_size=80,
    ),
)
def test_whatever_happens_order_holds_and_nothing_is_lost(
    concurrency: int, batch: int, steps: list[tuple[str, str | int]]
) -> None:
    desk = Desk(concurrency, route=batches_of(batch) if batch else LETTERS)
    processing = desk.processing
    received = 0
    gone: list[str] = []
    last_started: dict[str, int] = defaultdict(int)
    for now_ms, (step, detail) in enumerate(steps):
        if step == "add":
            received += 1
            desk.add(f"{detail}/{received}" if detail else str(received), now_ms=now_ms)
        elif step == "take":
            running = {
                each.group_id for job in desk.jobs.values() for each in job.leases if each.group_id
            }
            name = desk.take(now_ms)
            if name is None:
                assert processing.running == concurrency or not processing.ready
                continue
            for each in desk.jobs[name].leases:
                if each.group_id is not None:
                    assert each.group_id not in running
                    assert int(each.message_id) > last_started[each.group_id]
                    last_started[each.group_id] = int(each.message_id)
        elif step == "give up":
            gone += names(processing.give_up())
        elif step == "ring":
            processing.ring(now_ms + 1_000)
        elif step == "close":
            processing.close_batches(now_ms)
        elif desk.jobs:
            name = list(desk.jobs)[int(detail) % len(desk.jobs)]
            job = desk.jobs[name]
            groups = {each.group_id for each in job.leases}
            gone += names(job.leases)
            del desk.jobs[name]
            behind = processing.finish(job, now_ms, back=job.leases if step == "fail" else [])
            assert {each.group_id for each in behind} <= groups
            for group_id in groups:
                numbers = [int(each.message_id) for each in behind if each.group_id == group_id]
                assert numbers == sorted(numbers)
            gone += names(behind)
        assert processing.running == len(desk.jobs) <= concurrency
        assert processing.running_messages == sum(len(job.leases) for job in desk.jobs.values())
        assert len(gone) == len(set(gone))
        assert received == len(gone) + processing.running_messages + processing.waiting
