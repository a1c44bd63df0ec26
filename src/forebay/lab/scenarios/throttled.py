"""SQS refuses calls above a rate."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.client.retry import NO_RETRY, RetryPolicy
from forebay.fault_injection import FaultRates
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.program import Program
from forebay.lab.scenario import (
    BrokerSettings,
    LabQueue,
    Protection,
    Scenario,
    ScenarioOptions,
)
from forebay.lab.stage import Stage
from forebay.lab.verdicts import (
    ALL_SENT,
    balanced,
    drained,
    effects_once,
    no_dead_letters,
)
from forebay.producer import Producer, ProducerSettings
from forebay.protocol.errors import REQUEST_THROTTLED
from forebay.worker import Received, Router, Worker

#: The producers that send at the same time.
_PRODUCERS = 3

#: How long a producer goes on trying, in seconds.
_PATIENCE_S = 600

THROTTLED = "SQS refused calls because there were too many"


class Throttled(Scenario):
    """SQS refuses calls above a rate, and everything arrives all the same, once."""

    claim = (
        "A refused call is tried again after a pause that grows: when SQS takes fewer calls than"
        " producers and workers want to make, everything is later, and nothing is lost or doubled."
    )
    queues = (LabQueue(max_receive_count=10),)
    protections: ClassVar[Mapping[str, Protection]] = {
        "retry": Protection(
            "The producer sends again what was refused. Without it that is not sent.",
            breaks=ALL_SENT,
            because="given up",
        ),
    }
    own_broker_only = "SQS refuses nobody at the rates of a lab."

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[int, Meta(ge=60, le=1_000, description="messages of each producer")] = 60
        calls: Annotated[
            int,
            Meta(ge=10, le=20, description="calls of each action that SQS takes in a second"),
        ] = 10

    def broker(self) -> BrokerSettings:
        return BrokerSettings(faults=FaultRates(calls_per_second=self.options.calls))

    async def setup(self, stage: Stage) -> None:
        self.numbers = [
            range(first, first + stage.options.count)
            for first in range(0, _PRODUCERS * stage.options.count, stage.options.count)
        ]
        for number in (1, 2):
            await stage.start(f"worker-{number}", welcome)

    async def fault(self, stage: Stage) -> None:
        stage.strike(f"{_PRODUCERS} producers send as fast as they can")
        producers = [
            await stage.start(f"producer-{index + 1}", publish, numbers=numbers)
            for index, numbers in enumerate(self.numbers)
        ]
        for producer in producers:
            await stage.ended(producer, _PATIENCE_S)
        await stage.drained()

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from balanced(ledger)
        yield self._throttled(ledger)
        yield self._all_sent(ledger)
        yield drained(ledger)
        yield no_dead_letters(ledger)
        yield effects_once(ledger, [_name(each) for part in self.numbers for each in part])

    def _all_sent(self, ledger: Ledger) -> Verdict:
        wanted = sum(map(len, self.numbers))
        sent = len({event.identity for event in ledger.of(Kind.SENT)})
        given_up = f"; {wanted - sent:,} were refused and given up" if sent < wanted else ""
        return Verdict(ALL_SENT, sent == wanted, f"{sent:,} of {wanted:,}{given_up}")

    def _throttled(self, ledger: Ledger) -> Verdict:
        refused = [each for each in ledger.of(Kind.NOT_SENT) if REQUEST_THROTTLED.name in each.text]
        reasons = sorted({event.text.partition(": ")[2] for event in refused})
        times = Counter(event.identity for event in refused)
        most = max(times.values(), default=0)
        return Verdict(
            THROTTLED,
            bool(refused),
            f"{len(times):,} messages were refused, up to {most:,} times each: {' '.join(reasons)}",
        )


def _name(number: int) -> str:
    return f"customer-{number}"


async def publish(lab: Program, *, numbers: Sequence[int]) -> None:
    """Publish a message for each customer, all at the same time, two a call."""
    retry = RetryPolicy(deadline_ms=_PATIENCE_S * 1000) if lab.on("retry") else NO_RETRY
    settings = ProducerSettings(batch_size=2, concurrency=32)
    async with Producer(
        lab.client, lab.queue_url, settings=settings, retry=retry, clock=lab.clock
    ) as producer:
        sending = [producer.publish("welcome", {"customer": _name(each)}) for each in numbers]
        answers = await asyncio.gather(*sending, return_exceptions=True)
    given_up = sum(isinstance(each, Exception) for each in answers)
    if given_up:
        lab.events.write(Kind.NOTE, text=f"{given_up:,} messages were given up")


async def welcome(lab: Program) -> None:
    """Welcome the customer of each message."""
    router = Router()

    @router.handler("welcome", dict)
    async def handle(received: Received[dict[str, Any]]) -> None:
        await lab.outside.perform("welcome", received.payload["customer"], key=received.id)

    await lab.work(Worker(lab.client, lab.queue_url, router, clock=lab.clock))
