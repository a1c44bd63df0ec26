"""Workers are replaced one after the other while messages come."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.errors import SettingsError
from forebay.lab.ledger import Ledger
from forebay.lab.processes import Process
from forebay.lab.programs.work import work
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import (
    EFFECTS_ONCE,
    all_done,
    effects_once,
    named,
)

#: How long a worker is at a message, and one that is killed because its time to stop is too short,
#: in seconds.
_WORK_S = 1.0
_LONG_WORK_S = 15.0

#: How long the one that is killed is given to stop, in seconds.
_GRACE_S = 1.0

#: How long messages must come for all workers to be replaced meanwhile, in seconds.
_DEPLOYMENT_S = 15

#: The one that is killed.
_KILLED = "worker-1"

HANDS_EMPTY = "a worker that is given its time to stop leaves nothing hidden"
RECEIVED_ONCE = "only what the killed worker held is received again"
NO_GAP = "no message waits longer than a visibility timeout for a worker"


class RollingDeploy(Scenario):
    """A deployment replaces the workers one after the other, and kills one of them too early."""

    claim = (
        "A deployment loses nothing and repeats nothing: each worker ends what it has in hand, the"
        " others go on, and what a killed one held comes back and has its effect once."
    )
    # Each deployment may cost a message a receive, so there are more than failures would need.
    queues = (LabQueue(visibility_s=15, max_receive_count=10),)
    protections: ClassVar[Mapping[str, Protection]] = {
        "drain": Protection(
            "At SIGTERM a worker receives no more, ends what it has in hand and leaves. Without it"
            " SIGTERM ends the process at once, as it ends any program that does not heed it.",
            breaks=HANDS_EMPTY,
            because="left hidden",
        ),
        "one-by-one": Protection(
            "The next worker is stopped when the last one's successor is at work. Without it all"
            " are stopped before the first new one starts, which takes as long as starting takes.",
            breaks=NO_GAP,
            because="waited longer",
        ),
        "key": Protection(
            "The message's id goes to the service outside as an Idempotency-Key. Without it an"
            " effect is performed again when its message is received again.",
            breaks=EFFECTS_ONCE,
            because="performed more than once",
        ),
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[int, Meta(ge=40, le=2_000, description="messages to send")] = 100
        rate: Annotated[float, Meta(ge=3, le=8, description="messages sent in a second")] = 6.0
        start_delay: Annotated[
            float,
            Meta(ge=16, le=300, description="seconds that new workers take to start, when all do"),
        ] = 20.0

        def check(self) -> None:
            if self.count < _DEPLOYMENT_S * self.rate:
                raise SettingsError(
                    f"--count {self.count} of rolling-deploy: it must be at least"
                    f" {math.ceil(_DEPLOYMENT_S * self.rate):,} at --rate {self.rate:g}, since the"
                    f" deployment takes {_DEPLOYMENT_S} seconds and messages come all the while."
                )

    async def setup(self, stage: Stage) -> None:
        self.ids = [stage.new_id() for _ in range(stage.options.count)]
        self.workers = [
            await self._start(stage, _KILLED, slow_s=_LONG_WORK_S),
            await self._start(stage, "worker-2"),
            await self._start(stage, "worker-3"),
        ]
        self.producer = await stage.start_producer(
            [{"id": each} for each in self.ids], rate=stage.options.rate, batch=3
        )
        await stage.until(
            "every worker has messages in hand",
            lambda ledger: all(ledger.in_hand(each.name) for each in self.workers),
        )

    async def fault(self, stage: Stage) -> None:
        if stage.on("one-by-one"):
            for old in self.workers:
                await self._stop(stage, old)
                await self._start(stage, f"{old.name}-new")
        else:
            await asyncio.gather(*(self._stop(stage, old) for old in self.workers))
            await stage.sleep(stage.options.start_delay)
            for old in self.workers:
                await self._start(stage, f"{old.name}-new")
        await stage.ended(self.producer, 300 + stage.options.count / stage.options.rate)
        await stage.drained()

    async def _start(self, stage: Stage, name: str, slow_s: float = _WORK_S) -> Process:
        return await stage.start(
            name, work, slow_s=slow_s, keyed=stage.on("key"), drains=stage.on("drain")
        )

    async def _stop(self, stage: Stage, old: Process) -> None:
        await stage.until(
            f"{old.name} has messages in hand", lambda ledger: bool(ledger.in_hand(old.name))
        )
        if old.name != _KILLED:
            await stage.terminate(old)
            return
        stage.strike(f"{old.name} is told to stop")
        old.terminate()
        await stage.sleep(_GRACE_S)
        await stage.kill(old)

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        yield effects_once(ledger, self.ids)
        yield self._hands_empty(ledger)
        yield self._received_once(ledger)
        yield self._no_gap(ledger)

    def _hands_empty(self, ledger: Ledger) -> Verdict:
        stopped = [each.name for each in self.workers if each.name != _KILLED]
        left = {message for name in stopped for message in ledger.in_hand(name)}
        codes = ", ".join(f"{name} ended with {ledger.exits[name]}" for name in stopped)
        detail = codes + (f"; {named(left, 'left hidden')}" if left else "")
        well = not left and not any(ledger.exits[name] for name in stopped)
        return Verdict(HANDS_EMPTY, well, detail)

    def _received_once(self, ledger: Ledger) -> Verdict:
        again = {message for message, times in ledger.receives().items() if times > 1}
        held = ledger.in_hand(_KILLED)
        return Verdict(
            RECEIVED_ONCE,
            bool(held) and again <= held,
            f"{_KILLED} held {len(held):,}; {named(again, 'received again')}",
        )

    def _no_gap(self, ledger: Ledger) -> Verdict:
        bound_s = self.queues[0].visibility_s
        waits = ledger.waits_s()
        long = {message for message, wait_s in waits.items() if wait_s > bound_s}
        longest_s = max(waits.values(), default=0.0)
        detail = f"the longest wait for a first receive was {longest_s:.1f} s"
        if long:
            detail += f"; {named(long, f'waited longer than {bound_s} s')}"
        return Verdict(NO_GAP, not long, detail)
