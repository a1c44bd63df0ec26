"""Whatever fails and whenever a worker stops: order is kept, nothing is lost, ledgers are exact.

Each example sends a few messages to the broker's real engine and lets two workers at a time handle
them, in virtual time. Handlers fail or reject as drawn, answers get lost on their way, and workers
are drained in the middle and replaced.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from forebay.errors import NoCredentials, ServiceUnreachable
from forebay.protocol.actions import (
    AnyRequest,
    ChangeMessageVisibilityBatchRequest,
    DeleteMessageBatchRequest,
    ReceiveMessageRequest,
)
from forebay.protocol.errors import ACCESS_DENIED, SqsError
from forebay.worker import Received, Reject, Router, Worker, WorkerLedger, WorkerSettings
from tests.runtime.engine_client import EngineClient
from tests.runtime.virtual_time import LoopClock, run


class Plan(Struct, frozen=True):
    """What befalls one message."""

    group: str
    failures: int
    rejected: bool
    takes_s: float


class Faults(Struct, frozen=True):
    """Which of the worker's calls are lost, in percent, on their way there and back."""

    seed: int
    requests: int
    answers: int


PLANS = st.lists(
    st.builds(
        Plan,
        group=st.sampled_from("xyz"),
        failures=st.sampled_from([0, 0, 0, 1, 2]),
        rejected=st.sampled_from([False, False, False, True]),
        takes_s=st.sampled_from([0.0, 0.0, 0.05, 1.0]),
    ),
    min_size=1,
    max_size=25,
)
FAULTS = st.builds(
    Faults,
    seed=st.integers(0, 1_000_000),
    requests=st.sampled_from([0, 10, 30]),
    answers=st.sampled_from([0, 10, 30]),
)
#: What a client may raise for a call. Any of them may hide that the call was carried out.
TROUBLES = [
    ServiceUnreachable(),
    NoCredentials(),
    SqsError(ACCESS_DENIED),
    ZeroDivisionError("a bug of the client"),
]

#: How long each worker works before it is drained, and how long it may drain.
SHIFTS = st.lists(
    st.tuples(st.sampled_from([0.05, 0.5, 2.0, 5.0]), st.sampled_from([0.0, 0.3, 10.0])), max_size=5
)


class History:
    """What the handlers saw, and the ledgers of the workers."""

    def __init__(self, plans: list[Plan]) -> None:
        self.plans = plans
        self.attempts: dict[int, int] = defaultdict(int)
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.running: set[str] = set()
        self.overlaps: list[int] = []
        self.ledgers: list[WorkerLedger] = []

    async def handle(self, received: Received[str]) -> None:
        number = int(received.payload)
        plan = self.plans[number]
        if received.queue_url.endswith(".fifo") and plan.group in self.running:
            self.overlaps.append(number)
        self.running.add(plan.group)
        self.begun.append(number)
        try:
            await asyncio.sleep(plan.takes_s)
        finally:
            self.running.discard(plan.group)
        self.attempts[number] += 1
        if self.attempts[number] <= plan.failures:
            raise ValueError
        self.ended.append(number)
        if plan.rejected:
            raise Reject("as planned")

    def of_group(self, numbers: list[int], group: str) -> list[int]:
        return [number for number in numbers if self.plans[number].group == group]


async def work(
    name: str, plans: list[Plan], faults: Faults, shifts: list[tuple[float, float]]
) -> tuple[History, EngineClient, str]:
    client = EngineClient()
    url = await client.create(name, max_receive_count=1000)
    for number, plan in enumerate(plans):
        await client.send(url, str(number), plan.group)
    history = History(plans)
    chance = random.Random(faults.seed)
    faulty = True

    def lose(request: AnyRequest, percent: int) -> None:
        mine = (
            ReceiveMessageRequest | DeleteMessageBatchRequest | ChangeMessageVisibilityBatchRequest
        )
        if faulty and isinstance(request, mine) and chance.random() * 100 < percent:
            # A receive whose answer is lost is repeated, but only a lost one.
            lost = ServiceUnreachable()
            raise lost if isinstance(request, ReceiveMessageRequest) else chance.choice(TROUBLES)

    client.before = lambda request: lose(request, faults.requests)
    client.after = lambda request: lose(request, faults.answers)

    async def shift(works_s: float, drains_s: float) -> None:
        router = Router()
        router.default(history.handle)
        worker = Worker(
            client,
            url,
            router,
            settings=WorkerSettings(
                concurrency=2,
                buffer_medium=4,
                wait_s=1,
                visibility_timeout_s=20,
                backoff_max_s=2,
                drain_timeout_s=drains_s,
            ),
            clock=LoopClock(),
            entropy=chance.randbytes,
        )
        working = asyncio.create_task(worker.run())
        await asyncio.sleep(works_s)
        worker.stop()
        history.ledgers.append(await working)

    async def one_after_another(mine: list[tuple[float, float]]) -> None:
        for works_s, drains_s in mine:
            await shift(works_s, drains_s)

    await asyncio.gather(one_after_another(shifts[::2]), one_after_another(shifts[1::2]))
    faulty = False
    await shift(300, 30)
    return history, client, url


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(["orders.fifo", "jobs"]), plans=PLANS, faults=FAULTS, shifts=SHIFTS)
def test_order_is_kept_nothing_is_lost_and_the_ledgers_are_exact(
    name: str, plans: list[Plan], faults: Faults, shifts: list[tuple[float, float]]
) -> None:
    async def scenario() -> None:
        history, client, url = await work(name, plans, faults, shifts)

        assert all(ledger.balances and ledger.in_hand == 0 for ledger in history.ledgers)
        assert await client.counts(url) == (0, 0)
        dead_letters_url = url.replace("orders", "orders-dlq").replace("jobs", "jobs-dlq")
        dead = {int(copy.body) for copy in await client.everything_in(dead_letters_url)}
        rejected = {number for number, plan in enumerate(plans) if plan.rejected}
        assert dead == rejected
        assert set(history.ended) == set(range(len(plans)))
        confirmed = sum(ledger.acked + ledger.rejected for ledger in history.ledgers)
        assert confirmed <= len(plans)

        if name.endswith(".fifo"):
            assert history.overlaps == []
            for group in "xyz":
                first_time = list(dict.fromkeys(history.of_group(history.ended, group)))
                assert first_time == sorted(first_time)
        if not faults.requests and not faults.answers:
            assert sorted(history.ended) == list(range(len(plans)))
            assert confirmed == len(plans)
            assert not any(ledger.lost for ledger in history.ledgers)

    run(scenario())
