"""Deleting in batches: when they go, what is tried again, and what is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from forebay.client.fake import ScriptedSqsClient
from forebay.errors import ServiceUnreachable
from forebay.protocol.actions import (
    AnyRequest,
    BatchResult,
    BatchResultErrorEntry,
    DeleteMessageBatchRequest,
)
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SERVICE_UNAVAILABLE, SqsError
from forebay.worker.acknowledge import Acknowledger, delete_in_ms
from forebay.worker.ledger import Ending
from tests.runtime.virtual_time import LoopClock, run
from tests.runtime.worker_messages import lease

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
    """An acknowledger over a script: what SQS says of a handle at its nth time."""

    def __init__(self, verdict: Callable[[str, int], Verdict] = lambda handle, attempt: None):
        self.clock = LoopClock()
        self.verdict = verdict
        self.batches: list[tuple[int, list[str]]] = []
        self.endings: dict[str, Ending] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self._attempts: dict[str, int] = {}
        self.acknowledger = Acknowledger(
            ScriptedSqsClient(self._answer),
            QUEUE_URL,
            age_ms=20,
            clock=self.clock,
            entropy=random.Random(1).randbytes,
            spawn=lambda coroutine: self.tasks.append(asyncio.ensure_future(coroutine)),
            ended=lambda lease, ending: self.endings.update({lease.message_id: ending}),
        )

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

    def finish(self, *names: str, ending: Ending = Ending.ACKED, lasts_ms: int = 30_000) -> None:
        now_ms = self.clock.monotonic_ms()
        for name in names:
            self.acknowledger.add(lease(name, until_ms=now_ms + lasts_ms), ending)


def test_a_full_batch_goes_at_once_and_the_rest_when_it_is_old_enough() -> None:
    async def scenario() -> None:
        world = World()
        names = [f"m-{number}" for number in range(13)]
        world.finish(*names)
        await asyncio.sleep(1)
        assert world.batches == [(0, names[:10]), (20, names[10:])]
        assert world.endings == dict.fromkeys(names, Ending.ACKED)

    run(scenario())


def test_age_counts_from_the_oldest_and_a_flush_waits_for_nothing() -> None:
    async def scenario() -> None:
        world = World()
        world.finish("a")
        await asyncio.sleep(0.015)
        world.finish("b")
        await asyncio.sleep(0.015)
        world.finish("c")
        world.acknowledger.flush()
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
        world.finish("fine", "busy", "throttled", "expired")
        await asyncio.sleep(5)
        assert [names for _, names in world.batches] == [
            ["fine", "busy", "throttled", "expired"],
            ["busy", "throttled"],
            ["busy"],
        ]
        assert world.endings == {
            "fine": Ending.ACKED,
            "throttled": Ending.ACKED,
            "busy": Ending.ACKED,
            # An expired handle of a FIFO queue deletes nothing: the message comes again.
            "expired": Ending.LOST,
        }

    run(scenario())


@pytest.mark.parametrize("error", [ServiceUnreachable(), SqsError(SERVICE_UNAVAILABLE)])
def test_a_call_that_fails_is_tried_again_until_the_lease_is_over(error: Exception) -> None:
    async def scenario() -> None:
        world = World(lambda name, attempt: error)
        world.finish("m", lasts_ms=8_000)
        await asyncio.sleep(30)
        assert world.endings == {"m": Ending.LOST}
        assert 4 <= len(world.batches) <= 16

    run(scenario())


def test_a_refused_call_loses_its_messages_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        world = World(lambda name, attempt: SqsError(QUEUE_DOES_NOT_EXIST))
        world.finish("a", "b", ending=Ending.REJECTED)
        await asyncio.sleep(1)
        assert world.endings == {"a": Ending.LOST, "b": Ending.LOST}
        assert len(world.batches) == 1

    run(scenario())
    assert "will be delivered again" in caplog.text


def test_nothing_is_left_running_when_nothing_is_left_to_delete() -> None:
    async def scenario() -> None:
        world = World()
        for _ in range(3):
            world.finish("m")
            await asyncio.sleep(0.5)
        assert all(task.done() for task in world.tasks)

    run(scenario())
