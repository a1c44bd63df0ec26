"""Messages that can never be handled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.errors import SettingsError
from forebay.lab.ledger import Ledger
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
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


class PoisonOptions(ScenarioOptions, frozen=True, kw_only=True):
    count: Annotated[int, Meta(ge=1, le=10_000, description="How many messages are sent.")] = 5
    poison_count: Annotated[
        int, Meta(ge=1, le=10_000, description="How many of them are poison.")
    ] = 2

    def check(self) -> None:
        if self.poison_count > self.count:
            raise SettingsError(
                f"--poison-count {self.poison_count} of poison: it must be at most --count, which"
                f" is {self.count}."
            )


class Poison(Scenario):
    """Some messages fail each time they are tried, and would be tried for ever."""

    claim = "Poison ends in the dead-letter queue after its last receive, and all else is done."
    protections = {
        "dead-letter-queue": Protection(
            "The queue's redrive policy takes a message away that was received too often. Without,"
            " poison comes again until it expires.",
            breaks=POISON_SET_ASIDE,
            because="not in the dead-letter queue",
        )
    }
    Options = PoisonOptions

    def wanted_queues(self) -> Sequence[LabQueue]:
        return self.queues if self.on("dead-letter-queue") else (LabQueue(dead_letters=False),)

    async def setup(self, stage: Stage) -> None:
        ids = [stage.new_id() for _ in range(stage.options.count)]
        self.poison = set(stage.random.sample(ids, stage.options.poison_count))
        self.good = [each for each in ids if each not in self.poison]
        await stage.send(
            poison(each) if each in self.poison else work(each, stage.random) for each in ids
        )

    async def fault(self, stage: Stage) -> None:
        consumer = await stage.consume("consumer-1", REJECT_PAYLOAD_MARKER=POISON)
        await stage.until("the good ones are done and poison was tried often enough", self._over)
        await stage.terminate(consumer)

    def _over(self, ledger: Ledger) -> bool:
        if ledger.done < len(self.good):
            return False
        receives = ledger.receives()
        tried = all(receives[each] > LabQueue().max_receive_count for each in self.poison)
        return tried or ledger.dead >= len(self.poison)

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from balanced(ledger)
        yield poison_set_aside(ledger, self.poison)
        yield received_as_often_as_allowed(ledger, self.poison, self.queues[0].max_receive_count)
        yield drained(ledger)
        yield effects_once(ledger, self.good)
