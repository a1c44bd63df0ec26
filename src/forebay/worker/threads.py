"""Calling plain functions in threads, beside the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple


class Threads:
    """The executor that was given, or else a pool of our own, from its first use on."""

    def __init__(self, executor: Executor | None, threads: int) -> None:
        self._given = executor
        self._size = threads
        self._own: ThreadPoolExecutor | None = None

    @property
    def current(self) -> Executor:
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = ThreadPoolExecutor(self._size, thread_name_prefix="forebay-handler")
        return self._own

    def replace(self, executor: Executor) -> None:
        """A thread of this executor hangs: let a fresh pool follow ours, with all its threads.

        What waits in the old one is cancelled, and to be submitted anew. What runs there ends
        there.
        """
        if executor is self._own:
            self.close()

    def close(self) -> None:
        """Let the threads of our own pool end as soon as they are done."""
        if self._own is not None:
            self._own.shutdown(wait=False, cancel_futures=True)
            self._own = None


class _Result(NamedTuple):
    value: object
    #: Kept out of the future, which does not take every exception (StopIteration).
    error: BaseException | None


class ThreadCall:
    """One call of a plain function, awaited like an async one.

    Cancelling the wait does not stop the function; `is_running` tells that it goes on.
    """

    def __init__(
        self,
        threads: Threads,
        function: Callable[[Any], Any],
        began: Callable[[], None] | None = None,
    ) -> None:
        """`began` is called in the event loop when the function has left the queue for a thread."""
        self._threads = threads
        self._function = function
        self._loop = asyncio.get_running_loop()
        self._began = began
        self._job: Future[_Result] | None = None
        self._result: asyncio.Future[_Result] | None = None
        self._thread_id = 0
        self._executor: Executor | None = None

    async def __call__(self, handed: Any) -> object:
        cancels = cancels_asked_for()
        while True:
            executor = self._executor = self._threads.current
            self._thread_id = 0
            context = contextvars.copy_context()
            self._job = executor.submit(context.run, self._run, handed)
            self._result = asyncio.wrap_future(self._job)
            try:
                return _value(await asyncio.shield(self._result))
            except asyncio.CancelledError:
                # A pool that was replaced cancels what waits in it.
                if self._job.cancelled() and cancels_asked_for() == cancels:
                    continue
                raise

    @property
    def has_begun(self) -> bool:
        return self._thread_id != 0

    @property
    def is_running(self) -> bool:
        return self.has_begun and self._job is not None and not self._job.done()

    def withdraw(self) -> bool:
        """Take the call back, if the function has not begun."""
        return self._job is None or self._job.cancel()

    async def end(self) -> object:
        """Wait for the function itself: what it returns or raises."""
        assert self._result is not None
        return _value(await self._result)

    def hang(self) -> None:
        """Let others have a thread in place of this one."""
        if self._executor is not None:
            self._threads.replace(self._executor)

    def abandon(self) -> None:
        """Nobody waits for it any more, not even the event loop."""
        if self._result is not None:
            self._result.cancel()

    def stack(self) -> str:
        """Where in the function its thread is now; empty when the thread has gone."""
        frame = sys._current_frames().get(self._thread_id)
        frames = [] if frame is None else traceback.extract_stack(frame)
        ours = [index for index, frame in enumerate(frames) if frame.filename == __file__]
        return "".join(traceback.format_list(frames[max(ours, default=-1) + 1 :]))

    def _run(self, handed: Any) -> _Result:
        self._thread_id = threading.get_ident()
        if self._began is not None:
            # The loop may have ended before the queue came to this.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._began)
        try:
            return _Result(self._function(handed), None)
        except BaseException as error:
            return _Result(None, error)


def _value(result: _Result) -> object:
    if result.error is not None:
        raise result.error
    return result.value


def cancels_asked_for() -> int:
    """How often the current task was asked to be cancelled.

    Only more of it than before a call means that the call was cancelled from outside: some task
    groups leave a request of their own behind.
    """
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
