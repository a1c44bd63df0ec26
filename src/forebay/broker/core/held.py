"""The messages of a queue that are in memory, and which of the others come next.

A queue has a page order: the order in which its messages become receivable, by page key and
sequence. In memory are all messages that were received, and of the others those up to the horizon.
What stands behind the horizon is the backlog: it is in the journal, counted here, and read page by
page as the window empties. Without a backlog there is no horizon, and everything is in memory.

While some tenants of a standard queue are noisy, pages of a quiet one bring its messages from
behind the horizon ahead of their turn. Those are in memory and no part of the backlog; a page of
all tenants that comes to where they stand passes over them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from forebay.broker.core.backlog import Backlog
from forebay.broker.core.changes import BacklogRecord, PageRequest, Position, Tally
from forebay.broker.core.message import Message
from forebay.broker.core.tenants import Tenants
from forebay.broker.core.window import Window, size_of


class HeldMessages:
    """What a queue holds in memory under the bounds of a window.

    What should be in memory and is not, and the other way round, is for the queue to carry out.
    """

    def __init__(self, queue_number: int, window: Window, *, fifo: bool) -> None:
        #: The messages in memory, by sequence.
        self.messages: dict[int, Message] = {}
        #: What is not in memory; None when everything is.
        self.backlog: Backlog | None = None
        #: The tally that the journal was last given.
        self.saved_tally = Tally()
        self._queue_number = queue_number
        self._window = window
        self._fifo = fifo
        #: Messages in memory that were never received, and their size.
        self.unreceived = 0
        self.unreceived_size = 0
        #: Size of the messages in memory that were received.
        self.received_size = 0
        self._floor_key = 0

    @property
    def tally(self) -> Tally:
        """What the journal has to keep beside the messages."""
        behind = self.backlog.count if self.backlog is not None else 0
        return Tally(self.unreceived + behind, self._floor_key)

    @property
    def awaits_page(self) -> bool:
        """Whether a page is on its way that may bring visible messages."""
        backlog = self.backlog
        return backlog is not None and backlog.asked is not None and backlog.visible_count > 0

    def position(self, message: Message) -> Position:
        """Where a message stands in the page order.

        A delayed message of a standard queue becomes receivable late and stands there. One of a
        FIFO queue holds up its group, and stands where it was sent.
        """
        sequence = message.sequence
        return (sequence if self._fifo else message.available_at_ms, sequence)

    def has_room_for_all(self) -> bool:
        """Whether everything is in memory, and one message more may be."""
        return (
            self.backlog is None
            and self.unreceived < self._window.messages
            and self.unreceived_size < self._window.size
        )

    def is_full(self) -> bool:
        """Whether a message that was never received is one too many."""
        window = self._window
        return self.unreceived >= window.messages or self.unreceived_size >= window.size

    def is_low(self) -> bool:
        """Whether there is room for a page."""
        window = self._window
        return self.unreceived * 2 <= window.messages and self.unreceived_size * 2 <= window.size

    def leave_behind(self, message: Message, now_ms: int) -> bool:
        """Count a new message that belongs behind the horizon; False when it belongs before it."""
        backlog = self.backlog
        if backlog is None:
            backlog = self.backlog = self._new_backlog(self._last_position())
        position = self.position(message)
        if position <= backlog.horizon:
            return False
        backlog.add(message, position, now_ms)
        if backlog.asked is not None:
            backlog.arriving[message.sequence] = message
        return True

    def enter(self, message: Message) -> None:
        """Hold a message."""
        self.messages[message.sequence] = message
        if not message.received_here:
            self.unreceived += 1
            self.unreceived_size += size_of(message)
        else:
            self.received_size += size_of(message)

    def count_received(self, message: Message) -> None:
        """Note that a message is being received for the first time: it stays, whatever comes."""
        message.received_here = True
        self.unreceived -= 1
        size = size_of(message)
        self.unreceived_size -= size
        self.received_size += size

    def leave(self, message: Message) -> None:
        """Hold a message no more."""
        if self.backlog is not None and self.backlog.asked is not None:
            self.backlog.left.add(message.sequence)
        del self.messages[message.sequence]
        if not message.received_here:
            self.unreceived -= 1
            self.unreceived_size -= size_of(message)
        else:
            self.received_size -= size_of(message)

    def clear(self, floor_key: int) -> None:
        """Hold and know nothing. What comes later has at least `floor_key` as its page key."""
        self.messages.clear()
        self.backlog = None
        self.unreceived = 0
        self.unreceived_size = 0
        self.received_size = 0
        self._floor_key = floor_key

    def restore(self, record: BacklogRecord, now_ms: int) -> None:
        """Take over the messages that are in the journal alone."""
        self.saved_tally = record.tally
        self._floor_key = record.tally.floor_key
        if not record.tally.unreceived:
            return
        self.backlog = backlog = self._new_backlog((self._floor_key, 0))
        backlog.count = record.tally.unreceived
        backlog.enqueued_at_ms = record.enqueued_at_ms
        for available_at_ms, count in record.delayed:
            backlog.add_delayed(available_at_ms, count, now_ms)
        if backlog.tenants is not None:
            for group_id, first_key, last_key in record.tenants:
                backlog.tenants.add(group_id, (first_key, 0), (last_key, sys.maxsize))

    def evict(self, now_ms: int) -> list[Message]:
        """Leave the rear half of the window to the journal. Answers what that is."""
        backlog = self.backlog
        if backlog is None:
            return []
        unreceived = [message for message in self.messages.values() if not message.received_here]
        unreceived.sort(key=self.position)
        kept = size = 0
        for message in unreceived:
            size += size_of(message)
            if kept and (2 * kept >= self._window.messages or 2 * size > self._window.size):
                break
            kept += 1
        # What a tenant's page brought from behind the horizon must not take the horizon along.
        backlog.horizon = min(backlog.horizon, self.position(unreceived[kept - 1]))
        backlog.end_page()
        for message in unreceived[kept:]:
            self.leave(message)
            backlog.add(message, self.position(message), now_ms)
        return unreceived[kept:]

    def ask_for_page(self, number: int) -> PageRequest | None:
        """The next page of the backlog, under a number of its own."""
        backlog = self.backlog
        if backlog is None:
            return None
        backlog.tenants_turn = True
        backlog.asked = PageRequest(
            number,
            self._queue_number,
            backlog.horizon,
            self._window.page_messages,
            max(1, self._window.size // 2),
        )
        return backlog.asked

    def ask_for_tenant(
        self, number: int, now_ms: int, passed_over: Callable[[str], bool]
    ) -> PageRequest | None:
        """A page of one tenant's visible messages behind the horizon; None when none is due.

        `passed_over` says which tenants shall wait.
        """
        backlog = self.backlog
        if backlog is None or backlog.tenants is None or self._is_crowded():
            return None
        tenant = backlog.tenants.next(now_ms, backlog.horizon, passed_over)
        if tenant is None:
            return None
        group_id, (key, sequence) = tenant
        backlog.tenants_turn = False
        backlog.asked = PageRequest(
            number,
            self._queue_number,
            max(backlog.horizon, (key, sequence - 1)),
            self._window.tenant_page_messages,
            max(1, self._window.size // 16),
            group_id,
            key_max=now_ms,
        )
        return backlog.asked

    def page_in(
        self,
        request: PageRequest,
        messages: list[Message],
        rest: Position | None,
        now_ms: int,
    ) -> list[Message]:
        """Take note of a page that was asked for. Answers what is to be held now, in page order.

        That is nothing when what happened since has made the page void.
        """
        backlog = self.backlog
        if backlog is None or backlog.asked != request:
            return []
        backlog.settle(now_ms)
        coming = {message.sequence: message for message in messages}
        if request.group_id is not None:
            self._follow_tenant(backlog, request.group_id, coming, rest)
        elif rest is None:
            coming |= backlog.arriving
            self.backlog = None
        else:
            self._move_horizon(backlog, self.position(messages[-1]), coming)
        admitted = []
        for message in sorted(coming.values(), key=self.position):
            if request.group_id is None:
                backlog.enqueued_at_ms = message.enqueued_at_ms
            if message.sequence not in self.messages and message.sequence not in backlog.left:
                backlog.remove(message)
                admitted.append(message)
        backlog.end_page()
        return admitted

    def _move_horizon(
        self, backlog: Backlog, horizon: Position, coming: dict[int, Message]
    ) -> None:
        """Have a page end at a position, with what was sent before that position meanwhile."""
        backlog.horizon = horizon
        coming.update(
            (sequence, message)
            for sequence, message in backlog.arriving.items()
            if self.position(message) <= horizon
        )
        if backlog.tenants is not None:
            backlog.tenants.forget_passed(horizon)

    def _follow_tenant(
        self, backlog: Backlog, group_id: str, coming: dict[int, Message], rest: Position | None
    ) -> None:
        """Note where a tenant's next page starts: what was sent meanwhile is left for it."""
        starts = [] if rest is None else [rest]
        for sequence, message in backlog.arriving.items():
            if message.group_id == group_id and sequence not in coming:
                starts.append(self.position(message))
        if backlog.tenants is not None:
            backlog.tenants.go_on(group_id, min(starts, default=None))

    def _is_crowded(self) -> bool:
        """Whether pages of tenants have filled half as much again as the window."""
        window = self._window
        return (
            self.unreceived * 2 >= window.messages * 3
            or self.unreceived_size * 2 >= window.size * 3
        )

    def _last_position(self) -> Position:
        """No message that was never received and is in memory stands behind this position."""
        unreceived = (message for message in self.messages.values() if not message.received_here)
        return max(map(self.position, unreceived), default=(self._floor_key, 0))

    def _new_backlog(self, horizon: Position) -> Backlog:
        return Backlog(horizon, self._window.delay_step_ms, None if self._fifo else Tenants())
