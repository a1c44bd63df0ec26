"""Group commit: answers wait until the changes that they tell of are durable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from forebay.broker.core.changes import ChangeSet
from forebay.broker.polls import Answer, Reply
from forebay.protocol.errors import Fault, SqsError

_P = ParamSpec("_P")
_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class InlineExecutor(Executor):
    """An executor without a thread: it does the work at once, where `submit` is called.

    For a journal that never waits for a disk, and for running under virtual time.
    """

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        future: Future[_T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class GroupCommit:
    """Gathers answers and lets them go in groups, each after its commit.

    One group is being committed while the next one gathers, so that a group grows with the load and
    a lone request waits for nobody. An answer without changes of its own waits as well: it may tell
    of changes that are not durable yet, as the answer to a duplicate send does.

    `committed` is called when a group is done, and `failed` when its commit raised. After a failure
    the answers of the group, and all that gathered behind it, are held until `refuse`.
    """

    def __init__(
        self,
        *,
        commit: Callable[[ChangeSet], None],
        executor: Executor,
        loop: asyncio.AbstractEventLoop,
        committed: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._commit = commit
        self._executor = executor
        self._loop = loop
        self._committed = committed
        self._failed = failed
        self._gathering: list[tuple[Reply, Answer]] = []
        self._in_flight: list[tuple[Reply, Answer]] | None = None

    @property
    def in_flight(self) -> bool:
        """Whether a group is being committed, or its answers have only just left."""
        return self._in_flight is not None

    @property
    def idle(self) -> bool:
        """Whether no answer is held back."""
        return self._in_flight is None and not self._gathering

    def add(self, reply: Reply, answer: Answer) -> None:
        """Hold an answer back until all changes made so far are durable."""
        self._gathering.append((reply, answer))

    def start(self, changes: ChangeSet) -> None:
        """Commit `changes` and then let go what has gathered. Call when nothing is in flight."""
        group, self._gathering = self._gathering, []
        if not changes:
            _let_go(group)
            return
        self._in_flight = group
        future = self._executor.submit(self._commit, changes)
        future.add_done_callback(self._done_in_thread)

    def refuse(self, fault: Fault) -> None:
        """Answer everything that is held back with an error."""
        group, self._gathering = self._gathering, []
        _let_go([(reply, SqsError(fault)) for reply, _ in group])

    def _done_in_thread(self, future: Future[None]) -> None:
        self._loop.call_soon_threadsafe(self._done, future)

    def _done(self, future: Future[None]) -> None:
        error = future.exception()
        group = self._in_flight or []
        if error is None:
            self._in_flight = []
            _let_go(group)
            # The answers that just left bring the next requests. Two turns of the event loop, with
            # a read between them, let those join one large group; otherwise the clients fall into
            # two groups that take turns, for twice the commits.
            self._loop.call_soon(self._loop.call_soon, self._land)
        else:
            self._in_flight = None
            self._gathering = group + self._gathering
            self._failed(error)

    def _land(self) -> None:
        self._in_flight = None
        self._committed()


def _let_go(group: list[tuple[Reply, Answer]]) -> None:
    for reply, answer in group:
        try:
            reply(answer)
        except Exception:
            # One caller's trouble with its answer must not keep the others from theirs.
            _log.exception("An answer could not be delivered")
