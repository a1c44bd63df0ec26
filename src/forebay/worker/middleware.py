"""What runs around every handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from inspect import isawaitable
from typing import Any, TypeAlias

from forebay.errors import SettingsError
from forebay.worker.functions import is_async

#: Goes on to the next middleware, or to the handler, with what was received. It returns None when
#: the handler is done and raises what the handler raised or returned otherwise.
CallNext: TypeAlias = Callable[[Any], Awaitable[None]]

#: An async function around handlers:
#:
#:     async def log_it(received: Received[Any], call_next: CallNext) -> None:
#:         print("begins", received.id)
#:         await call_next(received)
#:         print("is done", received.id)
#:
#: It gets what the handler gets, which is a list of messages when the handler takes a batch. What
#: it raises or returns counts as if the handler had done so: one that catches an exception and
#: returns has the message deleted.
Middleware: TypeAlias = Callable[[Any, CallNext], Awaitable[object]]


def around(
    middleware: Sequence[Middleware],
    call: Callable[[Any], Awaitable[object]],
    said: Callable[[object], BaseException | None],
) -> Callable[[Any], Awaitable[object]]:
    """The call with the middleware around it, the first outermost.

    `said` gives the exception that a returned value stands for, or None.
    """
    for each in reversed(middleware):
        call = _around(each, call, said)
    return call


def _around(
    middleware: Middleware,
    call: Callable[[Any], Awaitable[object]],
    said: Callable[[object], BaseException | None],
) -> Callable[[Any], Awaitable[object]]:
    async def call_next(handed: Any) -> None:
        value = await call(handed)
        if isawaitable(value):
            value = await value
        if value is not None and (error := said(value)) is not None:
            raise error

    def with_it(handed: Any) -> Awaitable[object]:
        return middleware(handed, call_next)

    return with_it


def check_middleware(middleware: Sequence[Middleware]) -> tuple[Middleware, ...]:
    """Raises SettingsError when one is not an async function."""
    given: object = middleware
    if not isinstance(given, Iterable):
        raise SettingsError(f"middleware is {given!r}; it must be a list of async functions.")
    for each in middleware:
        if not is_async(each):
            raise SettingsError(
                f"The middleware {getattr(each, '__qualname__', each)} is not an async function."
            )
    return tuple(middleware)
