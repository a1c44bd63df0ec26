"""Journals that fail when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from forebay.broker.core.changes import ChangeSet, Page, PageRequest, Snapshot
from forebay.broker.journal.memory import MemoryJournal
from forebay.errors import JournalError

P = ParamSpec("P")
T = TypeVar("T")


class FailingJournal(MemoryJournal):
    """Commits and loads until told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.failing_commits = 0
        self.failing_loads = 0
        self.failing_pages = 0
        self.loads = 0
        #: What was committed, one entry for each commit.
        self.commits: list[ChangeSet] = []

    def commit(self, changes: ChangeSet) -> None:
        if self.failing_commits:
            self.failing_commits -= 1
            raise JournalError("The disk is full.")
        self.commits.append(changes)
        super().commit(changes)

    def load(self) -> Snapshot:
        self.loads += 1
        if self.failing_loads:
            self.failing_loads -= 1
            raise JournalError("The disk is gone.")
        return super().load()

    def page(self, request: PageRequest) -> Page:
        if self.failing_pages:
            self.failing_pages -= 1
            raise JournalError("The disk is gone.")
        return super().page(request)


class HeldExecutor(Executor):
    """Does nothing until told to: work waits in `held`."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)

        self.held.append(work)
        return future

    def release(self) -> None:
        """Do the oldest piece of work that is held."""
        self.held.pop(0)()
