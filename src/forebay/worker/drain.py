"""Stopping without leaving a message hidden.

The drain, from the moment of `stop`:

1. No receive starts. Those in flight are awaited: SQS may have handed out their messages already.
2. What is in hand runs to its end.
3. From the deadline on no handler starts. Once no receive is in flight, the rest is given up:
   waiting messages become visible again, running handlers are cancelled and their messages become
   visible too. Any sooner, a receive in flight would bring the same messages back.
4. Deletions and releases under way get a last while to be confirmed; what is not confirmed then is
   counted as lost.
5. The ledger is written: every message received is in one of its places.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING

from msgspec import Struct

from forebay.stop_signals import stop_signals

if TYPE_CHECKING:
    from forebay.worker.ledger import WorkerLedger
    from forebay.worker.worker import Worker

#: How long deletions and releases may take to be confirmed after the deadline, in milliseconds.
CONFIRM_MS = 5_000


class DrainStep(Enum):
    """What a drain does next."""

    #: Nothing but wait for something to end, or for the next deadline.
    WAIT = auto()
    #: Stop what runs, give back what waits.
    GIVE_UP = auto()
    #: Count what SQS has not confirmed as lost and leave.
    LEAVE = auto()
    DONE = auto()


class Remaining(Struct, frozen=True, kw_only=True):
    """What a draining worker still has to do."""

    #: Receives in flight.
    polls: int = 0
    running: int = 0
    waiting: int = 0
    #: Messages whose ending SQS has not confirmed, those that wait or run included.
    in_hand: int = 0


class Deadlines(Struct, frozen=True):
    """When a drain gives up and when it leaves, in monotonic milliseconds."""

    give_up_ms: int
    leave_ms: int

    def wait_ms(self, now_ms: int) -> int:
        """How long until the next of them; when both are past, until it is worth looking again."""
        ahead = [at_ms - now_ms for at_ms in (self.give_up_ms, self.leave_ms) if at_ms > now_ms]
        return min(ahead, default=CONFIRM_MS)


def drain_step(
    remaining: Remaining, deadlines: Deadlines, now_ms: int, *, given_up: bool
) -> DrainStep:
    """What to do now. Receives in flight are always awaited; the client bounds their time."""
    if remaining.polls:
        return DrainStep.WAIT
    if not remaining.in_hand:
        return DrainStep.DONE
    if not given_up and now_ms >= deadlines.give_up_ms and (remaining.running or remaining.waiting):
        return DrainStep.GIVE_UP
    return DrainStep.LEAVE if now_ms >= deadlines.leave_ms else DrainStep.WAIT


async def run_until_signalled(*workers: Worker) -> list[WorkerLedger]:
    """Run workers until SIGTERM or SIGINT, drain them, and return their ledgers in order.

    SIGINT stops nothing in a process that was started to ignore it, as a script starts its
    background commands.
    The second signal acts as it did before this was called, so a second Ctrl-C interrupts. When one
    worker fails, the others drain before its error is raised.
    """
    loop = asyncio.get_running_loop()
    signals = stop_signals()

    def stop_all() -> None:
        restore()
        for worker in workers:
            worker.stop()

    def restore() -> None:
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, stop_all)
    runs = [asyncio.ensure_future(worker.run()) for worker in workers]
    try:
        await asyncio.wait(runs, return_when=asyncio.FIRST_EXCEPTION)
        for worker in workers:
            worker.stop()
        await asyncio.wait(runs)
    finally:
        restore()
        for run in runs:
            run.cancel()
    return await asyncio.gather(*runs)
