"""A bound on the memory that messages and deduplication ids take.

A window bounds what a broker holds of each queue, but for messages that were received and not
deleted, deduplication ids, and everything when nothing is on a disk. The bound is an alarm: what
would take more waits, and what gives memory back goes on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from forebay.broker.core.memory import MemoryUse
from forebay.broker.journal.trouble import Trouble

#: The most memory that a container may take, where the broker runs in one.
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

#: The alarm ends at so many tenths of the limit, so that it does not come and go with each message.
_ENOUGH_TENTHS = 8

#: Time between two looks, far from the limit and at it, in milliseconds. Each goes through all
#: queues.
_LOOK_MS_MAX = 1_000
_LOOK_MS_MIN = 20

#: More than clients can send in a millisecond, in bytes: so much nearer, so much sooner the look.
_BYTES_PER_MS = 500_000

_SHORTAGE = (
    "The broker has as many messages and deduplication ids in memory as it may, so it takes no"
    " messages now. Receive and delete some, and send this again."
)


def default_memory_limit_bytes() -> int:
    """Half of the memory that this machine, or this container, has."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        memory_bytes = min(memory_bytes, int(_CGROUP_LIMIT.read_text()))
    return memory_bytes // 2


class MemoryLimit:
    """The bound of one broker. 0 is none.

    `drains_by_receiving` says that a message which was never received is in memory already, as it
    is where nothing is on a disk.
    """

    def __init__(self, limit_bytes: int, *, drains_by_receiving: bool) -> None:
        self.limit_bytes = limit_bytes
        #: What is taken, as of the latest look.
        self.taken_bytes = 0
        #: Why messages are refused; None when they are not.
        self.shortage: str | None = None
        #: Whether receives deliver only what was received before.
        self.redelivers_alone = False
        self._drains_by_receiving = drains_by_receiving
        self._trouble = Trouble(
            "Messages and deduplication ids take almost all memory that they may: messages are"
            " refused. Delete what was received, or raise --memory-limit.",
            "Messages and deduplication ids take less memory again: messages are taken.",
        )

    def look(self, use: MemoryUse, journal_bytes: int) -> int:
        """Take note of what is taken. Answers when to look again, in milliseconds.

        `journal_bytes` is what the journal has in memory. It shares what the messages contain.
        """
        limit_bytes = self.limit_bytes
        taken_bytes = use.other_bytes + max(use.content_bytes, journal_bytes)
        self.taken_bytes = taken_bytes
        enough_bytes = limit_bytes
        if self.shortage is not None:
            enough_bytes = limit_bytes * _ENOUGH_TENTHS // 10
        if limit_bytes and taken_bytes > enough_bytes:
            self.shortage = _SHORTAGE
            self._trouble.met(
                f"They take {taken_bytes / 1_000_000:.1f} MB of {limit_bytes / 1_000_000:.1f} MB."
            )
        else:
            self.shortage = None
            self._trouble.over()
        self.redelivers_alone = (
            self.shortage is not None
            and not self._drains_by_receiving
            and use.received_bytes * 2 > limit_bytes
        )
        if not limit_bytes:
            return _LOOK_MS_MAX
        left_ms = (limit_bytes - taken_bytes) // _BYTES_PER_MS
        return min(max(left_ms, _LOOK_MS_MIN), _LOOK_MS_MAX)
