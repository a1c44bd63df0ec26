"""Running one handler: in the event loop, or in the executor when it is a plain function."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Any

from forebay.errors import ForebayError, SettingsError
from forebay.worker.received import Received
from forebay.worker.routing import Route


class LeftRunning(ForebayError):
    """The handler runs in a thread and could not be stopped; its message stays hidden for now."""


class HandlerCancelled(ForebayError):
    """The handler was cancelled by something it awaited."""


async def execute(route: Route, received: Received[Any], executor: Executor | None) -> None:
    """Run the handler to its end.

    Raises what the handler raises; HandlerCancelled for a CancelledError that is its own; when this
    is cancelled, LeftRunning if the handler goes on in its thread nevertheless.
    """
    try:
        if route.plain:
            await _execute_in(executor, route, received)
        else:
            await route.call(received)
    except asyncio.CancelledError as cancelled:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise HandlerCancelled from cancelled


async def _execute_in(executor: Executor | None, route: Route, received: Received[Any]) -> None:
    if executor is None:
        raise SettingsError("A plain handler needs an executor; pass one to the Worker.")
    job = executor.submit(route.call, received)
    try:
        await asyncio.wrap_future(job)
    except asyncio.CancelledError:
        if job.cancel():
            raise
        if not job.done():
            raise LeftRunning from None
        job.result()
