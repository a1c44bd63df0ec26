"""A scenario for tests: a worker is killed with letters in its hands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, ClassVar

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.lab.ledger import Ledger
from forebay.lab.program import Program
from forebay.lab.scenario import Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import EFFECTS_ONCE, balanced, drained, effects_once
from forebay.worker import Received, Router, Worker, WorkerSettings


class Letters(Scenario):
    """A worker is killed with letters in its hands."""

    claim = "Each letter is mailed once."
    protections: ClassVar = {
        "key": Protection(
            "The mail is asked for with an Idempotency-Key.",
            breaks=EFFECTS_ONCE,
            because="performed more than once",
        )
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[int, Meta(ge=2, le=100, description="Letters.")] = 5
        slow_seconds: Annotated[float, Meta(ge=0, description="How long one takes.")] = 2.0
        break_off: Annotated[bool, Meta(description="Have a mistake in the scenario.")] = False

    options: Options

    async def setup(self, stage: Stage) -> None:
        self.ids = [stage.new_id() for _ in range(self.options.count)]
        await stage.send({"id": each} for each in self.ids)

    async def fault(self, stage: Stage) -> None:
        first = await stage.start("worker-1", mail, slow_s=self.options.slow_seconds, keyed=True)
        await stage.until("one is mailed", lambda ledger: len(ledger.effects) > 0)
        await stage.kill(first)
        if self.options.break_off:
            raise ValueError("[red]a mistake")
        second = await stage.start("worker-2", mail, slow_s=0.0, keyed=stage.on("key"))
        await stage.drained()
        await stage.terminate(second)

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from balanced(ledger)
        yield drained(ledger)
        yield effects_once(ledger, self.ids)


async def mail(lab: Program, *, slow_s: float, keyed: bool) -> None:
    """Mail each letter, then wait before it is done."""
    router = Router()

    @router.default
    async def handle(received: Received[str]) -> None:
        subject = json.loads(received.text)["id"]
        await lab.outside.perform("mail", subject, key=subject if keyed else None)
        await lab.clock.sleep(slow_s)

    settings = WorkerSettings(concurrency=1, pollers=1)
    await lab.work(Worker(lab.client, lab.queue_url, router, clock=lab.clock, settings=settings))
