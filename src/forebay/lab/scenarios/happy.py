"""The happy path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.lab.ledger import Ledger
from forebay.lab.scenario import Protection, Scenario, ScenarioOptions
from forebay.lab.sender.payloads import work
from forebay.lab.stage import Stage
from forebay.lab.verdicts import (
    DRAINED,
    all_done,
    effects_once,
    ended_well,
)


class HappyOptions(ScenarioOptions, frozen=True, kw_only=True):
    count: Annotated[int, Meta(ge=1, le=100_000, description="How many messages are sent.")] = 5
    batch_size: Annotated[int, Meta(ge=1, le=10, description="Most messages of one send.")] = 5
    consumer_timeout: Annotated[
        float, Meta(gt=0, description="How long the consumer may take, in seconds.")
    ] = 120.0


class Happy(Scenario):
    """Messages are sent, received, handled and deleted, and nothing goes wrong."""

    claim = "Every message that is sent is handled once and deleted, and the queue ends empty."
    protections = {
        "delete": Protection(
            "A consumer deletes a message when it has handled it. Without, each comes again.",
            breaks=DRAINED,
            because=r"[1-9]\d* visible|[1-9]\d* in flight",
        )
    }
    Options = HappyOptions

    async def setup(self, stage: Stage) -> None:
        self.ids = [stage.new_id() for _ in range(stage.options.count)]
        await stage.send(
            (work(each, stage.random) for each in self.ids),
            batch=stage.options.batch_size,
        )

    async def fault(self, stage: Stage) -> None:
        began_ms = stage.clock.monotonic_ms()
        consumer = await stage.consume("consumer-1", MESSAGE_LIMIT=stage.options.count)
        await stage.ended(consumer, stage.options.consumer_timeout)
        self.took_s = (stage.clock.monotonic_ms() - began_ms) / 1000

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        yield effects_once(ledger, self.ids)
        yield ended_well(ledger, "consumer-1")
        most_s = self.options.consumer_timeout
        yield Verdict(
            "the consumer ends in time",
            self.took_s <= most_s,
            f"{self.took_s:.1f} s of {most_s:g}",
        )
