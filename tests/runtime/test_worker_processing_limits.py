"""Handlers with several limits: all hold, and no place stays free that a message could have."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from forebay.worker.limits import Limit, Limiters
from forebay.worker.priority_buffer import Capacities, PriorityBuffer
from forebay.worker.processing import Job, Processing
from forebay.worker.queue import MEDIUM
from forebay.worker.received import Received
from forebay.worker.route import Route
from tests.runtime.worker_messages import lease


def job(tenant: str, route: Route) -> Job:
    received = Received[Any](
        id="m-1",
        type=None,
        key=None,
        payload=tenant,
        lease=lease(),
        envelope=None,
        text="",
    )
    return Job(MEDIUM, [received.lease], [received], route)


@given(
    everything=st.integers(1, 4),
    each=st.integers(1, 2),
    each_first=st.booleans(),
    steps=st.lists(st.sampled_from(["x", "y", "z", 0, 1, 2]), max_size=80),
)
@example(everything=2, each=1, each_first=False, steps=["y", "x", "y", "x", 1])
@example(
    everything=4,
    each=2,
    each_first=True,
    steps=["x", "z", "x", "y", "y", "z", "z", "z", 2, 2, "x", 0],
)
def test_a_place_is_free_only_when_no_waiting_message_could_have_it(
    everything: int, each: int, each_first: bool, steps: list[str | int]
) -> None:
    overall = Limit(running=everything)
    by_tenant = Limit(key=lambda received: received.payload, running=each)
    limits = (by_tenant, overall) if each_first else (overall, by_tenant)
    route = Route(name="order", call=print, plain=True, limits=limits)
    buffer = PriorityBuffer[Job](Capacities(high=100, medium=100, low=100))
    processing = Processing(64, buffer, Limiters())
    waiting: list[Job] = []
    running: list[Job] = []
    for step in steps:
        if isinstance(step, str):
            waiting.append(job(step, route))
            processing.add(waiting[-1], 0)
        elif step < len(running):
            processing.finish(running.pop(step), 0)
        while (started := processing.take(0)) is not None:
            waiting.remove(started)
            running.append(started)
        tenants = Counter(done.received[0].payload for done in running)
        assert len(running) <= everything
        assert all(count <= each for count in tenants.values())
        if len(running) < everything:
            assert all(tenants[each_job.received[0].payload] == each for each_job in waiting)
