"""Deleting in batches: when they go, what is tried again, and what is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from forebay.client.fake import ScriptedSqsClient
from forebay.errors import NoCredentials, ServiceUnreachable
from forebay.protocol.actions import (
    AnyRequest,
    BatchResult,
    BatchResultErrorEntry,
    DeleteMessageBatchRequest,
)
from forebay.protocol.errors import (
    ACCESS_DENIED,
    QUEUE_DOES_NOT_EXIST,
    SERVICE_UNAVAILABLE,
    SqsError,
)
from forebay.worker.acknowledge import delete_in_ms
from forebay.worker.lease import Lease, State
from forebay.worker.outcomes import Done
from tests.runtime.virtual_time import LoopClock, run
from tests.runtime.worker_messages import context, message, source

QUEUE_URL = "http://sqs.test/000000000000/orders.fifo"

#: What SQS answers for one entry: None when it deletes it.
Verdict = BatchResultErrorEntry | Exception | None


@pytest.mark.parametrize(
    ("count", "oldest_age_ms", "wait_ms"),
    [(1, 0, 20), (1, 19, 1), (1, 20, 0), (1, 50, 0), (9, 5, 15), (10, 0, 0), (12, 0, 0)],
)
def test_how_long_finished_messages_wait_for_others(
    count: int, oldest_age_ms: int, wait_ms: int
) -> None:
    assert delete_in_ms(count, oldest_age_ms, age_limit_ms=20) == wait_ms


def failure(code: str, *, sender_fault: bool) -> BatchResultErrorEntry:
    return BatchResultErrorEntry(id="", sender_fault=sender_fault, code=code, message=code)


class World:
    """A queue over a script: what SQS says of a handle at its nth time."""

    def __init__(self, verdict: Callable[[str, int], Verdict] = lambda handle, attempt: None):
        self.clock = LoopClock()
        self.verdict = verdict
        self.batches: list[tuple[int, list[str]]] = []
        self.leases: dict[str, Lease] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self._attempts: dict[str, int] = {}
        shared = context(ScriptedSqsClient(self._answer), clock=self.clock, tasks=self.tasks)
        self.source = source(shared, QUEUE_URL)

    async def _answer(self, request: AnyRequest) -> BatchResult:
        assert isinstance(request, DeleteMessageBatchRequest)
        names = [entry.receipt_handle.removeprefix("handle of ") for entry in request.entries]
        self.batches.append((self.clock.monotonic_ms() - 1_000_000, names))
        failed = []
        for entry, name in zip(request.entries, names, strict=True):
            self._attempts[name] = self._attempts.get(name, 0) + 1
            verdict = self.verdict(name, self._attempts[name])
            if isinstance(verdict, Exception):
                raise verdict
            if verdict is not None:
                verdict.id = entry.id
                failed.append(verdict)
        return BatchResult(failed=failed or None)

    async def finish(self, *names: str, lasts_ms: int = 30_000) -> None:
        now_ms = self.clock.monotonic_ms()
        for lease in self.source.take_in([message(name) for name in names], now_ms):
            lease.until_ms = now_ms + lasts_ms
            self.leases[lease.message_id] = lease
            self.source.start(lease)
            await self.source.settle(lease, Done())

    @property
    def endings(self) -> dict[str, State]:
        return {name: lease.state for name, lease in self.leases.items() if lease.has_ended}


def test_a_full_batch_goes_at_once_and_the_rest_when_it_is_old_enough() -> None:
    async def scenario() -> None:
        world = World()
        names = [f"m-{number}" for number in range(13)]
        await world.finish(*names)
        await asyncio.sleep(1)
        assert world.batches == [(0, names[:10]), (20, names[10:])]
        assert world.endings == dict.fromkeys(names, State.ACKED)

    run(scenario())


def test_age_counts_from_the_oldest_and_a_flush_waits_for_nothing() -> None:
    async def scenario() -> None:
        world = World()
        await world.finish("a")
        await asyncio.sleep(0.015)
        await world.finish("b")
        await asyncio.sleep(0.015)
        await world.finish("c")
        world.source.flush()
        await asyncio.sleep(1)
        assert world.batches == [(20, ["a", "b"]), (30, ["c"])]

    run(scenario())


def test_only_the_entries_whose_failure_passes_are_tried_again() -> None:
    def verdict(name: str, attempt: int) -> Verdict:
        if name == "busy" and attempt < 3:
            return failure("InternalError", sender_fault=False)
        if name == "throttled" and attempt < 2:
            return failure("RequestThrottled", sender_fault=True)
        if name == "expired":
            return failure("InvalidParameterValue", sender_fault=True)
        return None

    async def scenario() -> None:
        world = World(verdict)
        await world.finish("fine", "busy", "throttled", "expired")
        await asyncio.sleep(5)
        assert [names for _, names in world.batches] == [
            ["fine", "busy", "throttled", "expired"],
            ["busy", "throttled"],
            ["busy"],
        ]
        assert world.endings == {
            "fine": State.ACKED,
            "throttled": State.ACKED,
            "busy": State.ACKED,
            # An expired handle of a FIFO queue deletes nothing: the message comes again.
            "expired": State.LOST,
        }

    run(scenario())


@pytest.mark.parametrize(
    "error",
    [
        ServiceUnreachable(),
        SqsError(SERVICE_UNAVAILABLE),
        # Somebody may mend these while the lease lasts.
        NoCredentials(),
        SqsError(ACCESS_DENIED),
        # A bug of the client's is no reason to stop either.
        ZeroDivisionError("of the client"),
    ],
)
def test_a_call_that_fails_is_tried_again_until_the_lease_is_over(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        world = World(lambda name, attempt: error)
        await world.finish("m", lasts_ms=8_000)
        await asyncio.sleep(30)
        assert world.endings == {"m": State.LOST}
        assert 4 <= len(world.batches) <= 20

    run(scenario())
    assert caplog.text.count("Deleting messages of") == 1
    assert (caplog.records[0].exc_info is not None) == isinstance(error, ZeroDivisionError)


def test_trouble_is_said_again_when_it_changes_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    troubles: list[Verdict] = [ServiceUnreachable(), ServiceUnreachable(), NoCredentials()]

    async def scenario() -> None:
        world = World(lambda name, attempt: troubles[attempt - 1] if attempt < 4 else None)
        await world.finish("m")
        await asyncio.sleep(30)
        assert world.endings == {"m": State.ACKED}

    with caplog.at_level("INFO"):
        run(scenario())
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition("of http")[0] for text in said] == ["Deleting messages "] * 3
    assert "could not be reached" in said[0]
    assert "credentials" in said[1]
    assert "works again" in said[2]


def test_what_many_messages_are_refused_for_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        world = World(lambda name, attempt: failure("ReceiptHandleIsInvalid", sender_fault=True))
        await world.finish(*"abcdefg")
        await asyncio.sleep(1)
        assert world.source.ledger.lost == 7

    run(scenario())
    (line,) = caplog.messages
    assert "Done but not deleted, and will be delivered again: a, b, c, d, e and 2 more of" in line
    assert "ReceiptHandleIsInvalid" in line


def test_an_outage_in_which_all_in_hand_is_given_up_fills_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage: list[Exception] = []

    async def scenario() -> None:
        world = World(lambda name, attempt: outage[0] if outage else None)
        for _ in range(2):
            outage.append(ServiceUnreachable())
            for ten in range(5):
                await world.finish(*(f"{ten}-{number}" for number in range(10)), lasts_ms=5_000)
            await asyncio.sleep(15)
            outage.clear()
            await world.finish("after")
            await asyncio.sleep(1)
        assert world.source.ledger.lost == 100

    run(scenario())
    given_up = [line for line in caplog.messages if line.startswith("Done but not deleted")]
    assert len(given_up) == 2


def test_an_answer_that_makes_no_sense_is_a_failure_of_the_call() -> None:
    class Odd(World):
        async def _answer(self, request: AnyRequest) -> BatchResult:
            result = await super()._answer(request)
            if len(self.batches) == 1:
                return BatchResult(failed=[failure("InternalError", sender_fault=False)])
            return result

    async def scenario() -> None:
        world = Odd()
        await world.finish("a", "b")
        await asyncio.sleep(5)
        assert [names for _, names in world.batches] == [["a", "b"], ["a", "b"]]
        assert world.endings == {"a": State.ACKED, "b": State.ACKED}

    run(scenario())


def test_a_refused_call_loses_its_messages_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        world = World(lambda name, attempt: SqsError(QUEUE_DOES_NOT_EXIST))
        await world.finish("a", "b")
        await asyncio.sleep(1)
        assert world.endings == {"a": State.LOST, "b": State.LOST}
        assert len(world.batches) == 1

    run(scenario())
    assert "will be delivered again" in caplog.text


def test_nothing_is_left_running_when_nothing_is_left_to_delete() -> None:
    async def scenario() -> None:
        world = World()
        for _ in range(3):
            await world.finish("m")
            await asyncio.sleep(0.5)
        assert all(task.done() for task in world.tasks)

    run(scenario())
