"""Checking before doing, with document 001's two records."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from forebay.idempotency import (
    AlreadyDone,
    Attempt,
    CheckBeforeDoing,
    Guard,
    MemoryIdempotencyStore,
    MessageStatus,
    PayloadDiffers,
    Performed,
    SideEffect,
    Status,
    payload_digest,
)
from forebay.worker import Received, Retry, Router
from tests.runtime.virtual_time import LoopClock, run
from tests.runtime.worker_messages import envelope, lease

ORDER = {"order_id": "o-7", "action": "charge", "cents": 1_000}
KEY = 'business/charge/{"order_id":"o-7"}'


def message(identifier: str = "e-1", payload: object = ORDER) -> Received[Any]:
    router = Router()

    @router.handler("charge", dict[str, Any])
    async def ignored(received: Received[dict[str, Any]]) -> None: ...

    return router.route(lease(body=envelope("charge", payload, identifier=identifier))).received


class Bank:
    """Another system, which does what it is told as often as it is told."""

    def __init__(self, *, takes_s: float = 0.0) -> None:
        self.store = MemoryIdempotencyStore()
        self.checked = CheckBeforeDoing(Guard(self.store, clock=LoopClock()), self.store)
        self.charges: list[str] = []
        self.declines = False
        self._takes_s = takes_s

    async def charge(self, attempt: Attempt) -> bytes:
        await asyncio.sleep(self._takes_s)
        if self.declines:
            raise ValueError("the card was declined")
        self.charges.append(attempt.key)
        return b"charge %d" % len(self.charges)

    async def take(self, received: Received[Any]) -> Performed | AlreadyDone:
        return await self.checked.once(received, self.charge, by=("order_id",))

    async def status(self, identifier: str = "e-1") -> MessageStatus:
        found = await self.store.find_message(identifier)
        assert found is not None
        return found


def test_both_records_say_what_was_done() -> None:
    async def scenario() -> None:
        bank = Bank()
        assert await bank.take(message()) == Performed(b"charge 1")
        digest, now_ms = payload_digest(ORDER), LoopClock().wall_ms()
        assert await bank.status() == MessageStatus(Status.COMPLETED, 1, now_ms, digest, None)
        assert await bank.store.find_effect(KEY) == SideEffect(now_ms, digest, "e-1", b"charge 1")

    run(scenario())


def test_a_message_that_comes_again_counts_and_does_nothing() -> None:
    async def scenario() -> None:
        bank = Bank()
        await bank.take(message())
        assert await bank.take(message()) == AlreadyDone(b"charge 1")
        status = await bank.status()
        assert (status.status, status.attempts) == (Status.COMPLETED, 2)
        assert bank.charges == [KEY]

    run(scenario())


def test_two_messages_of_one_fact_are_both_completed_by_one_effect() -> None:
    async def scenario() -> None:
        bank = Bank()
        await asyncio.gather(bank.take(message("e-1")), bank.take(message("e-2")))
        assert bank.charges == [KEY]
        assert (await bank.status("e-1")).status is Status.COMPLETED
        assert (await bank.status("e-2")).status is Status.COMPLETED
        effect = await bank.store.find_effect(KEY)
        assert effect is not None
        assert effect.original_message_id == "e-1"

    run(scenario())


def test_an_effect_that_was_recorded_before_a_crash_is_not_done_again() -> None:
    async def scenario() -> None:
        bank = Bank()
        await bank.store.start_message("e-1", 0)
        await bank.store.record_effect(KEY, SideEffect(0, None, "e-1", b"charge 0"))
        assert (await bank.take(message())).result == b"charge 0"
        assert bank.charges == []
        status = await bank.status()
        assert (status.status, status.attempts) == (Status.COMPLETED, 2)

    run(scenario())


def test_two_that_check_at_the_same_time_do_it_once() -> None:
    """Weakness 4 of document 001: both saw nothing, and both performed it."""

    async def scenario() -> None:
        bank = Bank(takes_s=0.3)
        outcomes = await asyncio.gather(*(bank.take(message()) for _ in range(5)))
        assert outcomes.count(AlreadyDone(b"charge 1")) == 4
        assert bank.charges == [KEY]
        assert (await bank.status()).attempts == 5

    run(scenario())


def test_a_duplicate_of_a_slow_effect_comes_back_later_and_stays_started() -> None:
    async def scenario() -> None:
        bank = Bank(takes_s=30)
        first = asyncio.create_task(bank.take(message("e-1")))
        await asyncio.sleep(1)
        with pytest.raises(Retry) as retry:
            await bank.take(message("e-2"))
        assert 0 < retry.value.delay_s <= 10
        assert (await bank.status("e-2")).status is Status.STARTED
        await first
        assert await bank.take(message("e-2")) == AlreadyDone(b"charge 1")

    run(scenario())


def test_an_effect_that_fails_says_why_and_is_tried_again() -> None:
    async def scenario() -> None:
        bank = Bank()
        bank.declines = True
        with pytest.raises(ValueError, match="declined"):
            await bank.take(message())
        failed = await bank.status()
        assert (failed.status, failed.attempts) == (Status.FAILED, 1)
        assert failed.error_reason == "ValueError: the card was declined"
        assert await bank.store.find_effect(KEY) is None
        bank.declines = False
        await bank.take(message())
        again = await bank.status()
        assert (again.status, again.attempts, again.error_reason) == (Status.COMPLETED, 2, None)

    run(scenario())


def test_an_interrupted_effect_is_no_failure() -> None:
    async def scenario() -> None:
        bank = Bank(takes_s=30)
        running = asyncio.create_task(bank.take(message()))
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await bank.status()).status is Status.STARTED

    run(scenario())


def test_another_payload_is_never_a_silent_duplicate() -> None:
    async def scenario() -> None:
        bank = Bank()
        await bank.take(message())
        dearer = {**ORDER, "cents": 2_000}
        for identifier in ("e-1", "e-2"):
            with pytest.raises(PayloadDiffers):
                await bank.take(message(identifier, dearer))
        assert bank.charges == [KEY]
        assert (await bank.status("e-1")).status is Status.COMPLETED
        assert (await bank.status("e-2")).status is Status.FAILED

    run(scenario())
