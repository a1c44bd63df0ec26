"""A duplicate delivery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.errors import SettingsError
from forebay.lab.ledger import Ledger
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.sender.payloads import work
from forebay.lab.stage import Stage
from forebay.lab.verdicts import (
    EFFECTS_ONCE,
    all_done,
    effects_once,
    ended_well,
    received_at_least,
)

#: How long the first consumer is at work at least when the second one starts, in seconds.
_AT_WORK_S = 5.0

#: Seconds without a message after which a consumer gives up: longer than the visibility timeout.
_IDLE_S = 60


class DupOptions(ScenarioOptions, frozen=True, kw_only=True):
    slow_seconds: Annotated[
        float,
        Meta(
            ge=15,
            le=600,
            description="How long the effect takes, in seconds: longer than the queue's visibility"
            " timeout, which is 10.",
        ),
    ] = 30.0
    second_start_delay: Annotated[
        float, Meta(ge=0, description="How much later the second consumer starts, in seconds.")
    ] = 0.0

    def check(self) -> None:
        most_s = self.slow_seconds - _AT_WORK_S
        if self.second_start_delay > most_s:
            raise SettingsError(
                f"--second-start-delay {self.second_start_delay:g} of dup: it must be at most"
                f" {most_s:g}, which is {_AT_WORK_S:g} less than --slow-seconds; else the first"
                " consumer is done before the second has begun."
            )


class Dup(Scenario):
    """Work that takes longer than the visibility timeout is handed out again while it goes on."""

    claim = "A message that is received twice has its effect once."
    # A duplicate that finds the effect under way is given back, and that spends a receive.
    queues = (LabQueue(max_receive_count=20),)
    protections = {
        "idempotency": Protection(
            "Whoever begins an effect holds its key, and others wait or see that it is done."
            " Without, each receive performs it.",
            breaks=EFFECTS_ONCE,
            because="1 performed more than once",
        )
    }
    Options = DupOptions

    async def setup(self, stage: Stage) -> None:
        self.id = stage.new_id()
        await stage.send([work(self.id, stage.random)])

    async def fault(self, stage: Stage) -> None:
        stage.strike("nobody extends the visibility timeout")
        slow = {
            "SIDE_EFFECT_DELAY_SECONDS": stage.options.slow_seconds,
            "MESSAGE_LIMIT": 1,
            "IDLE_TIMEOUT_SECONDS": _IDLE_S,
        }
        first = await stage.consume("consumer-1", heartbeat=False, **slow)
        await stage.sleep(stage.options.second_start_delay)
        second = await stage.consume("consumer-2", heartbeat=False, **slow)
        await stage.ended(first)
        await stage.ended(second)

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        yield effects_once(ledger, [self.id])
        yield received_at_least(ledger, [self.id], 2)
        yield ended_well(ledger, "consumer-1")
        yield ended_well(ledger, "consumer-2")
