"""An event loop in a daemon thread, for callers that have none."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeVar

from forebay.errors import ForebayError, in_words

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long a fork may be held up until the loop stands still, and again until its other threads
#: do, in seconds. They need a millisecond, unless a name is looked up or credentials are read.
_HOLD_S = 1.0

#: Runs a function in a thread that is there already when this returns.
StartThread = Callable[[Callable[[], None]], object]


def start_daemon_thread(run: Callable[[], None]) -> None:
    """Run a function in a thread that does not keep the process alive."""
    threading.Thread(target=run, name="forebay-producer", daemon=True).start()


class LoopThread:
    """A loop that is entered with `work` and left by `end`.

    It is asyncio's own: a forked child inherits a copy of the loop that never runs again, and
    uvloop's ends the child with a segmentation fault when it is taken away.
    """

    def __init__(self, work: Callable[[], AbstractAsyncContextManager[object]]) -> None:
        self._work = work
        self._loop = asyncio.new_event_loop()
        self._executor = LastingExecutor()
        self._loop.set_default_executor(self._executor)
        self._entered: asyncio.Future[None] = self._loop.create_future()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._thread_id: int | None = None
        self._lock = threading.Lock()
        self._discarded = False
        self._holds = 0
        self._stands = threading.Event()
        self._may_go_on = threading.Event()
        #: Set when the loop is closed.
        self.ended = threading.Event()

    @property
    def is_current(self) -> bool:
        """Whether this is its thread."""
        return self._thread_id == threading.get_ident()

    def run(self) -> None:
        """Run it in this thread, to the end."""
        with self._lock:
            if self._discarded:
                return
            self._thread_id = threading.get_ident()
        main = self._loop.create_task(self._main())
        while not main.done():
            try:
                self._loop.run_until_complete(main)
            except BaseException:
                # A callback that calls sys.exit must not end what others rely on.
                _log.exception("The thread of a BackgroundProducer goes on after an error")
        self._loop.run_until_complete(_cancel_the_others())
        self._loop.close()
        self._executor.shutdown()
        self._thread_id = None
        self.ended.set()

    def discard(self) -> bool:
        """Let go of a loop that nobody runs; False when one does."""
        with self._lock:
            self._discarded = self._thread_id is None
        if self._discarded:
            self._loop.close()
        return self._discarded

    def submit(self, work: Callable[[], Awaitable[T]]) -> Future[T]:
        """Have the loop do something once it is entered. Not after `end`."""
        return asyncio.run_coroutine_threadsafe(self._once_entered(work), self._loop)

    def end(self, last: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Have the loop do this last, also where it could not be entered."""
        return asyncio.run_coroutine_threadsafe(self._last(last), self._loop)

    def hold(self) -> None:
        """Have the loop stand still with nothing under way, for a fork, until `release`.

        A child would inherit the locks that its threads hold, and nobody who gives them back: those
        of a module that is imported for the first name that is looked up, or OpenSSL's.
        """
        if self.is_current:
            return
        with self._lock:
            self._holds += 1
            if self._holds == 1:
                self._stands.clear()
                self._may_go_on.clear()
                # A loop that has ended stands still.
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._stand)
        if not self.ended.is_set() and self._stands.wait(_HOLD_S):
            self._executor.rest(_HOLD_S)

    def release(self) -> None:
        """Go on, after as many calls as of `hold`."""
        if self.is_current:
            return
        with self._lock:
            self._holds -= 1
            if not self._holds:
                self._may_go_on.set()

    def _stand(self) -> None:
        self._stands.set()
        self._may_go_on.wait()

    async def _once_entered(self, work: Callable[[], Awaitable[T]]) -> T:
        await asyncio.shield(self._entered)
        return await work()

    async def _last(self, work: Callable[[], Awaitable[T]]) -> T:
        await asyncio.wait({self._entered})
        try:
            return await work()
        finally:
            self._over.set_result(None)

    async def _main(self) -> None:
        try:
            async with self._work():
                self._entered.set_result(None)
                await self._over
        except Exception as error:
            if self._entered.done():
                _log.exception("A BackgroundProducer did not end as it should")
                return
            self._entered.set_exception(error)
            self._entered.exception()  # It is in the log, also when nobody asks.
            unexpected = None if isinstance(error, ForebayError) else error
            _log.error(
                "A BackgroundProducer could not begin; it sends nothing: %s",
                in_words(error),
                exc_info=unexpected,
            )
            await self._over


async def _cancel_the_others() -> None:
    """Cancel what is left in the running loop, and wait for it."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


class LastingExecutor(ThreadPoolExecutor):
    """Goes on, in the thread that asks, when the interpreter ends and no thread can be had.

    Then names are still looked up and credentials read for what a script sent as its last.
    """

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(threads, "forebay-producer")
        self._ended = threading.Condition()
        self._under_way = 0

    def submit(self, function: Callable[..., T], /, *args: Any, **named: Any) -> Future[T]:
        with self._ended:
            self._under_way += 1
        try:
            future = super().submit(function, *args, **named)
        except RuntimeError:
            future = Future()
            try:
                future.set_result(function(*args, **named))
            except Exception as error:
                future.set_exception(error)
        future.add_done_callback(self._end_one)
        return future

    def rest(self, within_s: float) -> None:
        """Return when nothing is under way, or when the time is over."""
        with self._ended:
            self._ended.wait_for(lambda: not self._under_way, within_s)

    def _end_one(self, _: Future[Any]) -> None:
        with self._ended:
            self._under_way -= 1
            self._ended.notify_all()
