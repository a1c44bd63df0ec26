"""Work takes longer than the visibility timeout, and a worker dies at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.lab.consumer.clients import WithoutHeartbeat
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.processes import Process
from forebay.lab.program import Program
from forebay.lab.recording_client import id_in
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import balanced, drained, effects_once, no_dead_letters
from forebay.worker import Received, Router, Worker, WorkerSettings

#: How long a received message is hidden unless that is extended, in seconds.
_VISIBILITY_S = 15

#: The part of it after which the workers extend it. Sooner than by default, so that a machine that
#: stands still for a second at this speed takes no lease away.
_HEARTBEAT_FRACTION = 0.2

#: The visibility timeout of queues whose consumers extend nothing: longer than any work.
_LONG_VISIBILITY_S = 3_600

#: The queue whose worker is killed, and what it is called there.
_KILLED = "killed"

RECEIVED_ONCE = "a message is received once, however long its work takes"
BACK_IN_TIME = "a killed worker's message is received again within two visibility timeouts"


class Heartbeat(Scenario):
    """Work takes longer than the visibility timeout, and a worker dies in the midst of it."""

    claim = (
        "A heartbeat keeps a message hidden as long as its worker lives and no longer: work that"
        " takes longer than the visibility timeout is done once, and a dead worker's message comes"
        " back soon."
    )
    queues = (
        LabQueue(visibility_s=_VISIBILITY_S, max_receive_count=10),
        LabQueue(name=_KILLED, visibility_s=_VISIBILITY_S, max_receive_count=10),
    )
    protections: ClassVar[Mapping[str, Protection]] = {
        "heartbeat": Protection(
            "The worker extends the visibility timeout of what it has in hand. Without it the"
            " message is received again while it is at work, and the work is done twice.",
            breaks=RECEIVED_ONCE,
            because=r"received \d times",
        ),
        "short-timeout": Protection(
            "The visibility timeout is short, since the heartbeat extends it. Without it the queue"
            " hides a message for an hour, as one does where nobody extends: for that long nobody"
            " takes up the work of a worker that died.",
            breaks=BACK_IN_TIME,
            because="not received again",
        ),
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        work_seconds: Annotated[
            float, Meta(ge=20, le=3_600, description="seconds that the work of a message takes")
        ] = 25.0

    def wanted_queues(self) -> Sequence[LabQueue]:
        if self.on("short-timeout"):
            return self.queues
        kept, killed = self.queues
        return (
            kept,
            LabQueue(
                name=killed.name,
                visibility_s=_LONG_VISIBILITY_S,
                max_receive_count=killed.max_receive_count,
            ),
        )

    async def setup(self, stage: Stage) -> None:
        self.kept_id, self.killed_id = stage.new_id(), stage.new_id()
        for name in ("worker-1", "worker-2"):
            await self._start(stage, name, "")
        self.doomed = await self._start(stage, "worker-3", _KILLED)
        await stage.send([{"id": self.kept_id}])
        await stage.send([{"id": self.killed_id}], queue=_KILLED, process="producer-2")

    async def fault(self, stage: Stage) -> None:
        await stage.until(
            "both messages are at work",
            lambda ledger: {self.kept_id, self.killed_id} <= ledger.receives().keys(),
        )
        await stage.sleep(stage.random.uniform(4.0, 6.0))
        await stage.kill(self.doomed)
        await self._start(stage, "worker-4", _KILLED, work_seconds=0.0)
        if stage.on("short-timeout"):
            await stage.drained(_KILLED)
        else:
            await stage.sleep(2 * _VISIBILITY_S)
        await stage.drained(timeout_s=600 + 2 * stage.options.work_seconds)

    async def _start(
        self, stage: Stage, name: str, queue: str, work_seconds: float | None = None
    ) -> Process:
        return await stage.start(
            name,
            work_long,
            queue_url=stage.queue(queue).url,
            work_s=stage.options.work_seconds if work_seconds is None else work_seconds,
            extends=stage.on("heartbeat"),
        )

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from balanced(ledger)
        for queue in ledger.queues:
            yield drained(ledger, queue)
            yield no_dead_letters(ledger, queue)
        yield effects_once(ledger, [self.kept_id, self.killed_id])
        yield self._received_once(ledger)
        yield self._back_in_time(ledger)

    def _received_once(self, ledger: Ledger) -> Verdict:
        times = ledger.receives()[self.kept_id]
        extensions = sum(each.identity == self.kept_id for each in ledger.of(Kind.EXTENDED))
        return Verdict(
            RECEIVED_ONCE,
            times == 1 and extensions > 0,
            f"received {'once' if times == 1 else f'{times} times'}; its visibility timeout of"
            f" {_VISIBILITY_S} s was extended {extensions:,} times during"
            f" {self.options.work_seconds:g} s of work",
        )

    def _back_in_time(self, ledger: Ledger) -> Verdict:
        killed = next(each for each in ledger.of(Kind.FAULT) if "is killed" in each.text)
        waits_s = [
            (each.at_ms - killed.at_ms) / 1000
            for each in ledger.of(Kind.RECEIVED, queue=_KILLED)
            if each.at_ms > killed.at_ms
        ]
        if not waits_s:
            after_s = (ledger.now_ms - killed.at_ms) / 1000
            return Verdict(
                BACK_IN_TIME, False, f"not received again {after_s:.0f} s after the kill"
            )
        return Verdict(
            BACK_IN_TIME,
            waits_s[0] <= 2 * _VISIBILITY_S,
            f"received again {waits_s[0]:.1f} s after the kill",
        )


async def work_long(lab: Program, *, queue_url: str, work_s: float, extends: bool) -> None:
    """Do the work of a message, which ends in an effect, without an idempotency key."""
    router = Router()

    @router.default
    async def handle(received: Received[str]) -> None:
        await lab.clock.sleep(work_s)
        await lab.outside.perform("report", id_in(received.text))

    worker = Worker(
        lab.client if extends else WithoutHeartbeat(lab.client),
        queue_url,
        router,
        settings=WorkerSettings(heartbeat_fraction=_HEARTBEAT_FRACTION),
        clock=lab.clock,
    )
    await lab.work(worker)
