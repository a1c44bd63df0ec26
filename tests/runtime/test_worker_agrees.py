"""The harness and the worker end the same messages alike."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.testing import Drained, WorkerHarness
from forebay.worker import Queue, Received, Reject, Retry, Router, Worker, WorkerSettings
from tests.runtime.engine_client import EngineClient
from tests.runtime.virtual_time import LoopClock, run

#: Receives after which the queue moves a message to its dead-letter queue.
RECEIVES_MAX = 3


class Plan(msgspec.Struct):
    """What a handler does at each receive of a message; the last step is for all that follow."""

    number: int
    steps: list[str]


def table(handled: Counter[tuple[int, int]], *, batch: bool) -> Router:
    """Handlers that do what their messages say, and count each receive that they see."""
    router = Router()

    def step(received: Received[Plan]) -> None:
        plan, receive = received.payload, received.receive_count
        handled[plan.number, receive] += 1
        match plan.steps[min(receive, len(plan.steps)) - 1]:
            case "retry":
                raise Retry(2)
            case "reject":
                raise Reject("as planned")
            case "fail":
                raise ValueError("as planned")
            case "exit":
                raise SystemExit(1)

    async def all_steps(messages: list[Received[Plan]]) -> dict[Received[Plan], BaseException]:
        said: dict[Received[Plan], BaseException] = {}
        for received in messages:
            try:
                step(received)
            except BaseException as error:
                said[received] = error
        return said

    @router.handler("async", Plan)
    async def in_the_loop(received: Received[Plan]) -> None:
        step(received)

    @router.handler("timed", Plan, timeout_s=1000)
    async def with_a_timeout(received: Received[Plan]) -> None:
        step(received)

    if batch:
        router.raw(Plan, batch=5, within_ms=50)(all_steps)  # type: ignore[type-var]
    else:
        router.raw(Plan)(in_the_loop)
    return router


def worked(messages: list[tuple[str | None, Plan, str]], *, fifo: bool, batch: bool) -> object:
    handled: Counter[tuple[int, int]] = Counter()

    async def scenario() -> tuple[Drained, Counter[tuple[int, int]]]:
        client = EngineClient()
        queue = await client.create("jobs.fifo" if fifo else "jobs", max_receive_count=RECEIVES_MAX)
        worker = Worker(
            client,
            Queue(queue),
            table(handled, batch=batch),
            settings=WorkerSettings(backoff_base_s=1),
            clock=LoopClock(),
        )
        for kind, plan, group in messages:
            body = msgspec.json.encode(plan).decode()
            if kind is not None:
                body = (
                    f'{{"id": "{plan.number}", "type": "{kind}", "timestamp": "", "node": "n",'
                    f' "payload": {body}}}'
                )
            await client.send(queue, body, group if fifo else None)
        running = asyncio.create_task(worker.run())
        while sum(await client.counts(queue)):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(1)
        worker.stop()
        ledger = await running
        dead, _ = await client.counts(queue.replace("jobs", "jobs-dlq"))
        return Drained(
            done=ledger.acked,
            failed=dead - ledger.rejected,
            retried=ledger.retried,
            rejected=ledger.rejected,
        ), handled

    return run(scenario())


def drained(messages: list[tuple[str | None, Plan, str]], *, fifo: bool, batch: bool) -> object:
    handled: Counter[tuple[int, int]] = Counter()
    queue = "jobs.fifo" if fifo else "jobs"
    harness = WorkerHarness(
        table(handled, batch=batch),
        settings=WorkerSettings(backoff_base_s=1),
        max_receive_count=RECEIVES_MAX,
    )
    for kind, plan, group in messages:
        harness.enqueue(queue, kind, plan, group_id=group if fifo else None)
    return asyncio.run(harness.drain(queue)), handled


STEPS = st.lists(
    st.sampled_from(["done", "retry", "reject", "fail", "exit"]), min_size=1, max_size=3
)
KINDS = st.sampled_from(["async", "timed", "unheard-of", None])


@pytest.mark.parametrize("batch", [False, True])
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(KINDS, STEPS), max_size=25))
def test_on_a_standard_queue_every_message_ends_alike(
    batch: bool, messages: list[tuple[str | None, list[str]]]
) -> None:
    planned = [(kind, Plan(number, steps), "") for number, (kind, steps) in enumerate(messages)]
    expected = worked(planned, fifo=False, batch=batch)
    assert drained(planned, fifo=False, batch=batch) == expected


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(KINDS, STEPS), max_size=8))
def test_on_a_fifo_queue_every_message_of_its_own_group_ends_alike(
    messages: list[tuple[str | None, list[str]]],
) -> None:
    planned = [
        (kind, Plan(number, steps), f"g{number}") for number, (kind, steps) in enumerate(messages)
    ]
    expected = worked(planned, fifo=True, batch=False)
    assert drained(planned, fifo=True, batch=False) == expected
