"""Running handlers: in the event loop, or in a thread when they are plain functions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from inspect import isawaitable
from typing import Any, TypeAlias

from msgspec.structs import force_setattr

from forebay.clock import Clock, SystemClock
from forebay.errors import with_type
from forebay.worker.handled import HANDLED
from forebay.worker.middleware import Middleware, around, check_middleware
from forebay.worker.outcomes import (
    Done,
    Failed,
    HandlerCancelled,
    HandlerTimedOut,
    Outcome,
    PartlyFailed,
    Reject,
    Retry,
    StillRunning,
)
from forebay.worker.received import Received
from forebay.worker.returned import outcomes, said
from forebay.worker.route import Route
from forebay.worker.threads import ThreadCall, Threads, cancels_asked_for

_log = logging.getLogger(__name__)

#: How long a cancelled handler may take to end, in seconds. One that takes longer goes on without
#: a place.
_CANCEL_GRACE_S = 1.0

#: A handler with the middleware around it.
_Call: TypeAlias = Callable[[Any], Awaitable[object]]

#: What a call raised or stands for; None when it is done. A CancelledError means that we did it.
_Error: TypeAlias = BaseException | None


class Execution:
    """Runs handlers: async ones in the event loop, plain ones in threads.

    Plain functions run in `executor`; without one, in a pool of `threads` threads that begins with
    the first of them. Raises SettingsError when a middleware is not an async function.
    """

    def __init__(
        self,
        *,
        middleware: Sequence[Middleware] = (),
        executor: Executor | None = None,
        threads: int = 32,
        clock: Clock | None = None,
    ) -> None:
        self._middleware = check_middleware(middleware)
        self._threads = Threads(executor, threads)
        self._clock = clock or SystemClock()
        self._chains: dict[Route, _Call] = {}
        self._left: dict[asyncio.Task[_Error], ThreadCall | None] = {}
        #: Threads that ran on when this was closed.
        self._abandoned = 0

    @property
    def hanging(self) -> int:
        """Calls that go on without a place: after their timeout_s, or left by the drain."""
        return len(self._left) + self._abandoned

    async def perform(self, route: Route, received: Sequence[Received[Any]]) -> list[Outcome]:
        """Call the handler, and return one outcome for each message.

        A route with `batch` gets all of `received` in one call, another one its only message. What
        the handler raises is logged here, even SystemExit and KeyboardInterrupt, and is an outcome.

        Cancel the task to end a handler in a drain. Then the outcome is Interrupted, StillRunning
        for a plain function, which goes on, or what the handler said if it came to its end. The
        task stays asked to be cancelled (`Task.cancelling`), so it must end once it has seen to the
        outcomes.
        """
        token = HANDLED.set((route, received))
        try:
            if route.plain or route.timeout_s is not None:
                return await self._perform_apart(route, received)
            call = self._chain(route) if self._middleware else route.call
            error = await _error_of(route, call, received)
            return _concluded(route, received, error)
        finally:
            HANDLED.reset(token)

    async def close(self) -> None:
        """Let the free threads of our own pool go. What hangs is abandoned, not awaited."""
        self._threads.close()
        left, self._left = self._left, {}
        for job, thread in left.items():
            job.cancel()
            if thread is not None:
                self._abandoned += thread.is_running
                thread.abandon()
        await asyncio.sleep(0)

    def _chain(self, route: Route) -> _Call:
        chain = self._chains.get(route)
        if chain is None:
            chain = self._chains[route] = around(self._middleware, route.call, partial(said, route))
        return chain

    async def _perform_apart(
        self, route: Route, received: Sequence[Received[Any]]
    ) -> list[Outcome]:
        """Call it in a task of its own, which can be left."""
        thread = None
        call = self._chain(route) if self._middleware else route.call
        begin = partial(self._set_due, route, received)
        if route.plain:
            timed = route.timeout_s is not None
            thread = ThreadCall(self._threads, route.call, begin if timed else None)
            call = around(self._middleware, thread, partial(said, route))
        begin()
        job = asyncio.create_task(_error_of(route, call, received))
        try:
            if route.timeout_s is None:
                await asyncio.shield(job)
            elif not await self._ends_in_time(job, thread, received[0], route.timeout_s):
                return await self._time_out(route, received, job, thread)
        except asyncio.CancelledError:
            return await self._interrupt(route, received, job, thread)
        if thread is not None and thread.is_running:
            _log.warning("A middleware no longer waits for %s.", _named(route, received))
            job = asyncio.create_task(_error_of(route, lambda _: thread.end(), received))
            return self._leave(route, received, job, thread, timed_out=True)
        return _concluded(route, received, job.result())

    def _set_due(self, route: Route, received: Sequence[Received[Any]]) -> None:
        if route.timeout_s is not None:
            due_ms = self._clock.monotonic_ms() + round(route.timeout_s * 1000)
            for each in received:
                force_setattr(each, "due_ms", due_ms)

    async def _ends_in_time(
        self,
        job: asyncio.Task[_Error],
        thread: ThreadCall | None,
        received: Received[Any],
        timeout_s: float,
    ) -> bool:
        """Wait until the call ends or its time is over; the wait for a thread does not count."""
        left_s = timeout_s
        while left_s > 0:
            if await self._ends_within(job, left_s):
                return True
            if thread is None or thread.has_begun:
                assert received.due_ms is not None
                left_s = (received.due_ms - self._clock.monotonic_ms()) / 1000
        return False

    async def _ends_within(self, job: asyncio.Task[_Error], duration_s: float) -> bool:
        timer = asyncio.ensure_future(self._clock.sleep(duration_s))
        try:
            await asyncio.wait((job, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        return job.done()

    async def _time_out(
        self,
        route: Route,
        received: Sequence[Received[Any]],
        job: asyncio.Task[_Error],
        thread: ThreadCall | None,
    ) -> list[Outcome]:
        if thread is not None and thread.is_running:
            _log.error(
                "%s has not ended within its %s s. It goes on without a place and its message is"
                " kept. Its thread is here:\n%s",
                _named(route, received),
                route.timeout_s,
                thread.stack(),
            )
            thread.hang()
            return self._leave(route, received, job, thread, timed_out=True)
        job.cancel()
        if await self._ends_after_cancel(job):
            return _concluded(route, received, _timed_out(route, job.result()))
        _log.error(
            "%s has not ended within its %s s and goes on although it was cancelled. It has no"
            " place any more and its message is kept.",
            _named(route, received),
            route.timeout_s,
        )
        return self._leave(route, received, job, None, timed_out=True)

    async def _interrupt(
        self,
        route: Route,
        received: Sequence[Received[Any]],
        job: asyncio.Task[_Error],
        thread: ThreadCall | None,
    ) -> list[Outcome]:
        """The drain has cancelled it."""
        if thread is None or thread.withdraw():
            job.cancel()
        elif thread.is_running:
            _log.warning("%s runs in a thread and goes on.", _named(route, received))
            return self._leave(route, received, job, thread, timed_out=False)
        if await self._ends_after_cancel(job):
            return _concluded(route, received, job.result())
        _log.error("%s goes on although it was cancelled.", _named(route, received))
        return self._leave(route, received, job, thread, timed_out=False)

    async def _ends_after_cancel(self, job: asyncio.Task[_Error]) -> bool:
        try:
            return await self._ends_within(job, _CANCEL_GRACE_S)
        except asyncio.CancelledError:
            return job.done()

    def _leave(
        self,
        route: Route,
        received: Sequence[Received[Any]],
        job: asyncio.Task[_Error],
        thread: ThreadCall | None,
        *,
        timed_out: bool,
    ) -> list[Outcome]:
        loop = asyncio.get_running_loop()
        left_ms = self._clock.monotonic_ms()
        finished: list[asyncio.Future[Outcome]] = [loop.create_future() for _ in received]
        self._left[job] = thread

        def tell(job: asyncio.Task[_Error]) -> None:
            self._left.pop(job, None)
            if job.cancelled() or (thread is not None and thread.is_running):
                for future in finished:
                    future.cancel()
                return
            error = job.result()
            _log.warning(
                "%s has ended, %.1f s after it was left: %s.",
                _named(route, received),
                (self._clock.monotonic_ms() - left_ms) / 1000,
                "done" if error is None else with_type(error),
            )
            if timed_out and isinstance(error, asyncio.CancelledError):
                error = _timed_out(route, error)
            ended = _concluded(route, received, error)
            for future, outcome in zip(finished, ended, strict=True):
                if not future.done():
                    future.set_result(outcome)

        job.add_done_callback(tell)
        return [StillRunning(future, timed_out) for future in finished]


async def _error_of(route: Route, call: _Call, received: Sequence[Received[Any]]) -> _Error:
    """Await the call to its end, and return what it raised or what its value stands for."""
    task = asyncio.current_task()
    cancels = 0 if task is None else task.cancelling()
    try:
        value = await call(list(received) if route.batch else received[0])
        if value is not None and isawaitable(value):
            value = await value
    except GeneratorExit as raised:
        if not _runs(task):
            # Nothing raised it: this coroutine is thrown away.
            raise
        return raised
    except (Retry, Reject, PartlyFailed) as said_so:
        return said_so
    except asyncio.CancelledError as cancelled:
        if cancels_asked_for() > cancels:
            return cancelled
        error = HandlerCancelled()
        error.__cause__ = cancelled
        return error
    except BaseException as raised:
        if cancels_asked_for() == cancels:
            return raised
        interruption = asyncio.CancelledError()
        interruption.__cause__ = raised
        return interruption
    return None if value is None else said(route, value)


def _runs(task: asyncio.Task[Any] | None) -> bool:
    """Whether it is this task that the event loop runs now."""
    try:
        return asyncio.current_task() is task
    except RuntimeError:
        return False


def _timed_out(route: Route, error: _Error) -> BaseException:
    """What a call stands for that ended after its time: what it said itself, unless it is done."""
    if isinstance(error, Retry | Reject | PartlyFailed):
        return error
    timed_out = HandlerTimedOut(
        f"{route.handler_name} has not ended within its {route.timeout_s} s and was cancelled."
    )
    timed_out.__cause__ = error
    return timed_out


def _concluded(route: Route, received: Sequence[Received[Any]], error: _Error) -> list[Outcome]:
    if error is None:
        return [Done()] * len(received)
    ended = outcomes(route, received, error)
    _log_failures(route, received, ended)
    return ended


def _log_failures(
    route: Route, received: Sequence[Received[Any]], ended: Sequence[Outcome]
) -> None:
    """Log each error once, with the messages that it befell."""
    failed: dict[int, tuple[BaseException, list[Received[Any]]]] = {}
    for each, outcome in zip(received, ended, strict=True):
        if isinstance(outcome, Failed):
            failed.setdefault(id(outcome.error), (outcome.error, []))[1].append(each)
    for error, messages in failed.values():
        _log.error(
            "%s failed at receive %d.",
            _named(route, messages),
            messages[0].receive_count,
            exc_info=error,
        )


def _named(route: Route, received: Sequence[Received[Any]]) -> str:
    """The handler and its messages in words, for logs."""
    first = received[0]
    count = f" and {len(received) - 1} more" if len(received) > 1 else ""
    return f"Handler {route.handler_name} of message {first.message_id}{count} of {first.queue_url}"
