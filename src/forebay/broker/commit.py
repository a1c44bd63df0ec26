"""Group commit: answers wait until the changes that they tell of are durable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from forebay.broker.core.changes import ChangeSet, Page, PageRequest
from forebay.broker.journal.base import Durability, Journal
from forebay.broker.polls import Answer, Reply
from forebay.protocol.errors import Fault, SqsError

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Answers that are enough for one commit, however many more are coming.
_GROUP_MAX = 128

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
    """Gathers answers and lets them go in groups, each after its commit, and reads pages between.

    A group grows with the load, and a lone request waits for nobody. An answer without changes of
    its own waits as well: it may tell of changes that are not durable yet, as the answer to a
    duplicate send does.

    A commit that is quick is made at once, since to hand it to a thread and back would take longer
    than the commit itself; the executor makes any other, while the next group gathers.

    `paged` is given each page that was read, or what reading it raised. `committed` is called when
    a group is done by the executor, and `failed` when its commit raised. After a failure the
    answers of the group, and all that gathered behind it, are held until `refuse`.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        paged: Callable[[PageRequest, Page | Exception], None],
        executor: Executor,
        loop: asyncio.AbstractEventLoop,
        committed: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._journal = journal
        self._paged = paged
        self._executor = executor
        self._loop = loop
        self._committed = committed
        self._failed = failed
        #: Answers that are held back until all changes made so far are durable.
        self.gathering: list[tuple[Reply, Answer]] = []
        self._in_flight: list[tuple[Reply, Answer]] | None = None
        self._page_requests: Sequence[PageRequest] = ()
        self._waits_for_disk = journal.durability is Durability.FSYNC
        #: How many had gathered when it was last asked whether more are coming.
        self._gathered = 0

    @property
    def in_flight(self) -> bool:
        """Whether the executor is at work for a group."""
        return self._in_flight is not None

    @property
    def idle(self) -> bool:
        """Whether no answer is held back."""
        return self._in_flight is None and not self.gathering

    def are_more_coming(self) -> bool:
        """Whether to look once more for requests before the next commit.

        Clients that were answered together ask again within a few turns of the event loop. To wait
        while each turn brings more of them costs less than a sync for each few.
        """
        gathered = len(self.gathering)
        coming = self._waits_for_disk and self._gathered < gathered < _GROUP_MAX
        self._gathered = gathered
        return coming

    def start(self, changes: ChangeSet, page_requests: Sequence[PageRequest] = ()) -> None:
        """Commit `changes`, then let go what has gathered, then read the pages.

        Call when nothing is in flight.
        """
        group, self.gathering = self.gathering, []
        self._gathered = 0
        if changes:
            if not self._journal.is_quick:
                self._in_flight = group
                self._page_requests = page_requests
                future = self._executor.submit(self._journal.commit, changes)
                future.add_done_callback(self._done_in_thread)
                return
            try:
                self._journal.commit(changes)
            except Exception as error:
                self._fail(group, error)
                return
        _let_go(group)
        if page_requests:
            self._in_flight = []
            self._read_pages(page_requests)

    def refuse(self, fault: Fault) -> None:
        """Answer everything that is held back with an error."""
        group, self.gathering = self.gathering, []
        _let_go([(reply, SqsError(fault)) for reply, _ in group])

    def _fail(self, group: list[tuple[Reply, Answer]], error: BaseException) -> None:
        self._in_flight = None
        self.gathering = group + self.gathering
        self._failed(error)

    def _done_in_thread(self, future: Future[None]) -> None:
        self._loop.call_soon_threadsafe(self._done, future)

    def _done(self, future: Future[None]) -> None:
        error = future.exception()
        group, self._in_flight = self._in_flight or [], []
        page_requests, self._page_requests = self._page_requests, ()
        if error is not None:
            self._fail(group, error)
            return
        _let_go(group)
        if page_requests:
            self._read_pages(page_requests)
        else:
            self._land()

    def _read_pages(self, requests: Sequence[PageRequest]) -> None:
        def read() -> list[Page | Exception]:
            return [self._try_to_read(request) for request in requests]

        def read_in_thread(future: Future[list[Page | Exception]]) -> None:
            self._loop.call_soon_threadsafe(self._pages_read, requests, future)

        self._executor.submit(read).add_done_callback(read_in_thread)

    def _try_to_read(self, request: PageRequest) -> Page | Exception:
        try:
            return self._journal.page(request)
        except Exception as error:
            return error

    def _pages_read(
        self, requests: Sequence[PageRequest], future: Future[list[Page | Exception]]
    ) -> None:
        for request, page in zip(requests, future.result(), strict=True):
            self._paged(request, page)
        self._land()

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
