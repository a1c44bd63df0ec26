"""Batches in which some messages fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.errors import SettingsError
from forebay.lab.ledger import Ledger
from forebay.lab.scenario import Protection, Scenario, ScenarioOptions
from forebay.lab.sender.payloads import POISON, poison, work
from forebay.lab.stage import Stage
from forebay.lab.verdicts import (
    POISON_SET_ASIDE,
    balanced,
    drained,
    effects_once,
    poison_set_aside,
    received_as_often_as_allowed,
)

MIXED = "good messages and poison come in one batch"


class PoisonPartialBatchOptions(ScenarioOptions, frozen=True, kw_only=True):
    count: Annotated[int, Meta(ge=1, le=10_000, description="How many messages are sent.")] = 50
    poison_every: Annotated[
        int, Meta(ge=2, le=10_000, description="Every so many messages, one is poison.")
    ] = 3

    def check(self) -> None:
        if self.poison_every > self.count:
            raise SettingsError(
                f"--poison-every {self.poison_every} of poison-partial-batch: it must be at most"
                f" --count, which is {self.count}; else there is no poison."
            )


class PoisonPartialBatch(Scenario):
    """A consumer that takes ten messages at a time finds poison among them."""

    claim = (
        "The good messages of a batch are done and deleted, and its poison alone is tried again"
        " and ends in the dead-letter queue."
    )
    protections = {
        "partial-batch": Protection(
            "A batch is answered for message by message. Without, one that fails takes the others"
            " of its batch along.",
            breaks=POISON_SET_ASIDE,
            because="dead-lettered that were good",
        )
    }
    Options = PoisonPartialBatchOptions

    async def setup(self, stage: Stage) -> None:
        ids = [stage.new_id() for _ in range(stage.options.count)]
        every = stage.options.poison_every
        self.poison = set(ids[every - 1 :: every])
        self.good = [each for each in ids if each not in self.poison]
        await stage.send(
            poison(each) if each in self.poison else work(each, stage.random) for each in ids
        )

    async def fault(self, stage: Stage) -> None:
        consumer = await stage.consume("consumer-1", MAX_MESSAGES=10, REJECT_PAYLOAD_MARKER=POISON)
        await stage.drained()
        await stage.terminate(consumer)

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from balanced(ledger)
        yield poison_set_aside(ledger, self.poison)
        yield received_as_often_as_allowed(ledger, self.poison, self.queues[0].max_receive_count)
        yield self._mixed(ledger)
        yield drained(ledger)
        yield effects_once(ledger, self.good)

    def _mixed(self, ledger: Ledger) -> Verdict:
        batches = ledger.batches()
        mixed = sum(bool(each & self.poison) and not each <= self.poison for each in batches)
        return Verdict(MIXED, mixed > 0, f"{mixed:,} of {len(batches):,} batches have both")
