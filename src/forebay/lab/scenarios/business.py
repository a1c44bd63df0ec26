"""One piece of work that is sent twice."""

from __future__ import annotations

from collections.abc import Iterator

from forebay.apps.verdicts import Verdict
from forebay.lab.ledger import Ledger
from forebay.lab.scenario import Protection, Scenario
from forebay.lab.stage import Stage
from forebay.lab.verdicts import (
    EFFECTS_ONCE,
    all_sent,
    balanced,
    drained,
    effects_once,
    no_dead_letters,
    received_at_least,
)


class Business(Scenario):
    """Two messages with different ids ask for the same work: a double click, or a bug."""

    claim = "Two messages that stand for one order have one effect, and both are done."
    protections = {
        "business-key": Protection(
            "The consumer knows the work by the order it is for, and not by its message alone."
            " Without, each message has its effect.",
            breaks=EFFECTS_ONCE,
            because="1 performed more than once",
        )
    }

    async def setup(self, stage: Stage) -> None:
        self.order = f"order-{stage.random.randint(1, 9999)}"
        self.ids = [stage.new_id() for _ in range(2)]
        await stage.send(
            {"id": each, "order_id": self.order, "action": "charge"} for each in self.ids
        )

    async def fault(self, stage: Stage) -> None:
        stage.strike("the same order was sent twice")
        consumer = await stage.consume(
            "consumer-1", BUSINESS_IDEMPOTENCY_FIELD="order_id", MESSAGE_LIMIT=2
        )
        await stage.ended(consumer)

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from balanced(ledger)
        yield all_sent(ledger, self.ids)
        yield received_at_least(ledger, self.ids, 1)
        yield drained(ledger)
        yield no_dead_letters(ledger)
        yield effects_once(ledger, [self.order])
