"""Forebay: an SQS-native queue system for Python.

The public names. Each is imported from its package when it is first used, so that a program pays
for the parts that it uses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forebay.app import App
    from forebay.broker.embedded import EmbeddedBroker
    from forebay.client.base import SqsClient
    from forebay.client.http import HttpSqsClient
    from forebay.client.retry import NO_RETRY, RetryPolicy
    from forebay.errors import ForebayError, ServiceUnreachable
    from forebay.idempotency.guard import Guard
    from forebay.messages.envelope import Envelope
    from forebay.producer.background import BackgroundProducer
    from forebay.producer.producer import Producer
    from forebay.producer.settings import ProducerSettings
    from forebay.protocol.errors import SqsError
    from forebay.worker.breaker import CircuitBreaker
    from forebay.worker.drain import run_until_signalled
    from forebay.worker.limits import Limit
    from forebay.worker.outcomes import PartlyFailed, Reject, Retry
    from forebay.worker.packs import Pack, Record
    from forebay.worker.permits import PoolPermit
    from forebay.worker.queue import HIGH, LOW, MEDIUM, Priority, Queue
    from forebay.worker.received import Received
    from forebay.worker.routing import Router
    from forebay.worker.scaling.document_002 import Document002
    from forebay.worker.scaling.littles_law import LittlesLaw
    from forebay.worker.settings import WorkerSettings
    from forebay.worker.worker import Worker

__version__ = "0.1.0"

#: Where each public name comes from.
_MODULES = {
    "App": "forebay.app",
    "BackgroundProducer": "forebay.producer.background",
    "CircuitBreaker": "forebay.worker.breaker",
    "Document002": "forebay.worker.scaling.document_002",
    "EmbeddedBroker": "forebay.broker.embedded",
    "Envelope": "forebay.messages.envelope",
    "ForebayError": "forebay.errors",
    "Guard": "forebay.idempotency.guard",
    "HIGH": "forebay.worker.queue",
    "HttpSqsClient": "forebay.client.http",
    "LOW": "forebay.worker.queue",
    "Limit": "forebay.worker.limits",
    "LittlesLaw": "forebay.worker.scaling.littles_law",
    "MEDIUM": "forebay.worker.queue",
    "NO_RETRY": "forebay.client.retry",
    "Pack": "forebay.worker.packs",
    "PartlyFailed": "forebay.worker.outcomes",
    "PoolPermit": "forebay.worker.permits",
    "Priority": "forebay.worker.queue",
    "Producer": "forebay.producer.producer",
    "ProducerSettings": "forebay.producer.settings",
    "Queue": "forebay.worker.queue",
    "Received": "forebay.worker.received",
    "Record": "forebay.worker.packs",
    "Reject": "forebay.worker.outcomes",
    "Retry": "forebay.worker.outcomes",
    "RetryPolicy": "forebay.client.retry",
    "Router": "forebay.worker.routing",
    "ServiceUnreachable": "forebay.errors",
    "SqsClient": "forebay.client.base",
    "SqsError": "forebay.protocol.errors",
    "Worker": "forebay.worker.worker",
    "WorkerSettings": "forebay.worker.settings",
    "run_until_signalled": "forebay.worker.drain",
}

__all__ = [
    "HIGH",
    "LOW",
    "MEDIUM",
    "NO_RETRY",
    "App",
    "BackgroundProducer",
    "CircuitBreaker",
    "Document002",
    "EmbeddedBroker",
    "Envelope",
    "ForebayError",
    "Guard",
    "HttpSqsClient",
    "Limit",
    "LittlesLaw",
    "Pack",
    "PartlyFailed",
    "PoolPermit",
    "Priority",
    "Producer",
    "ProducerSettings",
    "Queue",
    "Received",
    "Record",
    "Reject",
    "Retry",
    "RetryPolicy",
    "Router",
    "ServiceUnreachable",
    "SqsClient",
    "SqsError",
    "Worker",
    "WorkerSettings",
    "run_until_signalled",
]


def __getattr__(name: str) -> object:
    try:
        module = _MODULES[name]
    except KeyError:
        raise AttributeError(f"module 'forebay' has no attribute {name!r}") from None
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
