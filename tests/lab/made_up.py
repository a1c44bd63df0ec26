"""A run that has not happened, for tests of what is shown of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from forebay.apps.verdicts import Verdict
from forebay.lab.events import Event, Kind
from forebay.lab.ledger import QueueLedger, Reading
from forebay.lab.outside.ledger import PerformedEffect
from forebay.lab.runner import Result
from forebay.lab.scenario import Protection

#: When the run began, in its own time.
BEGAN_MS = 1_700_000_000_000

QUEUE, DEAD = "sqs-demo-letters-queue", "sqs-demo-letters-dlq"

HOLDS = Verdict("the queue is empty", True, "0 visible and 0 in flight")
BROKEN = Verdict("each effect is performed once", False, "3 performed; 1 performed more than once")
KEY = Protection("A key.", breaks="each effect is performed once", because="more than once")
LUCK = Protection("Luck.", breaks="the queue is empty")


def event(at_s: float, kind: Kind, process: str = "worker-1", **fields: Any) -> Event:
    """What happened so many seconds after the beginning."""
    return Event(at_ms=BEGAN_MS + round(at_s * 1000), kind=kind, process=process, **fields)


def effect(at_s: float, subject: str, caller: str, key: str | None = None) -> PerformedEffect:
    """A mail."""
    return PerformedEffect(
        number=1,
        at_ms=BEGAN_MS + round(at_s * 1000),
        action="mail",
        subject=subject,
        key=key,
        body=msgspec.Raw(b"{}"),
        caller=caller,
    )


def depths(at_s: float, visible: int, in_flight: int, dead: int, queue: str = QUEUE) -> list[Event]:
    """What is counted in a queue at a moment."""
    counts = {"visible": visible, "in flight": in_flight, "dead-lettered": dead}
    return [
        event(at_s, Kind.DEPTH, "lab", queue=queue, subject=subject, value=value)
        for subject, value in counts.items()
    ]


#: A letter is received, its worker is killed, and another one is done with it.
EVENTS = (
    event(1.0, Kind.STARTED, "producer"),
    event(1.5, Kind.SENT, "producer", queue=QUEUE, id="a"),
    event(2.0, Kind.STARTED),
    event(2.5, Kind.RECEIVED, queue=QUEUE, id="a", receives=1),
    *depths(2.6, 0, 1, 0),
    event(3.0, Kind.FAULT, "lab", text="worker-1 is killed"),
    event(3.1, Kind.ENDED, "lab", subject="producer", value=0),
    event(3.1, Kind.ENDED, "lab", subject="worker-1", value=-9),
    event(3.5, Kind.STARTED, "worker-2"),
    event(12.5, Kind.RECEIVED, "worker-2", queue=QUEUE, id="a", receives=2),
    event(12.6, Kind.APPLIED, "worker-2", subject="door-7", value=3, id="a"),
    event(12.8, Kind.DELETED, "worker-2", queue=QUEUE, id="a"),
    *depths(13.0, 0, 0, 0),
)


def made_up(**changes: Any) -> Result:
    """A run that passed, but for what is changed about it."""
    result = Result(
        scenario="letters",
        title="A worker is killed with letters in its hands.",
        claim="Each letter is mailed once.",
        seed=7,
        without=(),
        options={"count": 1},
        verdicts=(HOLDS,),
        error=None,
        queues=(
            QueueLedger(name="", sent=1, done=1, visible=0, in_flight=0, dead=0, expired=0, lost=0),
        ),
        events=EVENTS,
        effects=(effect(12.7, "a", "worker-2", "k-1"),),
        readings=(
            Reading(
                name="",
                queue=QUEUE,
                dead_queue=DEAD,
                visible=0,
                in_flight=0,
                delayed=0,
                dead=0,
                retention_s=60,
            ),
        ),
        began_ms=BEGAN_MS,
        seconds=1.3,
        time_scale=10.0,
    )
    return msgspec.structs.replace(result, **changes)


def without(protections: Sequence[Protection], *verdicts: Verdict) -> Result:
    """A run without protections."""
    names = {KEY: "key", LUCK: "luck"}
    return made_up(
        without=tuple(names[each] for each in protections),
        protections=tuple(protections),
        verdicts=verdicts,
    )
