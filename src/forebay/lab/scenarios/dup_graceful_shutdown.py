"""A consumer that is told to stop in the midst of its work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.errors import SettingsError
from forebay.lab.events import TOLD_TO_STOP, Kind
from forebay.lab.ledger import Ledger
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.sender.payloads import work
from forebay.lab.stage import Stage
from forebay.lab.verdicts import balanced, ended_well, named, no_dead_letters

#: How long a consumer may take to stop, in seconds. Source: document 001.
STOPPED_WITHIN_S = 30.0

BUSY = "it is told to stop with a message in its hands"
NOTHING_HIDDEN = "no message is hidden when the consumer has stopped"


class DupGracefulShutdownOptions(ScenarioOptions, frozen=True, kw_only=True):
    count: Annotated[int, Meta(ge=1, le=1000, description="How many messages are sent.")] = 5
    processing_delay: Annotated[
        float, Meta(gt=0, description="How long each effect takes, in seconds.")
    ] = 5.0
    sigterm_delay: Annotated[
        float,
        Meta(ge=0, description="How long after the first receive it is told to stop, in seconds."),
    ] = 2.0

    def check(self) -> None:
        work_s = self.count * self.processing_delay
        if self.sigterm_delay >= work_s:
            raise SettingsError(
                f"--sigterm-delay {self.sigterm_delay:g} of dup-graceful-shutdown: it must be below"
                f" {work_s:g}, which is --count times --processing-delay; else all is done by then."
            )


class DupGracefulShutdown(Scenario):
    """A deployment tells a consumer to stop while it has messages in its hands."""

    claim = (
        "A consumer that is told to stop ends what it has begun, gives back what it has not, and"
        " leaves nothing hidden."
    )
    # Long, so that nothing comes back by itself while the consumer stops.
    queues = (LabQueue(visibility_s=60),)
    protections = {
        "drain": Protection(
            "SIGTERM begins a drain. Without, it ends the process at once, and what it held stays"
            " hidden until its visibility timeout ends.",
            breaks=NOTHING_HIDDEN,
            because=r"[1-9]\d* in flight",
        )
    }
    Options = DupGracefulShutdownOptions

    async def setup(self, stage: Stage) -> None:
        self.ids = [stage.new_id() for _ in range(stage.options.count)]
        await stage.send(work(each, stage.random) for each in self.ids)

    async def fault(self, stage: Stage) -> None:
        consumer = await stage.consume(
            "consumer-1", SIDE_EFFECT_DELAY_SECONDS=stage.options.processing_delay
        )
        await stage.until("a message is in flight", lambda ledger: bool(ledger.of(Kind.RECEIVED)))
        await stage.sleep(stage.options.sigterm_delay)
        told_ms = stage.clock.monotonic_ms()
        await stage.terminate(consumer)
        self.took_s = (stage.clock.monotonic_ms() - told_ms) / 1000
        self.hidden = (await stage.look()).in_flight

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from balanced(ledger)
        yield no_dead_letters(ledger)
        yield ended_well(ledger, "consumer-1")
        (told,) = (each for each in ledger.of(Kind.FAULT) if TOLD_TO_STOP in each.text)
        held = ledger.in_hand("consumer-1", told.at_ms)
        yield Verdict(BUSY, bool(held), named(held, "in its hands"))
        yield Verdict(NOTHING_HIDDEN, not self.hidden, f"{self.hidden:,} in flight")
        books, performed = ledger.queue(), ledger.effects_by_subject()
        half_done = books.visible_ids & performed.keys()
        yield Verdict(
            "what it has begun is done, and what is back was not begun",
            not half_done and books.done_ids == performed.keys(),
            f"{books.done:,} done with {performed.total():,} effects, {books.visible:,} back; "
            + named(half_done, "back though they had their effect"),
        )
        yield Verdict(
            "it stops in time",
            self.took_s <= STOPPED_WITHIN_S,
            f"{self.took_s:.1f} s of {STOPPED_WITHIN_S:g}",
        )
