"""How each outcome ends a message, and what its group does then."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from forebay.client.fake import ScriptedSqsClient
from forebay.errors import NoCredentials, ServiceUnreachable
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    BatchResult,
    ChangeMessageVisibilityBatchRequest,
    GetQueueUrlRequest,
    GetQueueUrlResult,
    SendMessageRequest,
    SendMessageResult,
)
from forebay.protocol.rejection import REASON_ATTRIBUTE
from forebay.worker.lease import Lease, State
from forebay.worker.outcomes import Done, Failed, Interrupted, Outcome, Reject, Retry, StillRunning
from forebay.worker.queue import Queue
from forebay.worker.queue_facts import queue_facts
from forebay.worker.release import chains
from forebay.worker.settlement import Group, Settled
from forebay.worker.source import Source
from tests.runtime.virtual_time import LoopClock, run
from tests.runtime.worker_messages import context, lease, message

URL = "http://sqs.test/000000000000/orders.fifo"
DLQ_ARN = "arn:aws:sqs:us-east-1:000000000000:orders-dlq.fifo"
POLICY = f'{{"deadLetterTargetArn":"{DLQ_ARN}","maxReceiveCount":5}}'


class World:
    """One queue at work over an SQS that does what it is asked, unless `outage` says otherwise."""

    def __init__(self, *, failures_max: int | None = None, policy: str = POLICY) -> None:
        self.clock = LoopClock()
        self.client = ScriptedSqsClient(self._answer)
        self.outage: Exception | None = None
        #: How long finding the dead-letter queue takes, and how long a copy.
        self.latency_s = 0.005
        self.tasks: list[asyncio.Task[None]] = []
        shared = context(self.client, clock=self.clock, tasks=self.tasks)
        facts = queue_facts(URL, {"RedrivePolicy": policy})
        self.source = Source(shared, Queue(URL, failures_max=failures_max), facts)

    async def _answer(self, request: AnyRequest) -> AnyResult:
        slow = isinstance(request, GetQueueUrlRequest | SendMessageRequest)
        await asyncio.sleep(self.latency_s if slow else 0.005)
        if self.outage is not None:
            raise self.outage
        if isinstance(request, GetQueueUrlRequest):
            return GetQueueUrlResult(queue_url="http://sqs.test/000000000000/orders-dlq.fifo")
        if isinstance(request, SendMessageRequest):
            return SendMessageResult(message_id="copy", md5_of_message_body="")
        return BatchResult()

    def take(self, name: str = "m", *, receive_count: int = 1, group_id: str = "g") -> Lease:
        received = message(name, group_id=group_id, receive_count=receive_count)
        (taken,) = self.source.take_in([received], self.clock.monotonic_ms())
        return taken

    async def end(
        self, outcome: Outcome, *, receive_count: int = 1, followed: bool = False
    ) -> tuple[Settled, Lease]:
        """Receive the message and let its handler end like this."""
        taken = self.take(receive_count=receive_count)
        self.source.start(taken)
        settled = await self.source.settle(taken, outcome, followed=followed)
        await asyncio.sleep(2)
        return settled, taken

    @property
    def shown(self) -> list[list[tuple[str, int]]]:
        """Each call that made messages visible: their names, and after how long."""
        return [
            [
                (entry.receipt_handle.removeprefix("handle of "), entry.visibility_timeout or 0)
                for entry in request.entries
            ]
            for request in self.client.requests
            if isinstance(request, ChangeMessageVisibilityBatchRequest)
        ]

    @property
    def reasons(self) -> list[str | None]:
        return [
            (request.message_attributes or {})[REASON_ATTRIBUTE].string_value
            for request in self.client.requests
            if isinstance(request, SendMessageRequest)
        ]


@pytest.mark.parametrize(
    ("outcome", "group", "delay_s", "ending"),
    [
        (Done(), Group.GOES_ON, 0, State.ACKED),
        (Reject("no such seat"), Group.GOES_ON, 0, State.REJECTED),
        (Retry(6.2), Group.GOES_BACK, 7, State.RETRIED),
        (Retry(0), Group.GOES_BACK, 0, State.RETRIED),
        (Failed(ValueError("x")), Group.GOES_BACK, 1, State.RETRIED),
        (Interrupted(), Group.GOES_BACK, 0, State.RELEASED),
    ],
)
def test_what_follows_from_each_outcome(
    outcome: Outcome, group: Group, delay_s: int, ending: State
) -> None:
    async def scenario() -> None:
        world = World()
        settled, ended = await world.end(outcome)
        assert (settled, ended.state) == (Settled(group, delay_s), ending)
        assert world.source.in_hand == 0
        assert world.source.failures == isinstance(outcome, Failed)
        assert all(task.done() for task in world.tasks)

    run(scenario())


def test_what_follows_a_message_goes_back_with_it_in_one_call_and_in_order() -> None:
    async def scenario() -> None:
        world = World()
        first, *behind = (world.take(name) for name in "abcd")
        world.source.start(first)
        settled = await world.source.settle(first, Retry(9))
        world.source.release_all(behind, settled.delay_s)
        await asyncio.sleep(1)
        assert world.shown == [[("a", 9), ("b", 9), ("c", 9), ("d", 9)]]
        assert (world.source.ledger.retried, world.source.ledger.released) == (1, 3)

    run(scenario())


def test_the_worker_s_own_failure_budget_counts_failures_and_nothing_else() -> None:
    async def scenario() -> None:
        world = World(failures_max=3)
        failed = Failed(ValueError("bank"))
        outcomes: list[Outcome] = [failed, Interrupted(), Retry(1), failed, Interrupted(), Retry(1)]
        for receive_count, outcome in enumerate(outcomes, 1):
            _, ended = await world.end(outcome, receive_count=receive_count)
            assert ended.state is not State.REJECTED
        assert world.reasons == []
        settled, ended = await world.end(failed, receive_count=7)
        assert (settled.group, ended.state) == (Group.GOES_ON, State.REJECTED)
        assert world.reasons == ["Failure 3 of 3: ValueError: bank"]

    run(scenario())


def test_an_error_that_cannot_be_made_a_text_is_a_failure_as_any_other() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            return str(1 / 0)

    async def scenario() -> None:
        world = World(failures_max=1)
        _, ended = await world.end(Failed(Unspeakable()))
        assert ended.state is State.REJECTED
        assert world.reasons == ["Failure 1 of 1: Unspeakable"]
        world.outage = Unspeakable()
        settled, _ = await world.end(Reject("never"))
        assert settled.group is Group.GOES_BACK

    run(scenario())


def test_receives_that_others_may_have_interrupted_reject_nothing_too_early() -> None:
    async def scenario() -> None:
        world = World(failures_max=3)
        _, ended = await world.end(Failed(ValueError("x")), receive_count=50)
        assert ended.state is State.RETRIED

    run(scenario())


@pytest.mark.parametrize(
    ("receive_count", "followed", "ending"),
    [
        (5, True, State.REJECTED),
        (4, True, State.RETRIED),
        # Alone it is left to the queue, which moves it at its next receive.
        (5, False, State.RETRIED),
    ],
)
def test_a_failure_at_the_last_receive_takes_nothing_along_that_waits_behind_it(
    receive_count: int, followed: bool, ending: State
) -> None:
    async def scenario() -> None:
        world = World()
        outcome = Failed(ValueError("always"))
        _, ended = await world.end(outcome, receive_count=receive_count, followed=followed)
        assert ended.state is ending

    run(scenario())


def test_a_message_that_is_interrupted_again_and_again_comes_back_at_once_each_time() -> None:
    async def scenario() -> None:
        world = World(failures_max=2)
        for receive_count in range(1, 20):
            settled, ended = await world.end(Interrupted(), receive_count=receive_count)
            assert (settled.delay_s, ended.state) == (0, State.RELEASED)
        settled, _ = await world.end(Failed(ValueError("x")), receive_count=20)
        # Its first failure, as this worker knows.
        assert settled.delay_s == 1
        assert world.source.failures == 1

    run(scenario())


@pytest.mark.parametrize("error", [ServiceUnreachable(), NoCredentials(), ZeroDivisionError("bug")])
def test_whatever_keeps_a_copy_from_being_made_the_message_comes_back_and_the_log_says_why(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        world = World()
        world.outage = error
        taken = world.take()
        world.source.start(taken)
        settled = await world.source.settle(taken, Reject("no such seat"))
        world.outage = None
        await asyncio.sleep(2)
        assert (settled.group, taken.state) == (Group.GOES_BACK, State.RETRIED)

    run(scenario())
    assert "is rejected (no such seat), cannot be copied" in caplog.text


@pytest.mark.parametrize(("policy", "ending"), [(POLICY, State.REJECTED), ("{}", State.RETRIED)])
def test_a_message_that_nobody_takes_is_rejected_without_having_run(
    policy: str, ending: State
) -> None:
    async def scenario() -> None:
        world = World(policy=policy)
        taken = world.take()
        await world.source.settle(taken, Reject("nobody takes it"))
        await asyncio.sleep(2)
        assert taken.state is ending

    run(scenario())


def test_a_message_is_kept_while_its_copy_is_made() -> None:
    async def scenario() -> None:
        world = World()
        world.latency_s = 40
        beating = asyncio.create_task(world.source.run_heartbeat())
        taken = world.take()
        rejecting = asyncio.create_task(world.source.settle(taken, Reject("no")))
        await asyncio.sleep(79)
        assert not taken.lost
        beating.cancel()
        await rejecting
        await asyncio.sleep(50)
        assert taken.state is State.REJECTED

    run(scenario())


class TestStillRunning:
    """A handler that goes on without its place."""

    @staticmethod
    def outcome(*, timed_out: bool) -> StillRunning:
        return StillRunning(asyncio.get_running_loop().create_future(), timed_out)

    def test_over_its_time_it_is_a_failure_and_one_only_however_it_ends(self) -> None:
        async def scenario() -> None:
            for ending in (Done(), Failed(ValueError("late"))):
                world = World()
                _, left = await world.end(self.outcome(timed_out=True))
                assert world.source.failures == 1
                await world.source.settle(left, ending)
                assert world.source.failures == 1
            world = World()
            await world.end(self.outcome(timed_out=False))
            assert world.source.failures == 0

        run(scenario())

    def test_over_its_time_it_is_no_longer_extended_and_never_deleted_for_that(self) -> None:
        async def scenario() -> None:
            world = World()
            beating = asyncio.create_task(world.source.run_heartbeat())
            settled, left = await world.end(self.outcome(timed_out=True))
            assert (settled.group, left.state) == (Group.WAITS, State.LEFT)
            await asyncio.sleep(40)
            assert left.lost
            assert world.client.requests == []
            beating.cancel()

        run(scenario())

    def test_one_that_a_drain_waits_for_is_extended(self) -> None:
        async def scenario() -> None:
            world = World()
            beating = asyncio.create_task(world.source.run_heartbeat())
            settled, left = await world.end(self.outcome(timed_out=False))
            assert (settled.group, left.state) == (Group.WAITS, State.RUNNING)
            await asyncio.sleep(40)
            assert not left.lost
            beating.cancel()

        run(scenario())

    @pytest.mark.parametrize(
        ("outcome", "after_s", "ending"),
        [
            (Done(), 10, State.ACKED),
            (Failed(ValueError("x")), 10, State.RETRIED),
            (Reject("no"), 10, State.REJECTED),
            # What is done is deleted if SQS still takes the handle; else it is somebody else's.
            (Done(), 40, State.ACKED),
            (Failed(ValueError("x")), 40, State.LOST),
            (Reject("no"), 40, State.LOST),
        ],
    )
    def test_how_it_ends_after_all_counts(
        self, outcome: Outcome, after_s: int, ending: State
    ) -> None:
        async def scenario() -> None:
            world = World()
            _, left = await world.end(self.outcome(timed_out=True))
            await asyncio.sleep(after_s)
            await world.source.settle(left, outcome)
            await asyncio.sleep(2)
            assert left.state is ending
            assert len(world.reasons) == (ending is State.REJECTED)

        run(scenario())

    def test_what_ends_after_the_worker_has_given_it_up_changes_nothing(self) -> None:
        async def scenario() -> None:
            world = World()
            _, left = await world.end(self.outcome(timed_out=True))
            assert world.source.lose_all() == 1
            assert await world.source.settle(left, Done()) == Settled(Group.GOES_ON)
            await asyncio.sleep(2)
            assert world.client.requests == []

        run(scenario())


def test_many_releases_are_spread_over_a_second_and_few_are_not() -> None:
    async def scenario() -> None:
        world = World()
        world.source.release_all([world.take(str(n), group_id=str(n)) for n in range(50)])
        await asyncio.sleep(0.006)
        assert world.source.ledger.released == 50
        world.source.release_all([world.take(str(n), group_id=str(n)) for n in range(200)])
        await asyncio.sleep(0.006)
        assert world.source.ledger.released < 150
        await asyncio.sleep(1)
        assert world.source.ledger.released == 250
        assert len(world.shown) == 25

    run(scenario())


def test_a_release_is_tried_again_while_the_lease_lasts() -> None:
    async def scenario() -> None:
        world = World()
        world.outage = NoCredentials()
        held = world.take()
        world.source.release_all([held])
        await asyncio.sleep(10)
        assert world.source.in_hand == 1
        world.outage = None
        await asyncio.sleep(6)
        assert held.state is State.RELEASED

    run(scenario())


@pytest.mark.parametrize(
    ("groups", "lists"),
    [
        ("", []),
        ("aab", [["aab"]]),
        # Those of one group come together, in order.
        ("abab", [["aabb"]]),
        # A group that one call cannot hold goes on in the next one after it.
        ("a" * 12 + "b" * 3, [["a" * 10, "aabbb"]]),
        ("a" * 10 + "b" * 3, [["a" * 10], ["bbb"]]),
        ("-" * 23, [["-" * 10], ["-" * 10], ["---"]]),
    ],
)
def test_groups_go_one_call_after_another_and_the_rest_side_by_side(
    groups: str, lists: list[list[str]]
) -> None:
    leases = [
        lease(str(number), None if group == "-" else group) for number, group in enumerate(groups)
    ]
    found = chains(leases)
    assert [
        ["".join(each.group_id or "-" for each in ten) for ten in chain] for chain in found
    ] == lists
    numbers = [int(each.message_id) for chain in found for ten in chain for each in ten]
    for group in set(groups):
        mine = [number for number in numbers if groups[number] == group]
        assert mine == sorted(mine)
    assert Counter(numbers) == Counter(range(len(groups)))
