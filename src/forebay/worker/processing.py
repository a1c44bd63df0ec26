"""What may run now, of everything that was received. Pure: it runs nothing itself.

On a standard queue any message may run beside any other. On a FIFO queue a message waits until the
one before it in its message group is finished, and groups take turns.
"""

from __future__ import annotations

from collections import deque

from forebay.worker.lease import Lease


class Processing:
    """The messages in hand that are not finished, at most `concurrency` of them running.

    `concurrency` may change at any time. Below what runs, nothing starts until enough has ended.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        #: Messages whose handler runs.
        self.running = 0
        #: Messages that wait behind another of their group.
        self.blocked = 0
        self._ready: deque[Lease] = deque()
        #: What waits behind the message of a group that is ready or runs. A group is here exactly
        #: as long as it has such a message.
        self._behind: dict[str, deque[Lease]] = {}

    @property
    def ready(self) -> int:
        """Messages that wait for nothing but a free place."""
        return len(self._ready)

    @property
    def waiting(self) -> int:
        return len(self._ready) + self.blocked

    @property
    def is_idle(self) -> bool:
        return not self.running and not self._ready

    @property
    def can_start(self) -> bool:
        """Whether `take` would return a message."""
        return bool(self._ready) and self.running < self.concurrency

    def add(self, lease: Lease) -> None:
        """Take in a message. Those of one group must come in order of sequence."""
        group_id = lease.group_id
        if group_id is None:
            self._ready.append(lease)
        elif (behind := self._behind.get(group_id)) is not None:
            behind.append(lease)
            self.blocked += 1
        else:
            self._behind[group_id] = deque()
            self._ready.append(lease)

    def take(self) -> Lease | None:
        """The message to run now; None when nothing may start. End it with `finish` or `fail`."""
        if not self.can_start:
            return None
        self.running += 1
        return self._ready.popleft()

    def finish(self, lease: Lease) -> None:
        """A running message is done with; the next of its group may run."""
        self.running -= 1
        if lease.group_id is None:
            return
        behind = self._behind[lease.group_id]
        if behind:
            self._ready.append(behind.popleft())
            self.blocked -= 1
        else:
            del self._behind[lease.group_id]

    def fail(self, lease: Lease) -> list[Lease]:
        """A running message goes back to the queue: what waited behind it, in order, must follow.

        Those messages are no longer in hand here.
        """
        self.running -= 1
        if lease.group_id is None:
            return []
        behind = list(self._behind.pop(lease.group_id))
        self.blocked -= len(behind)
        return behind

    def is_followed(self, lease: Lease) -> bool:
        """Whether another message of its group waits behind a running one."""
        return lease.group_id is not None and bool(self._behind[lease.group_id])

    def give_up(self) -> list[Lease]:
        """Everything that has not started, each group in order. It is no longer in hand here."""
        abandoned = []
        for lease in self._ready:
            abandoned.append(lease)
            if lease.group_id is not None:
                abandoned.extend(self._behind.pop(lease.group_id))
        for behind in self._behind.values():
            abandoned.extend(behind)
            behind.clear()
        self._ready.clear()
        self.blocked = 0
        return abandoned
