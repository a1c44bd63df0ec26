"""A crash between an effect and its record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.lab.ledger import Ledger
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.sender.payloads import work
from forebay.lab.stage import Stage
from forebay.lab.verdicts import (
    EFFECTS_ONCE,
    all_done,
    crashed_at_work,
    effects_once,
    ended_well,
)


class DupSideEffectsOptions(ScenarioOptions, frozen=True, kw_only=True):
    count: Annotated[int, Meta(ge=1, le=50, description="How many messages are sent.")] = 5
    crash_window: Annotated[
        float,
        Meta(ge=0, description="How long the last consumer waits to start, in seconds."),
    ] = 15.0


class DupSideEffects(Scenario):
    """A consumer dies when the service outside has acted, and before it wrote that down."""

    claim = "An effect outside happens once, though its consumer dies before it can say so."
    # One that starts late may be handed what an earlier one crashed with.
    queues = (LabQueue(max_receive_count=20),)
    protections = {
        "idempotency-key": Protection(
            "The consumer gives the service outside the key of the work, and the service answers"
            " a repetition without acting. Without, nobody can know that it has acted.",
            breaks=EFFECTS_ONCE,
            because="performed more than once",
        )
    }
    Options = DupSideEffectsOptions

    async def setup(self, stage: Stage) -> None:
        self.ids = [stage.new_id() for _ in range(stage.options.count)]
        await stage.send(work(each, stage.random) for each in self.ids)

    async def fault(self, stage: Stage) -> None:
        for number in range(1, stage.options.count + 1):
            consumer = await stage.consume(f"consumer-{number}", CRASH_AFTER_SIDE_EFFECT=1)
            await stage.ended(consumer)
            stage.strike(f"consumer-{number} has crashed after the effect")
        await stage.sleep(stage.options.crash_window)
        last = await stage.consume("last-consumer")
        await stage.drained()
        await stage.terminate(last)

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        yield effects_once(ledger, self.ids)
        for number in range(1, len(self.ids) + 1):
            yield crashed_at_work(ledger, f"consumer-{number}", after_effect=True)
        yield ended_well(ledger, "last-consumer")
