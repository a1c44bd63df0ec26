"""What the broker asks of a journal."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Protocol

from forebay.broker.core.changes import ChangeSet, MessageRow, Page, PageRequest, Snapshot


class Durability(Enum):
    """What survives of a request that was answered."""

    #: Everything, also a power cut: the answer leaves after the disk has confirmed the write.
    FSYNC = "fsync"
    #: Everything while the machine stays up, also a killed broker. A power cut takes what the
    #: operating system had not written yet, and leaves the journal whole.
    OS = "os"
    #: Nothing outlives the broker.
    MEMORY = "memory"


class Journal(Protocol):
    """Where the engine's changes become durable.

    The methods may be called from any thread, one call at a time. The messages of a Snapshot are
    read from the journal as they are iterated, which counts as a call until the last one.
    """

    @property
    def durability(self) -> Durability:
        """What survives of a change once `commit` has returned."""
        ...

    @property
    def is_quick(self) -> bool:
        """Whether a commit now takes no longer than it would take to have a thread make it."""
        ...

    def load(self) -> Snapshot:
        """What was committed, as the engine is rebuilt from it.

        Raises JournalError, also while the rows are iterated.
        """
        ...

    def commit(self, changes: ChangeSet) -> None:
        """Keep all of `changes`, durable at the journal's level when this returns.

        Raises JournalError when that is not possible. Then nothing of the changes is kept, and the
        journal goes on from what was committed before. When only the sync failed, a crash before
        the next commit may bring the changes back, whole.
        """
        ...

    def page(self, request: PageRequest) -> Page:
        """The messages of a queue behind a position, those alone that were never received.

        It sees everything that was committed. At least one message is in it, whatever its size,
        unless there is none up to the largest page key. Raises JournalError when it cannot be read.
        """
        ...

    def close(self) -> None:
        """Let go of the journal. What was committed stays. A second call does nothing."""
        ...


def cut_page(request: PageRequest, rows: Iterable[MessageRow]) -> Page:
    """The page of a request, out of all rows behind the place at which it begins."""
    page: list[MessageRow] = []
    body_size = 0
    for row in rows:
        is_full = len(page) == request.messages_max or body_size >= request.body_size_max
        if is_full or (request.key_max is not None and row[11] > request.key_max):
            return Page(page, rest=(row[11], row[0]))
        page.append(row)
        body_size += len(row[3])
    return Page(page)
