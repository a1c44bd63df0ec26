"""Snapshots of workers as the tests of those who look at them need them."""

from __future__ import annotations

from typing import Any

from forebay.observability.view import ProcessState, ProcessView, WorkersView
from forebay.worker.ledger import WorkerLedger
from forebay.worker.snapshot import (
    BufferSnapshot,
    Decision,
    Histogram,
    PoolSnapshot,
    QueueSnapshot,
    WorkerSnapshot,
)


def histogram(*values_ms: float) -> Histogram:
    made = Histogram()
    for value_ms in values_ms:
        made.add(value_ms)
    return made


def queue(name: str = "orders", priority: int = 3, **fields: Any) -> QueueSnapshot:
    """A queue that is polled and whose polls are answered."""
    usual: dict[str, Any] = {
        "polls": 1,
        "wait_s": 2.0,
        "answered_ago_s": 1.0,
        "visible": 7,
        "in_flight": 2,
        "delayed": 0,
        "handling": histogram(),
    }
    return QueueSnapshot(name=name, priority=priority, **usual | fields)


def ledger(**counts: int) -> WorkerLedger:
    return WorkerLedger(**counts)


def buffer(priority: int = 3, **fields: Any) -> BufferSnapshot:
    usual: dict[str, Any] = {"size": 0, "capacity": 8, "wait": histogram()}
    return BufferSnapshot(priority=priority, **usual | fields)


def decision(**fields: Any) -> Decision:
    usual: dict[str, Any] = {
        "at_ms": 1_700_000_000_000,
        "pool": "processors",
        "before": 4,
        "after": 8,
        "reason": "the backlog grows",
        "inputs": {"visible": 7.0},
    }
    return Decision(**usual | fields)


def worker(*queues: QueueSnapshot, **fields: Any) -> WorkerSnapshot:
    usual: dict[str, Any] = {
        "at_ms": 1_700_000_000_000,
        "process_id": 11,
        "state": "working",
        "buffers": [],
        "pollers": PoolSnapshot(target=2, busy=1, least=1, most=4),
        "processors": PoolSnapshot(target=4, busy=1, least=1, most=8),
        "decisions": [],
    }
    return WorkerSnapshot(queues=list(queues or (queue(),)), **usual | fields)


def process(snapshot: WorkerSnapshot | None = None, **fields: Any) -> ProcessView:
    usual: dict[str, Any] = {
        "number": 1,
        "process_id": 11,
        "state": ProcessState.WORKING,
        "up_s": 60.0,
        "heard_ago_s": 0.5,
        "snapshot": snapshot or worker(),
    }
    return ProcessView(**usual | fields)


def view(*processes: ProcessView, at_ms: int = 1_700_000_000_000) -> WorkersView:
    return WorkersView(at_ms=at_ms, processes=list(processes or (process(),)))
