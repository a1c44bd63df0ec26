"""Runs as `forebay lab run --json` writes them. docs/reference/lab-report.md has the meanings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from forebay.apps.verdicts import Verdict
from forebay.lab.ledger import QueueLedger
from forebay.lab.report.outcome import failed_as_stated, outcome
from forebay.lab.runner import Result

#: Raised when a field goes or means something else. New fields leave it as it is.
VERSION = 1


class QueueRecord(Struct, frozen=True, kw_only=True):
    """Where the messages of a queue were at the end."""

    name: str
    queue: str
    dead_letter_queue: str | None
    sent: int
    done: int
    visible: int
    in_flight: int
    dead_lettered: int
    expired: int
    purged: int
    lost: int


class RunRecord(Struct, frozen=True, kw_only=True):
    """A run of a scenario."""

    scenario: str
    title: str
    claim: str
    seed: int
    without: tuple[str, ...]
    options: dict[str, Any]
    passed: bool
    failed_as_stated: bool | None
    remark: str
    error: str | None
    verdicts: tuple[Verdict, ...]
    queues: tuple[QueueRecord, ...]
    events: dict[str, int]
    effects: dict[str, int]
    seconds: float
    time_scale: float


class LabRecord(Struct, frozen=True, kw_only=True):
    """The runs of a command."""

    version: int
    forebay: str
    passed: bool
    runs: tuple[RunRecord, ...]


def lab_record(results: Sequence[Result], release: str) -> LabRecord:
    """The runs of a command of this release of Forebay."""
    return LabRecord(
        version=VERSION,
        forebay=release,
        passed=all(result.passed for result in results),
        runs=tuple(_run(result) for result in results),
    )


def as_json(record: LabRecord) -> bytes:
    """The file's content."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def _run(result: Result) -> RunRecord:
    names = {reading.name: reading for reading in result.readings}
    return RunRecord(
        scenario=result.scenario,
        title=result.title,
        claim=result.claim,
        seed=result.seed,
        without=result.without,
        options=result.options,
        passed=result.passed,
        failed_as_stated=failed_as_stated(result) if result.without else None,
        remark=outcome(result).remark,
        error=result.error,
        verdicts=result.verdicts,
        queues=tuple(
            _queue(queue, names[queue.name].queue, names[queue.name].dead_queue)
            for queue in result.queues
        ),
        events=dict(sorted(Counter(event.kind.value for event in result.events).items())),
        effects=dict(sorted(Counter(effect.action for effect in result.effects).items())),
        seconds=round(result.seconds, 3),
        time_scale=result.time_scale,
    )


def _queue(books: QueueLedger, queue: str, dead_queue: str | None) -> QueueRecord:
    return QueueRecord(
        name=books.name,
        queue=queue,
        dead_letter_queue=dead_queue,
        sent=books.sent,
        done=books.done,
        visible=books.visible,
        in_flight=books.in_flight,
        dead_lettered=books.dead,
        expired=books.expired,
        purged=books.purged,
        lost=books.lost,
    )
