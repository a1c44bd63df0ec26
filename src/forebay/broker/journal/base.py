"""What the broker asks of a journal."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple, Protocol

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


class Room(NamedTuple):
    """How much more a journal can keep, in bytes."""

    #: What can still be written, the reserve included.
    left_bytes: int
    #: The reserve: what of that is kept for commits that take and delete messages.
    reserve_bytes: int


class Journal(Protocol):
    """Where the engine's changes become durable.

    The methods may be called from any thread, one call at a time. The messages of a Snapshot are
    read from the journal as they are iterated, which counts as a call until the last one. When a
    call raises DiskError, the journal has logged it: once, however often it is tried again.
    """

    @property
    def durability(self) -> Durability:
        """What survives of a change once `commit` has returned."""
        ...

    @property
    def is_quick(self) -> bool:
        """Whether a commit now takes no longer than it would take to have a thread make it."""
        ...

    @property
    def shortage(self) -> str | None:
        """Why no more messages may be sent now, in a sentence for who sends; None when they may.

        It changes when a call returns or fails. Commits that take and delete messages go on.
        """
        ...

    @property
    def room(self) -> Room | None:
        """The room as of the latest look; None when nothing bounds it."""
        ...

    @property
    def memory_bytes(self) -> int:
        """What the journal has in memory and does not bound by itself."""
        ...

    def look(self) -> None:
        """See whether there is room for more. Call now and then; it may come at any time."""
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
