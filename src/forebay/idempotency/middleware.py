"""Whole handlers as effects, those on plain functions too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from forebay.errors import SettingsError
from forebay.idempotency.guard import Guard
from forebay.idempotency.holding import Attempt
from forebay.worker.middleware import CallNext, Middleware
from forebay.worker.received import Received

_attempt: ContextVar[Attempt] = ContextVar("forebay_attempt")


def current_attempt() -> Attempt:
    """The attempt of the handler that runs, under `once_middleware`.

    Raises LookupError outside of one.
    """
    return _attempt.get()


def once_middleware(guard: Guard, by: Mapping[str, Sequence[str]]) -> Middleware:
    """A worker's middleware that runs the handlers of some types of message once.

    `by` names the fields of the business key for each type; without fields it is the envelope's
    key, or the delivery alone. Handlers of other types run as they are. Raises SettingsError for a
    handler that takes a batch: guard its messages one by one.
    """

    async def once(handed: Any, call_next: CallNext) -> None:
        if isinstance(handed, list):
            if any(each.type in by for each in handed):
                raise SettingsError(
                    "A handler that takes a batch cannot be run once as a whole; call guard.once"
                    " for each of its messages."
                )
            await call_next(handed)
            return
        received: Received[Any] = handed
        fields = by.get(received.type or "")
        if fields is None:
            await call_next(received)
            return

        async def handle(attempt: Attempt) -> None:
            _attempt.set(attempt)
            await call_next(received)

        await guard.once(received, handle, by=fields)

    return once
