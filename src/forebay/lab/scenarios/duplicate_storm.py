"""Everything comes several times at once: from its senders, and from SQS."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.fault_injection import FaultRates
from forebay.idempotency import Attempt, Guard
from forebay.lab.ledger import Ledger
from forebay.lab.program import Program
from forebay.lab.scenario import BrokerSettings, LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import (
    EFFECTS_ONCE,
    all_done,
    effects_once,
)
from forebay.worker import Received, Router, Worker, WorkerSettings

#: The workers that are at it at the same time.
_WORKERS = 3

#: The longest that an effect takes, in seconds.
_EFFECT_MAX_S = 2.0


class DuplicateStorm(Scenario):
    """Each order is sent twice and each message delivered twice, to several workers at once."""

    claim = (
        "However often an order comes, from its sender or from SQS, and however many workers have"
        " it at the same time, it is charged once."
    )
    # Each copy that finds another at work goes back, and that spends a receive.
    queues = (LabQueue(max_receive_count=100),)
    protections = {
        "idempotency": Protection(
            "A worker holds the keys of an order while it charges it, and hands its key on."
            " Without, it charges whatever it receives.",
            breaks=EFFECTS_ONCE,
            because="performed more than once",
        ),
        "business-key": Protection(
            "The key of an effect is what it is about: the order. Without, it is the message, and"
            " the second message of an order is another one.",
            breaks=EFFECTS_ONCE,
            because="performed more than once",
        ),
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[int, Meta(ge=1, le=5_000, description="Orders; each is sent twice.")] = 40
        duplicate: Annotated[
            float,
            Meta(ge=0, le=1, description="The part of the messages that SQS delivers twice."),
        ] = 0.9

    def broker(self) -> BrokerSettings:
        return BrokerSettings(faults=FaultRates(duplicate=self.options.duplicate, reorder=1.0))

    async def setup(self, stage: Stage) -> None:
        self.orders = [stage.new_id()[:8] for _ in range(stage.options.count)]
        #: By the id of a message.
        self.order_of: dict[str, str] = {}
        for number in range(_WORKERS):
            await stage.start(f"worker-{number + 1}", charge)

    async def fault(self, stage: Stage) -> None:
        stage.strike("two senders send every order, and SQS delivers messages twice")

        async def send(number: int) -> None:
            orders = stage.random.sample(self.orders, len(self.orders))
            messages = {stage.new_id(): order for order in orders}
            self.order_of.update(messages)
            payloads = ({"id": each, "order": order} for each, order in messages.items())
            await stage.send(payloads, process=f"producer-{number}")

        await asyncio.gather(send(1), send(2))
        await stage.drained()

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        yield effects_once(ledger, self.orders, "charge")
        yield self._stormed(ledger)

    def _stormed(self, ledger: Ledger) -> Verdict:
        receives: Counter[str] = Counter()
        for each, times in ledger.receives().items():
            receives[self.order_of[each]] += times
        fewest = min(receives[order] for order in self.orders)
        return Verdict(
            "every order comes several times",
            fewest >= 2,
            f"{receives.total():,} receives of {len(self.order_of):,} messages;"
            f" {fewest:,} to {max(receives.values()):,} of each order",
        )


async def charge(lab: Program) -> None:
    """A worker that charges orders."""
    store = await lab.store()
    # Long enough for the one that is at it, so that few copies have to come again.
    guard = Guard(store, clock=lab.clock, wait_ms=round(2 * _EFFECT_MAX_S * 1000))
    fields = ("order",) if lab.on("business-key") else ()
    router = Router()

    @router.default
    async def handle(received: Received[str]) -> None:
        order = json.loads(received.text)["order"]

        async def effect(attempt: Attempt | None) -> None:
            await lab.clock.sleep(lab.random.uniform(0, _EFFECT_MAX_S))
            await lab.outside.perform("charge", order, key=attempt.key if attempt else None)

        if lab.on("idempotency"):
            await guard.once(received, effect, by=fields, action="charge", ignore=("id",))
        else:
            await effect(None)

    settings = WorkerSettings(concurrency=20, pollers=2)
    await lab.work(Worker(lab.client, lab.queue_url, router, clock=lab.clock, settings=settings))
