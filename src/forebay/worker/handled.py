"""Which messages the running handler has: for log lines, wherever in a handler they are written."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forebay.worker.received import Received
    from forebay.worker.route import Route

#: The handler around the current code and what it was called with; None outside of handlers. A
#: pair, since it is made for every message.
HANDLED: ContextVar[tuple[Route, Sequence[Received[Any]]] | None] = ContextVar(
    "forebay_handled", default=None
)
