"""Backlog drain: what piled up while nobody consumed is worked off, once each and not too late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.errors import SettingsError
from forebay.fault_injection import FaultRates
from forebay.idempotency import CheckBeforeDoing, Guard
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.program import Program
from forebay.lab.scenario import BrokerSettings, LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import (
    EFFECTS_ONCE,
    all_done,
    effects_once,
    named,
)
from forebay.worker import Received, Router, Worker, WorkerSettings

NOT_LATE = "no stale message is done late"
SKIPPED = "every stale message is skipped, and counted"
TOGETHER = "several consumers drained the backlog"

#: What is done for a message, and how long that takes, in seconds: nobody drains the backlog alone
#: before the others are there.
NOTIFY = "notify"
_WORK_S = 0.5


class BacklogDrain(Scenario):
    """Messages pile up while the consumers are away, and are then worked off under load."""

    claim = (
        "A backlog is worked off by several consumers with each effect once, and what has become"
        " too old meanwhile is skipped and counted."
    )
    # Copies count as receives too, and none of these messages is poison.
    queues = (LabQueue(max_receive_count=20),)
    protections: ClassVar[Mapping[str, Protection]] = {
        "idempotency": Protection(
            "An effect is done once for each id, under a lease and with an Idempotency-Key. Without"
            " it every delivery does it.",
            breaks=EFFECTS_ONCE,
            because="performed more than once: ",
        ),
        "age-limit": Protection(
            "A message that is older than the limit, by the time in it, is skipped. Without it it"
            " is done, however old it is.",
            breaks=NOT_LATE,
            because="stale and done nevertheless: ",
        ),
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[
            int, Meta(ge=20, le=100_000, description="Messages that pile up, duplicates aside.")
        ] = 60
        duplicates: Annotated[
            int, Meta(ge=1, le=10_000, description="How many of them are sent twice.")
        ] = 15
        stale: Annotated[
            int, Meta(ge=1, le=10_000, description="How many of them are too old when they come.")
        ] = 12
        outage: Annotated[
            float, Meta(ge=0, le=600, description="Seconds that the consumers stay away.")
        ] = 3.0
        age_limit: Annotated[
            float, Meta(ge=900, le=86_400, description="Age in seconds from which one is stale.")
        ] = 900.0
        consumers: Annotated[
            int, Meta(ge=2, le=50, description="Consumers that drain the backlog.")
        ] = 4

        def check(self) -> None:
            if self.stale >= self.count:
                raise SettingsError(
                    f"--stale {self.stale} of backlog-drain: it must be below --count, which is"
                    f" {self.count}; else there is nothing to do."
                )

    def broker(self) -> BrokerSettings:
        return BrokerSettings(faults=FaultRates(duplicate=0.1, reorder=0.3))

    async def setup(self, stage: Stage) -> None:
        options, chance = self.options, stage.random
        now_ms = stage.clock.wall_ms()
        messages = []
        for number in range(options.count):
            # Twice the limit at least: nothing can become stale, or fresh, by a slow machine.
            age_s = options.age_limit * chance.uniform(2, 20) if number < options.stale else 0.0
            messages.append({"id": stage.new_id(), "written_at_ms": now_ms - round(age_s * 1000)})
        self.stale = {str(each["id"]) for each in messages[: options.stale]}
        self.fresh = {str(each["id"]) for each in messages[options.stale :]}
        again = chance.choices(messages[options.stale :], k=options.duplicates)
        burst = messages + again
        chance.shuffle(burst)
        stage.strike("all consumers are away")
        await stage.send(burst)
        await stage.sleep(options.outage)

    async def fault(self, stage: Stage) -> None:
        options = self.options
        stage.strike(f"{options.consumers} consumers come back")
        consumers = {
            name: await stage.start(name, notify, age_limit_s=options.age_limit)
            for name in (f"consumer-{number}" for number in range(1, options.consumers + 1))
        }
        third = options.count // 3
        ledger = await stage.until(f"{third} are done", lambda ledger: ledger.done >= third)
        # The one that did most, so that the rest is for others.
        ((busiest, _),) = Counter(event.process for event in ledger.of(Kind.DELETED)).most_common(1)
        await stage.kill(consumers[busiest])
        await stage.drained()

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        done = ledger.effects_by_subject(NOTIFY)
        late = self.stale & done.keys()
        expected = self.fresh | late
        yield effects_once(ledger, expected, NOTIFY)
        yield Verdict(NOT_LATE, not late, named(late, "stale and done nevertheless"))
        skipped = {event.identity for event in ledger.of(Kind.SKIPPED)}
        uncounted = self.stale - skipped - late
        wrongly = skipped - self.stale
        yield Verdict(
            SKIPPED,
            not uncounted and not wrongly,
            f"{len(skipped)} skipped of {len(self.stale)} stale"
            + (f"; {named(wrongly, 'skipped and not stale')}" if wrongly else ""),
        )
        at_work = {event.process for event in ledger.of(Kind.DELETED)}
        yield Verdict(
            TOGETHER,
            len(at_work) > 1,
            f"{', '.join(sorted(at_work))} took part; {_pace(ledger)}",
        )


def _pace(ledger: Ledger) -> str:
    """How long the drain took, and how old the oldest message was at its end."""
    deleted = [event.at_ms for event in ledger.of(Kind.DELETED)]
    received = [event.at_ms for event in ledger.of(Kind.RECEIVED)]
    sent = [event.at_ms for event in ledger.of(Kind.SENT)]
    if not deleted or not received or not sent:
        return "nothing was drained"
    return (
        f"{ledger.done:,} messages in {(max(deleted) - min(received)) / 1000:.1f} s, the last one"
        f" {(max(deleted) - min(sent)) / 1000:.1f} s after the first was sent"
    )


async def notify(lab: Program, *, age_limit_s: float) -> None:
    """A consumer that notifies somebody by each message that is not too old."""
    store = await lab.store()
    checked = CheckBeforeDoing(Guard(store, clock=lab.clock), store)
    router = Router()

    @router.raw(dict[str, Any])
    async def handle(received: Received[dict[str, Any]]) -> None:
        subject = received.payload["id"]
        age_s = (lab.clock.wall_ms() - received.payload["written_at_ms"]) / 1000
        if lab.on("age-limit") and age_s > age_limit_s:
            lab.events.write(Kind.SKIPPED, id=subject, value=age_s, text="stale")
            return
        await lab.clock.sleep(_WORK_S)
        if not lab.on("idempotency"):
            await lab.outside.perform(NOTIFY, subject)
            return
        await checked.once(
            received,
            lambda attempt: lab.outside.perform(NOTIFY, subject, key=attempt.key),
            by=("id",),
            action=NOTIFY,
        )

    settings = WorkerSettings(concurrency=2, pollers=1, wait_s=1)
    await lab.work(Worker(lab.client, lab.queue_url, router, settings=settings, clock=lab.clock))
