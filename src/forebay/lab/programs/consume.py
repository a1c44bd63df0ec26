"""The consumer of document 001, as a process of a run."""

from __future__ import annotations

from collections.abc import Mapping

from forebay.lab.consumer import PROTECTIONS, Step, StepKind, read_settings
from forebay.lab.consumer import consume as run_consumer
from forebay.lab.events import Kind
from forebay.lab.program import Program

#: What the consumer's steps are on the timeline. Performed effects are in the ledger of the service
#: outside.
_KINDS = {
    StepKind.APPLIED: Kind.APPLIED,
    StepKind.SKIPPED: Kind.SKIPPED,
    StepKind.FAILED: Kind.NOTE,
    StepKind.CRASH: Kind.FAULT,
}


async def consume(lab: Program, *, variables: Mapping[str, str], heartbeat: bool = True) -> None:
    """Consume as the variables say, without the protections that are off in this run."""
    without = set(lab.without & PROTECTIONS.keys())
    if not heartbeat:
        without.add("heartbeat")

    def note(step: Step) -> None:
        kind = _KINDS.get(step.kind)
        if kind is not None:
            text = f"{lab.name}: {step.text}" if kind is Kind.FAULT else step.text
            lab.events.write(kind, id=step.id, subject=step.subject, value=step.value, text=text)

    await run_consumer(
        read_settings(variables),
        client=lab.client,
        clock=lab.clock,
        without=without,
        note=note,
        seed=lab.random.getrandbits(64),
        caller=lab.name,
    )
