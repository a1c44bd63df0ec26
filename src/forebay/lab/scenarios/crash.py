"""A crash, and what becomes of the message that was in hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.scenario import Protection, Scenario, ScenarioOptions
from forebay.lab.sender.payloads import work
from forebay.lab.stage import Stage
from forebay.lab.verdicts import (
    EFFECTS_ONCE,
    all_done,
    crashed_at_work,
    effects_once,
    ended_well,
    received_at_least,
)

COMES_AGAIN = "it comes again when its visibility timeout is over, and not before"

#: How exactly times are told, in seconds.
_ROUNDING_S = 0.1


class CrashOptions(ScenarioOptions, frozen=True, kw_only=True):
    visibility_wait: Annotated[
        float,
        Meta(ge=0, description="How long the second consumer waits to start, in seconds."),
    ] = 15.0


class Crash(Scenario):
    """A consumer dies with a message in its hands, and another one takes the message up."""

    claim = (
        "A message whose consumer dies is handed out again after its visibility timeout, and its"
        " effect happens once."
    )
    protections = {
        "late-delete": Protection(
            "A message is deleted when it has been handled, not when it comes. Without, it is"
            " deleted first, and a crash takes it along.",
            breaks=EFFECTS_ONCE,
            because="1 never performed",
        )
    }
    Options = CrashOptions

    async def setup(self, stage: Stage) -> None:
        self.id = stage.new_id()
        await stage.send([work(self.id, stage.random)])

    async def fault(self, stage: Stage) -> None:
        first = await stage.consume("consumer-1", CRASH_AFTER_RECEIVE=1)
        await stage.ended(first)
        stage.strike("consumer-1 has crashed")
        await stage.sleep(stage.options.visibility_wait)
        second = await stage.consume("consumer-2", MESSAGE_LIMIT=1, IDLE_TIMEOUT_SECONDS=20)
        await stage.ended(second)

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        yield effects_once(ledger, [self.id])
        yield crashed_at_work(ledger, "consumer-1")
        yield received_at_least(ledger, [self.id], 2)
        yield self._hidden_meanwhile(ledger)
        yield ended_well(ledger, "consumer-2")

    def _hidden_meanwhile(self, ledger: Ledger) -> Verdict:
        """It was sent before it was received first, and nobody knows better when SQS hid it."""
        (sent, *_) = (each.at_ms for each in ledger.of(Kind.SENT))
        again_s = [
            (each.at_ms - sent) / 1000
            for each in ledger.of(Kind.RECEIVED)
            if each.process != "consumer-1"
        ]
        least_s = self.queues[0].visibility_s
        return Verdict(
            COMES_AGAIN,
            bool(again_s) and again_s[0] >= least_s - _ROUNDING_S,
            f"received again {again_s[0]:.1f} s after it was sent; its visibility timeout is"
            f" {least_s} s"
            if again_s
            else "it was not received again",
        )
