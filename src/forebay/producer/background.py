"""The producer for code without an event loop: Django, scripts, Celery tasks, threads."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from threading import RLock, local
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar, Unpack
from weakref import WeakSet

from forebay.client.base import SqsClient
from forebay.client.endpoint import resolve_endpoint
from forebay.client.http import HttpSqsClient
from forebay.client.late import LateClient
from forebay.client.plain import MessageAttribute
from forebay.errors import Closed, ForebayError, ServiceUnreachable
from forebay.number_settings import require_number
from forebay.producer.ledger import ProducerLedger
from forebay.producer.loop_thread import (
    LastingExecutor,
    LoopThread,
    StartThread,
    start_daemon_thread,
)
from forebay.producer.producer import Producer, ProducerOptions, Published
from forebay.producer.settings import ProducerSettings
from forebay.producer.snapshot import ProducerSnapshot

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long `close`, the end of a `with` and the end of the interpreter wait for what is buffered,
#: in seconds.
CLOSE_TIMEOUT_S = 10.0

#: How much longer they wait for the thread itself, in seconds. It needs milliseconds.
_GRACE_S = 2.0


class BackgroundProducer:
    """A Producer with a thread, an event loop and a client of its own. Any thread may call it.

        usage = BackgroundProducer("usage-logs")
        usage.send("usage_log", {"asset": "BTC"})

    It is one Producer and nothing beside it: `send` is its `send`, with its buffer and its ledger.
    The thread begins at the first call. At the end of the interpreter what is buffered is sent, for
    at most `close_timeout_s`; a process that is killed loses it. A forked child begins anew at its
    first call, with an empty buffer: what the parent has accepted the parent sends.
    """

    def __init__(
        self,
        queue: str,
        *,
        endpoint_url: str | None = None,
        client_factory: Callable[[], SqsClient] | None = None,
        close_timeout_s: float = CLOSE_TIMEOUT_S,
        beside: Callable[[BackgroundProducer], AbstractAsyncContextManager[object]] | None = None,
        start_thread: StartThread = start_daemon_thread,
        **options: Unpack[ProducerOptions],
    ) -> None:
        """`client_factory` is called in the thread, and its client is closed there; without one it
        is an HttpSqsClient for `endpoint_url`. `options` are the Producer's, whose `on_lost` is
        called in the thread, too: it holds up what is sent, and must not wait for this producer.
        `beside` makes what is entered in the loop while this producer sends, such as what changes
        its settings: `lambda it: following(url, producer=it)`, of forebay.tunables.

        Raises SettingsError when `endpoint_url` is no URL, and what Producer raises.
        """
        require_number("close_timeout_s", close_timeout_s)
        if client_factory is None and endpoint_url is not None:
            resolve_endpoint(endpoint_url, None, os.environ)
        self._client_factory = client_factory or (lambda: HttpSqsClient(endpoint_url))
        self._queue = queue
        self._options = options
        self._close_timeout_s = close_timeout_s
        self._beside = beside
        self._start_thread = start_thread
        self._closed = False
        self._make()
        _everyone.add(self)

    def send(
        self,
        type: str,  # noqa: A002
        payload: object,
        key: str | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
    ) -> bool:
        """Hand a message over and return at once, as Producer.send does."""
        if self._thread is None:
            self._begin()
        return self._producer.send(type, payload, key, group_id, deduplication_id)

    def publish(
        self,
        type: str,  # noqa: A002
        payload: object,
        key: str | None = None,
        *,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        delay_s: int | None = None,
        attributes: Mapping[str, MessageAttribute] | None = None,
        timeout_s: float | None = None,
    ) -> Published:
        """Send a message and return when SQS has acknowledged it.

        Raises what Producer.publish raises, and ServiceUnreachable after `timeout_s`, if that comes
        before the end of the policy `retry`: the message may still arrive.
        """
        published = self._submitted(
            lambda: self._producer.publish(
                type,
                payload,
                key,
                group_id=group_id,
                deduplication_id=deduplication_id,
                delay_s=delay_s,
                attributes=attributes,
            )
        )
        try:
            return published.result(timeout_s)
        except TimeoutError:
            if published.done():
                raise
            raise ServiceUnreachable(
                f"SQS has not acknowledged the message within {timeout_s} s. It may still arrive."
            ) from None
        finally:
            published.cancel()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Send what is buffered and return when nothing is left: it is in SQS, or on the disk.

        False when `timeout_s` was over first. Raises Closed.
        """
        flushed = self._submitted(lambda: self._producer.flush(timeout_s))
        try:
            return flushed.result()
        finally:
            flushed.cancel()

    def close(self, timeout_s: float | None = None) -> ProducerLedger:
        """Accept nothing more, send what is buffered, and return the final ledger.

        What is left after `timeout_s`, or the `close_timeout_s` of this producer, is counted as
        failed. Closing again waits for the same end.
        """
        self._refuse_own_thread()
        if timeout_s is None:
            timeout_s = self._close_timeout_s
        require_number("timeout_s", timeout_s)
        self._await_end(self._begin_end(timeout_s), timeout_s)
        return self.ledger

    @property
    def ledger(self) -> ProducerLedger:
        """What became of every message of this process so far."""
        return self._producer.ledger

    @property
    def settings(self) -> ProducerSettings:
        """The settings; assign others and they take effect with the next tick."""
        return self._producer.settings

    @settings.setter
    def settings(self, settings: ProducerSettings) -> None:
        self._producer.settings = settings
        self._options["settings"] = settings

    def snapshot(self) -> ProducerSnapshot:
        """What there is to measure, at this instant."""
        return self._producer.snapshot()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A BackgroundProducer belongs to its process and cannot be handed to another one."
            " Make one there, for instance in the module that sends."
        )

    def _make(self) -> None:
        """Be as one that was not called yet."""
        self._lock = RLock()
        self._thread: LoopThread | None = None
        self._ending: Future[ProducerLedger] | None = None
        self._client: SqsClient | None = None
        self._disk = LastingExecutor(1)
        self._producer = Producer(
            LateClient(self._made_client), self._queue, executor=self._disk, **self._options
        )

    def _made_client(self) -> SqsClient:
        assert self._client is not None, "the loop asks for it, which has made it"
        return self._client

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(self._disk.shutdown)
            try:
                self._client = self._client_factory()
                stack.push_async_callback(self._client.close)
                await self._producer.start()
            except BaseException:
                # So that `send` says False, and what it took is counted.
                await self._producer.close(0)
                raise
            companion = asyncio.create_task(self._accompany())
            stack.push_async_callback(_ended, companion)
            yield

    async def _accompany(self) -> None:
        """Have what is beside, until this is cancelled. Its failure stops nothing."""
        if self._beside is None:
            return
        try:
            async with self._beside(self):
                await asyncio.get_running_loop().create_future()
        except Exception:
            _log.exception("What is beside a BackgroundProducer failed; it sends without it")

    def _begin(self) -> None:
        """Have the thread. Where none can be had, what is sent waits for the next call."""
        with self._lock:
            if self._thread is not None or self._closed:
                return
            self._thread = thread = LoopThread(self._at_work)
            try:
                self._start_thread(thread.run)
            except BaseException as error:
                # Ctrl-C may come before the thread runs, or after.
                if thread.discard():
                    self._thread = None
                if not isinstance(error, RuntimeError):
                    raise
                _log.warning("No thread can be had, so nothing is sent yet: %s", error)
                return
        _close_at_end_of_child()

    def _submitted(self, work: Callable[[], Awaitable[T]]) -> Future[T]:
        """What the loop will come to."""
        self._refuse_own_thread()
        self._begin()
        with self._lock:
            if self._closed:
                raise Closed("The producer was closed; make a new one.")
            if self._thread is None:
                raise ForebayError("No thread can be had, so nothing can be sent.")
            # In one breath with the look: what comes before the end of the loop is answered.
            return self._thread.submit(work)

    def _refuse_own_thread(self) -> None:
        if self._thread is not None and self._thread.is_current:
            raise ForebayError(
                "A BackgroundProducer cannot wait for itself. on_lost runs in its thread: hand on"
                " what it is told, and call from another thread."
            )

    def _begin_end(self, timeout_s: float) -> Future[ProducerLedger]:
        """Have the thread send what is buffered, and end."""
        with self._lock:
            if self._ending is None:
                self._begin()
                self._closed = True
                thread = self._thread or LoopThread(self._at_work)
                self._ending = thread.end(lambda: self._producer.close(timeout_s))
                if self._thread is None:
                    # The interpreter ends, and the first call came after its last thread.
                    self._thread = thread
                    thread.run()
            return self._ending

    def _await_end(self, ending: Future[ProducerLedger], timeout_s: float) -> None:
        try:
            ending.result(timeout_s + _GRACE_S)
            if self._thread is not None:
                self._thread.ended.wait(_GRACE_S)
        except TimeoutError:
            _log.error(
                "A producer did not come to its end within %s s, and is left: %s",
                timeout_s + _GRACE_S,
                self.ledger,
            )


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


#: All that are left, to be closed at the end and made anew in a forked child.
_everyone: WeakSet[BackgroundProducer] = WeakSet()

#: The threads that stand still for a fork of this thread.
_held = local()

#: Whether this process is a child of multiprocessing that closes them at its end.
_closes_at_end_of_child = False


def _close_all() -> None:
    """Send what is buffered when the interpreter ends: all of them at once."""
    ending = [
        (each, each._begin_end(each._close_timeout_s), each._close_timeout_s)
        for each in list(_everyone)
        if each._thread is not None or each.ledger.buffered
    ]
    for each, future, timeout_s in ending:
        try:
            each._await_end(future, timeout_s)
        except Exception:
            # The others are still to be waited for.
            _log.exception("A producer could not be closed: %s", each.ledger)


def _close_at_end_of_child() -> None:
    """Send what is buffered when a child of multiprocessing ends, which may be without atexit."""
    global _closes_at_end_of_child  # noqa: PLW0603
    process: Any = sys.modules.get("multiprocessing.process")
    if _closes_at_end_of_child or process is None or process.parent_process() is None:
        return
    from multiprocessing.util import Finalize  # noqa: PLC0415 - only where it is in use

    # Below nothing that others have given it: they may send as their last.
    Finalize(None, _close_all, exitpriority=-1_000)
    _closes_at_end_of_child = True


def _hold() -> None:
    _held.threads = [each._thread for each in list(_everyone) if each._thread is not None]
    for thread in _held.threads:
        thread.hold()


def _release() -> None:
    for thread in _held.threads:
        thread.release()


def _begin_anew() -> None:
    """A forked child has the parent's objects and none of its threads."""
    global _closes_at_end_of_child  # noqa: PLW0603
    _closes_at_end_of_child = False
    for each in list(_everyone):
        if not each._closed:
            each._make()


atexit.register(_close_all)
os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_begin_anew)
