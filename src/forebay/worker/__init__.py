"""The consumer's side: handlers, order, leases, acknowledgement and a drain with a ledger."""

from forebay.worker.drain import run_until_signalled
from forebay.worker.ledger import WorkerLedger
from forebay.worker.outcomes import Reject, Retry
from forebay.worker.queue import HIGH, LOW, MEDIUM, Priority, Queue
from forebay.worker.received import Received
from forebay.worker.routing import Router
from forebay.worker.settings import WorkerSettings
from forebay.worker.worker import Worker

__all__ = [
    "HIGH",
    "LOW",
    "MEDIUM",
    "Priority",
    "Queue",
    "Received",
    "Reject",
    "Retry",
    "Router",
    "Worker",
    "WorkerLedger",
    "WorkerSettings",
    "run_until_signalled",
]
