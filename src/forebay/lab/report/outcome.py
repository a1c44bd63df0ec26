"""How a run ended, in words."""

from __future__ import annotations

import re

from msgspec import Struct

from forebay.apps.verdicts import Verdict
from forebay.lab.runner import Result


class Outcome(Struct, frozen=True):
    """The verdict of a run, and why it is that."""

    #: PASS or FAIL.
    word: str
    #: What is said of the whole; empty when the reasons say it all.
    remark: str
    reasons: tuple[str, ...]


def outcome(result: Result) -> Outcome:
    """The verdict of a run. Without a protection it should be FAIL, for the reason it states."""
    without = " and ".join(result.without)
    if result.passed:
        held = len(result.verdicts)
        reason = f"{held:,} of {held:,} invariants hold"
        surprise = f"a surprise: it was to fail without {without}" if without else ""
        return Outcome("PASS", surprise, (reason,))
    broken = sorted(result.broken, key=lambda each: not stated(result, each))
    reasons = tuple(f"{each.invariant}: {each.detail}".rstrip(": ") for each in broken)
    if result.error is not None:
        return Outcome("FAIL", "it could not be run to its end", (result.error, *reasons))
    if not result.verdicts:
        return Outcome("FAIL", "", ("it gave no verdict",))
    if not without:
        return Outcome("FAIL", "", reasons)
    if failed_as_stated(result):
        return Outcome("FAIL", f"as it must without {without}", reasons)
    meant = "; ".join(f"“{each.breaks}”" for each in result.protections)
    return Outcome("FAIL", f"not as stated: without {without} it was to break {meant}", reasons)


def failed_as_stated(result: Result) -> bool:
    """Whether a run came to its end and broke what a protection that is off says."""
    return result.error is None and any(stated(result, each) for each in result.broken)


def stated(result: Result, broken: Verdict) -> bool:
    """Whether a broken verdict is what a protection that is off says is broken without it."""
    return any(
        protection.breaks == broken.invariant and re.search(protection.because, broken.detail)
        for protection in result.protections
    )


def books(result: Result) -> list[str]:
    """The ledger of each queue as an equation."""
    return [f"{queue.name}: {queue}" if queue.name else f"{queue}" for queue in result.queues]
