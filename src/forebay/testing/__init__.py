"""What tests of queue users need: a broker, a clock to put forward, and a harness for handlers.

Each name is imported from its module when it is first used. So a test of a handler imports no
broker's server, and one of a producer no worker.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forebay.spying import NotAsExpected, Pending, SeenMessage, Status
    from forebay.testing.broker import BrokerForTests
    from forebay.testing.ended import Drained, Ended, NotDrained
    from forebay.testing.enqueued import Enqueued
    from forebay.testing.worker import WorkerHarness
    from forebay.virtual_clock import VirtualClock

#: Where each public name comes from.
_MODULES = {
    "BrokerForTests": "forebay.testing.broker",
    "Drained": "forebay.testing.ended",
    "Ended": "forebay.testing.ended",
    "Enqueued": "forebay.testing.enqueued",
    "NotAsExpected": "forebay.spying",
    "NotDrained": "forebay.testing.ended",
    "Pending": "forebay.spying",
    "SeenMessage": "forebay.spying",
    "Status": "forebay.spying",
    "VirtualClock": "forebay.virtual_clock",
    "WorkerHarness": "forebay.testing.worker",
}

__all__ = [
    "BrokerForTests",
    "Drained",
    "Ended",
    "Enqueued",
    "NotAsExpected",
    "NotDrained",
    "Pending",
    "SeenMessage",
    "Status",
    "VirtualClock",
    "WorkerHarness",
]


def __getattr__(name: str) -> object:
    try:
        module = _MODULES[name]
    except KeyError:
        raise AttributeError(f"module 'forebay.testing' has no attribute {name!r}") from None
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
