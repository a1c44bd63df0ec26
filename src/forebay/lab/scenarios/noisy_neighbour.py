"""One tenant floods a queue that others share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.program import Program
from forebay.lab.programs.send import Outgoing
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import all_done
from forebay.worker import Received, Router, Worker, WorkerSettings

#: The tenants.
_NOISY = "noisy"
_QUIET = ("quiet-1", "quiet-2", "quiet-3", "quiet-4")

#: The process that sends for the quiet ones.
_QUIET_PRODUCER = "quiet"

#: How many handlers run in each of the two workers. Together they have more than the 30 messages in
#: flight from which SQS takes a tenant to be noisy.
_WORKERS = 2
_CONCURRENCY = 20

#: How long a handler is at a message, in seconds.
_WORK_S = 4.0

QUIET_FIRST = "the quiet wait less than half as long as the rest of the flood takes"


class NoisyNeighbour(Scenario):
    """One tenant floods the queue, and the messages of the others do not wait behind the flood."""

    claim = (
        "On a fair queue a tenant's backlog is its own: messages of tenants that send little are"
        " handed out before the flood of another that was there first."
    )
    queues = (LabQueue(visibility_s=30, max_receive_count=10),)
    protections: ClassVar[Mapping[str, Protection]] = {
        "fair-queue": Protection(
            "Each message names its tenant as its MessageGroupId, which makes the standard queue a"
            " fair queue. Without it the queue knows of no tenants, and everybody waits in line.",
            breaks=QUIET_FIRST,
            because="behind the flood",
        ),
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[
            int, Meta(ge=240, le=5_000, description="messages of the tenant that floods")
        ] = 320
        quiet_count: Annotated[
            int, Meta(ge=1, le=5, description="messages of each of the four quiet tenants")
        ] = 4

    async def setup(self, stage: Stage) -> None:
        self.flood = [stage.new_id() for _ in range(stage.options.count)]
        self.quiet = [stage.new_id() for _ in range(stage.options.quiet_count * len(_QUIET))]
        await stage.send(
            [self._message(stage, each, _NOISY) for each in self.flood], process=_NOISY
        )
        for number in range(_WORKERS):
            await stage.start(f"worker-{number + 1}", take_time)

    async def fault(self, stage: Stage) -> None:
        enough = 2 * _WORKERS * _CONCURRENCY
        await stage.until(
            "the flood keeps every worker busy",
            lambda ledger: len(ledger.receives()) >= enough,
        )
        stage.strike("the quiet tenants send")
        await stage.send(
            [
                self._message(stage, each, _QUIET[number % len(_QUIET)])
                for number, each in enumerate(self.quiet)
            ],
            process=_QUIET_PRODUCER,
        )
        await stage.drained(timeout_s=600 + stage.options.count)

    def _message(self, stage: Stage, message: str, tenant: str) -> Outgoing:
        return Outgoing(
            body={"id": message, "tenant": tenant},
            group_id=tenant if stage.on("fair-queue") else None,
        )

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        yield self._quiet_first(ledger)

    def _quiet_first(self, ledger: Ledger) -> Verdict:
        began_ms = min(each.at_ms for each in ledger.of(Kind.SENDING, process=_QUIET_PRODUCER))
        flood = set(self.flood)
        ended_ms = max(each.at_ms for each in ledger.of(Kind.RECEIVED) if each.identity in flood)
        flood_s = (ended_ms - began_ms) / 1000
        waits = ledger.waits_s()
        quiet_s = max(waits[each] for each in self.quiet)
        holds = quiet_s < flood_s / 2
        return Verdict(
            QUIET_FIRST,
            holds,
            f"the quiet waited {quiet_s:.1f} s at most for a receive; the flood's last message was"
            f" received {flood_s:.1f} s after they had begun to send"
            + ("" if holds else ": they waited behind the flood"),
        )


async def take_time(lab: Program) -> None:
    """Handle messages, slowly."""
    router = Router()

    @router.default
    async def handle(_: Received[str]) -> None:
        await lab.clock.sleep(_WORK_S)

    settings = WorkerSettings(
        concurrency=_CONCURRENCY, concurrency_min=_CONCURRENCY, buffer_medium=1, pollers=4
    )
    await lab.work(Worker(lab.client, lab.queue_url, router, settings=settings, clock=lab.clock))
