"""Purge timing: what is sent in the minute after a purge may go with it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from typing import Annotated, ClassVar

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.fault_injection import FaultRates
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.scenario import BrokerSettings, Protection, Scenario, ScenarioOptions, Speed
from forebay.lab.stage import Stage
from forebay.lab.verdicts import all_done, effects_once, named
from forebay.protocol.errors import PURGE_QUEUE_IN_PROGRESS

SAFE_KEPT = "no message that waited for the purge to end is lost"
BOUNDED = "what is lost was sent before the purge or within 60 seconds after it"
PURGED = "what was there before a purge is gone"
REFUSED = "a queue is purged once in 60 seconds"

#: Messages that are in the queue when it is purged, and those that wait for the purge to end.
_OLD, _SAFE = 3, 5

#: When single messages are sent in the minute after a purge, in seconds after it. Source: document
#: 001's scenario.
_DANGER_S = (5, 15, 30, 45)

#: When the messages of the last round are sent, in seconds after its purge. Source: as above.
_CROSS_S = (0, 2, 5, 10, 15, 30, 45, 60, 65)

#: Pause before a queue is asked again to be purged, in seconds.
_AGAIN_S = 2.0

#: How long SQS refuses to purge a queue again, in seconds, and how it says so. Source: API
#: PurgeQueue.
_INTERVAL_S = 60
IN_PROGRESS = PURGE_QUEUE_IN_PROGRESS.name

#: How likely the lab's own broker takes a message of the minute after a purge. Amazon SQS takes few
#: of them or none; here it is seen.
_LOSES = 0.9


class HappyPurgeTiming(Scenario):
    """A queue is purged, and messages are sent in the minute that this may take, and after it."""

    speed = Speed.SLOW
    claim = (
        "A purge may take messages that are sent up to 60 seconds after it, and none that are sent"
        " later."
    )
    protections: ClassVar[Mapping[str, Protection]] = {
        "wait": Protection(
            "Messages that must not be lost are sent --safe-delay seconds after the purge. Without"
            " it they are sent at once.",
            breaks=SAFE_KEPT,
            because="lost: ",
        )
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        iterations: Annotated[int, Meta(ge=1, le=100, description="Purges.")] = 2
        danger_count: Annotated[
            int, Meta(ge=1, le=10_000, description="Messages sent at once after each purge.")
        ] = 10
        safe_delay: Annotated[
            float, Meta(ge=61, le=3_600, description="Seconds to wait after a purge to be safe.")
        ] = 65.0
        cross_count: Annotated[
            int,
            Meta(
                ge=0,
                le=1_000,
                description="Messages of the last round at each delay; 0 leaves the round out.",
            ),
        ] = 5

    def broker(self) -> BrokerSettings:
        return BrokerSettings(faults=FaultRates(purge_loses=_LOSES))

    async def setup(self, stage: Stage) -> None:
        #: Ids, by when they are sent.
        self.old = await self._send(stage, _OLD)
        self.danger: set[str] = set()
        self.safe: set[str] = set()
        #: Those of the last round, by their delay in seconds.
        self.cross: dict[int, set[str]] = {}

    async def fault(self, stage: Stage) -> None:
        for number in range(1, self.options.iterations + 1):
            if number > 1:
                self.old |= await self._send(stage, _OLD)
            purged_ms = await self._purge(stage)
            self.danger |= await self._send(stage, self.options.danger_count)
            if number == 1:
                await stage.purge()
            if not self.on("wait"):
                self.safe |= await self._send(stage, _SAFE)
            for delay_s in _DANGER_S:
                await _sleep_until(stage, purged_ms, delay_s)
                self.danger |= await self._send(stage, 1)
            await _sleep_until(stage, purged_ms, self.options.safe_delay)
            if self.on("wait"):
                self.safe |= await self._send(stage, _SAFE)
            await self._consume(stage, f"consumer-{number}")
        if self.options.cross_count:
            await self._last_round(stage)

    async def _last_round(self, stage: Stage) -> None:
        """Send some at each delay after a purge, to see which come through."""
        self.old |= await self._send(stage, _OLD)
        purged_ms = await self._purge(stage)
        for delay_s in _CROSS_S:
            await _sleep_until(stage, purged_ms, delay_s)
            self.cross[delay_s] = await self._send(stage, self.options.cross_count)
        await self._consume(stage, "consumer-last")

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        books = ledger.queue()
        yield from all_done(ledger)
        yield effects_once(ledger, books.done_ids)
        kept = self.old & books.done_ids
        yield Verdict(
            PURGED, not kept, named(kept, "done all the same") if kept else f"{len(self.old)} gone"
        )
        lost = self.safe - books.done_ids
        when = f"{self.options.safe_delay:g} s after" if self.on("wait") else "at once after"
        yield Verdict(
            SAFE_KEPT,
            not lost,
            f"{len(self.safe)} sent {when} a purge; {named(lost, 'lost')}",
        )
        yield Verdict(BOUNDED, not books.lost, self._losses(books.done_ids))
        purges = [event.at_ms for event in ledger.of(Kind.PURGED)]
        gaps_s = [(after - before) / 1000 for before, after in pairwise(purges)]
        refused = [each for each in ledger.of(Kind.FAULT) if IN_PROGRESS in each.text]
        yield Verdict(
            REFUSED,
            bool(refused) and all(gap_s >= _INTERVAL_S for gap_s in gaps_s),
            f"{len(purges)} purges, "
            + (f"{min(gaps_s):.0f} s apart at least; " if gaps_s else "")
            + f"{len(refused)} refused with {IN_PROGRESS}",
        )

    def _losses(self, done: Collection[str]) -> str:
        """How many of the messages that were in danger were lost, in words."""
        by_delay = ", ".join(
            f"+{delay} s {len(ids - set(done))} of {len(ids)}" for delay, ids in self.cross.items()
        )
        return (
            f"{len(self.danger - set(done))} of {len(self.danger)} sent within {_DANGER_S[-1]} s"
            " after a purge are lost"
            + (f"; in the last round, by delay: {by_delay}" if by_delay else "")
        )

    async def _purge(self, stage: Stage) -> int:
        """Purge the queue as soon as SQS takes it, and return when that was."""
        while not await stage.purge():
            await stage.sleep(_AGAIN_S)
        stage.strike("the queue is purged")
        return stage.clock.monotonic_ms()

    async def _send(self, stage: Stage, count: int) -> set[str]:
        ids = [stage.new_id() for _ in range(count)]
        await stage.send([{"id": each} for each in ids])
        return set(ids)

    async def _consume(self, stage: Stage, name: str) -> None:
        """Consume all that the queue still has."""
        consumer = await stage.consume(name, WAIT_TIME_SECONDS=1, MAX_MESSAGES=10)
        await stage.drained()
        await stage.terminate(consumer)


async def _sleep_until(stage: Stage, begin_ms: int, delay_s: float) -> None:
    """Sleep until so long after a moment of the stage's clock."""
    left_ms = begin_ms + delay_s * 1000 - stage.clock.monotonic_ms()
    await stage.sleep(max(0.0, left_ms / 1000))
