"""A queue: its messages by state, and what time does to them.

What standard and FIFO queues share stands here; which visible message comes next, and when, is all
that `standard.py` and `fifo.py` add.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator

from msgspec import Struct

from forebay.broker.core.attempts import ReceiveAttempts
from forebay.broker.core.attributes import QueueSettings, settings_of
from forebay.broker.core.changes import BacklogRecord, PageRequest, QueueRecord, Tally
from forebay.broker.core.deadlines import Deadlines
from forebay.broker.core.deduplication import DeduplicationWindow
from forebay.broker.core.message import Event, Message, State, transition
from forebay.broker.core.window import Backlog, Position, Window, size_of
from forebay.protocol.identifiers import QueueKey, queue_arn

#: A time that never comes.
NEVER_MS = sys.maxsize


class QueueTotals(Struct, gc=False):
    """What happened in a queue since the broker started, in messages."""

    sent: int = 0
    #: Sends that were collapsed into an earlier one.
    deduplicated: int = 0
    received: int = 0
    deleted: int = 0
    #: Moved to the dead-letter queue.
    dead_lettered: int = 0
    expired: int = 0


class Queue(ABC):
    """The messages of one queue. Times are engine time in ms."""

    def __init__(self, record: QueueRecord, window: Window) -> None:
        self.number = record.number
        self.key = QueueKey(record.account_id, record.name)
        self.region = record.region
        self.arn = queue_arn(record.region, self.key)
        self.created_at_ms = record.created_at_ms
        self.modified_at_ms = record.modified_at_ms
        self.purged_at_ms = record.purged_at_ms
        self.attributes = record.attributes
        self.tags = record.tags
        self.settings: QueueSettings = settings_of(record.attributes)
        #: The messages in memory, by sequence.
        self.messages: dict[int, Message] = {}
        self.window = window
        #: What is not in memory; None when everything is.
        self.backlog: Backlog | None = None
        #: The tally that the journal was last given.
        self.saved_tally = Tally()
        #: The deduplication window; a standard queue has none.
        self.deduplication: DeduplicationWindow | None = None
        #: What recent receives delivered; a standard queue does not keep it.
        self.attempts: ReceiveAttempts | None = None
        #: No deadline of this queue falls before this time. It may be early, never late.
        self.due_ms = NEVER_MS
        self.totals = QueueTotals()
        self._delayed = Deadlines()
        self._in_flight = Deadlines()
        self._enqueued = Deadlines()
        #: Messages in memory that were never received, and their size.
        self._unreceived = 0
        self._unreceived_size = 0
        #: No message that was never received and is in memory stands behind this position.
        self._last_position: Position = (0, 0)
        self._floor_key = 0

    @property
    def delayed_count(self) -> int:
        """How many messages wait for their delay to end."""
        behind = self.backlog.delayed_count if self.backlog is not None else 0
        return len(self._delayed) + behind

    @property
    def in_flight_count(self) -> int:
        """How many messages were received and are hidden."""
        return len(self._in_flight)

    @property
    def visible_count(self) -> int:
        """How many messages are neither delayed nor in flight."""
        behind = self.backlog.visible_count if self.backlog is not None else 0
        return len(self.messages) - len(self._delayed) - len(self._in_flight) + behind

    @property
    def tally(self) -> Tally:
        """What the journal has to keep beside the messages."""
        behind = self.backlog.count if self.backlog is not None else 0
        return Tally(self._unreceived + behind, self._floor_key)

    @property
    def awaits_page(self) -> bool:
        """Whether a page is on its way that may bring visible messages."""
        backlog = self.backlog
        return backlog is not None and backlog.asked is not None and backlog.visible_count > 0

    def record(self) -> QueueRecord:
        """The queue as the journal keeps it."""
        return QueueRecord(
            number=self.number,
            account_id=self.key.account_id,
            name=self.key.name,
            region=self.region,
            created_at_ms=self.created_at_ms,
            modified_at_ms=self.modified_at_ms,
            purged_at_ms=self.purged_at_ms,
            attributes=self.attributes,
            tags=self.tags,
        )

    def set_attributes(self, attributes: dict[str, str]) -> None:
        """Run on other attributes from now on. Retention applies to the messages already here."""
        self.attributes = attributes
        self.settings = settings_of(attributes)
        self.due_ms = self._earliest()

    def add(self, message: Message, now_ms: int) -> None:
        """Take in a message that was sent or moved here."""
        is_full = self._is_full()
        if is_full and self.backlog is None:
            self.backlog = Backlog(self._last_position, self.window.delay_step_ms)
        backlog = self.backlog
        if backlog is not None and self.position(message) > backlog.horizon:
            backlog.add(message, now_ms)
            if backlog.asked is not None:
                backlog.arriving[message.sequence] = message
            return
        self._admit(message, now_ms)
        if is_full and backlog is not None:
            self._evict(backlog, now_ms)

    def restore(self, message: Message, now_ms: int, visible_at_ms: int) -> None:
        """Put back a message that was received; `visible_at_ms` is of its latest delivery."""
        message.received_here = True
        self._admit(message, now_ms)
        if message.state is State.VISIBLE and visible_at_ms > now_ms:
            self.hide(message, now_ms, visible_at_ms)

    def restore_backlog(self, record: BacklogRecord, now_ms: int) -> None:
        """Take over the messages that are in the journal alone."""
        self.saved_tally = record.tally
        self._floor_key = record.tally.floor_key
        self._last_position = max(self._last_position, (self._floor_key, 0))
        if not record.tally.unreceived:
            return
        self.backlog = backlog = Backlog((self._floor_key, 0), self.window.delay_step_ms)
        backlog.count = record.tally.unreceived
        backlog.enqueued_at_ms = record.enqueued_at_ms
        for available_at_ms, count in record.delayed:
            backlog.add_delayed(available_at_ms, count, now_ms)
        self.due_ms = self._earliest()

    def wants_page(self) -> bool:
        """Whether messages should be read from the journal before a receive runs dry."""
        return self.backlog is not None and self.backlog.asked is None and self._is_low()

    def ask_for_page(self, number: int) -> PageRequest | None:
        """The next page of the backlog, under a number of its own; None when none is wanted."""
        if self.backlog is None or not self.wants_page():
            return None
        self.backlog.asked = PageRequest(
            number,
            self.number,
            self.backlog.horizon,
            self.window.page_messages,
            max(1, self.window.size // 2),
        )
        return self.backlog.asked

    def page_in(
        self, request: PageRequest, messages: list[Message], now_ms: int, *, is_last: bool
    ) -> None:
        """Take in a page that was asked for, unless what happened since has made it void."""
        backlog = self.backlog
        if backlog is None or backlog.asked != request:
            return
        backlog.settle(now_ms)
        arriving = {message.sequence: message for message in messages}
        if is_last:
            arriving |= backlog.arriving
            self.backlog = None
        else:
            backlog.horizon = self.position(messages[-1])
            for sequence, message in backlog.arriving.items():
                if self.position(message) <= backlog.horizon:
                    arriving[sequence] = message
        backlog.asked = None
        backlog.arriving = {}
        for message in sorted(arriving.values(), key=self.position):
            backlog.remove(message)
            backlog.enqueued_at_ms = message.enqueued_at_ms
            self._admit(message, now_ms)
        self.due_ms = self._earliest()

    def position(self, message: Message) -> Position:
        """Where a message stands in the page order."""
        return self.page_key(message), message.sequence

    @abstractmethod
    def page_key(self, message: Message) -> int:
        """What the messages of the queue are paged by, before their sequence."""

    def select(
        self, limit: int, max_receive_count: int | None, now_ms: int
    ) -> tuple[list[Message], list[Message]]:
        """The next messages to deliver, at most `limit`, and those to dead-letter on the way.

        A message that was received `max_receive_count` times already is not delivered again.
        """
        chosen: list[Message] = []
        exhausted: list[Message] = []
        for message in self._in_order(limit, now_ms):
            if len(chosen) == limit:
                break
            if max_receive_count is not None and message.receive_count >= max_receive_count:
                exhausted.append(message)
            else:
                chosen.append(message)
        return chosen, exhausted

    def deliver(self, message: Message, now_ms: int, wall_ms: int, timeout_ms: int) -> None:
        """Count a receive and hide the message for `timeout_ms`; 0 leaves it visible."""
        transition(message, Event.RECEIVED)
        if not message.received_here:
            message.received_here = True
            self._unreceived -= 1
            self._unreceived_size -= size_of(message)
        message.receive_count += 1
        self.totals.received += 1
        message.taken_at_ms = now_ms
        message.first_received_at_ms = message.first_received_at_ms or wall_ms
        self._vanish(message)
        if timeout_ms == 0:
            transition(message, Event.RELEASED)
            self._appear(message)
        else:
            self._fly_until(message, now_ms + timeout_ms)
            self._took_off(message, now_ms)

    def hide(self, message: Message, now_ms: int, until_ms: int) -> None:
        """Hide a message, in flight or visible, until a time."""
        was_visible = message.state is State.VISIBLE
        transition(message, Event.HIDDEN)
        self._fly_until(message, until_ms)
        if was_visible:
            self._vanish(message)
            self._took_off(message, now_ms)

    def release(self, message: Message, now_ms: int) -> None:
        """Make a message visible at once."""
        was_visible = message.state is State.VISIBLE
        transition(message, Event.RELEASED)
        if not was_visible:
            self._in_flight.discard(message.sequence)
            self._landed(message, now_ms)
            self._appear(message)

    def remove(self, message: Message, event: Event, now_ms: int) -> None:
        """Take a message out for good."""
        before = message.state
        transition(message, event)
        self._forget(message)
        self._in_flight.discard(message.sequence)
        if before is State.VISIBLE:
            self._vanish(message)
        elif before is State.IN_FLIGHT:
            self._landed(message, now_ms)
        self._removed(message)

    def purge(self, floor_key: int) -> None:
        """Take out every message, delayed and in flight ones too.

        Messages that come later have at least `floor_key` as their page key.
        """
        for message in self.messages.values():
            transition(message, Event.PURGED)
        self.messages.clear()
        self._delayed.clear()
        self._in_flight.clear()
        self._enqueued.clear()
        self._unreceived = 0
        self._unreceived_size = 0
        self.backlog = None
        self._floor_key = floor_key
        self._last_position = (floor_key, 0)
        self.due_ms = NEVER_MS

    def settle(self, now_ms: int) -> list[Message]:
        """Do what time has brought: expire messages, end delays and visibility timeouts.

        Answers the messages that expired, which are already out of the queue.
        """
        if now_ms < self.due_ms:
            return []
        expired = []
        expiry_ms = now_ms - self.settings.retention_ms
        while (sequence := self._enqueued.pop_due(expiry_ms)) is not None:
            message = self.messages[sequence]
            self.remove(message, Event.EXPIRED, now_ms)
            expired.append(message)
            self.totals.expired += 1
        while (sequence := self._delayed.pop_due(now_ms)) is not None:
            message = self.messages[sequence]
            transition(message, Event.DELAY_ENDED)
            self._appear(message)
        while (sequence := self._in_flight.pop_due(now_ms)) is not None:
            message = self.messages[sequence]
            transition(message, Event.TIMED_OUT)
            self._landed(message, now_ms)
            self._appear(message)
        self.due_ms = self._earliest()
        return expired

    def oldest_enqueued_at_ms(self) -> int | None:
        """When retention began for the oldest message; None for an empty queue."""
        behind = self.backlog.enqueued_at_ms if self.backlog is not None else None
        oldest = self._enqueued.earliest()
        return oldest if behind is None else behind if oldest is None else min(oldest, behind)

    def visible_at(self, message: Message) -> int:
        """When a message in flight may be received again; 0 for any other."""
        return self._in_flight.due_at(message.sequence) or 0

    def is_readable(self) -> bool:
        """Whether a receive would find a message now, or have one read."""
        return self.has_ready() or self.wants_page()

    @abstractmethod
    def has_ready(self) -> bool:
        """Whether a receive would find a message in memory now."""

    @abstractmethod
    def _in_order(self, limit: int, now_ms: int) -> Iterator[Message]:
        """The visible messages as they are served; at most `limit` of them will be delivered."""

    @abstractmethod
    def _appear(self, message: Message) -> None:
        """The message became visible."""

    @abstractmethod
    def _vanish(self, message: Message) -> None:
        """The message is visible no more."""

    @abstractmethod
    def _took_off(self, message: Message, now_ms: int) -> None:
        """The message is in flight."""

    @abstractmethod
    def _landed(self, message: Message, now_ms: int) -> None:
        """The message is in flight no more."""

    @abstractmethod
    def _removed(self, message: Message) -> None:
        """The message left the queue."""

    def _admit(self, message: Message, now_ms: int) -> None:
        self._enter(message)
        if message.available_at_ms > now_ms:
            self._delayed.add(message.sequence, message.available_at_ms)
            self._note_due(message.available_at_ms)
        else:
            transition(message, Event.DELAY_ENDED)
            self._appear(message)

    def _is_full(self) -> bool:
        window = self.window
        return self._unreceived >= window.messages or self._unreceived_size >= window.size

    def _is_low(self) -> bool:
        window = self.window
        return self._unreceived * 2 <= window.messages and self._unreceived_size * 2 <= window.size

    def _evict(self, backlog: Backlog, now_ms: int) -> None:
        """Leave the rear half of the window to the journal."""
        unreceived = [message for message in self.messages.values() if not message.received_here]
        unreceived.sort(key=self.position)
        kept = size = 0
        for message in unreceived:
            size += size_of(message)
            if kept and (2 * kept >= self.window.messages or 2 * size > self.window.size):
                break
            kept += 1
        backlog.horizon = self.position(unreceived[kept - 1])
        backlog.asked = None
        backlog.arriving = {}
        for message in unreceived[kept:]:
            self._forget(message)
            if message.state is State.VISIBLE:
                self._vanish(message)
            backlog.add(message, now_ms)

    def _forget(self, message: Message) -> None:
        del self.messages[message.sequence]
        self._delayed.discard(message.sequence)
        self._enqueued.discard(message.sequence)
        if not message.received_here:
            self._unreceived -= 1
            self._unreceived_size -= size_of(message)

    def _enter(self, message: Message) -> None:
        self.messages[message.sequence] = message
        if not message.received_here:
            self._unreceived += 1
            self._unreceived_size += size_of(message)
            position = self.position(message)
            self._last_position = max(self._last_position, position)
        self._enqueued.add(message.sequence, message.enqueued_at_ms)
        self._note_due(message.enqueued_at_ms + self.settings.retention_ms)

    def _fly_until(self, message: Message, until_ms: int) -> None:
        self._in_flight.add(message.sequence, until_ms)
        self._note_due(until_ms)

    def _note_due(self, due_ms: int) -> None:
        self.due_ms = min(self.due_ms, due_ms)

    def _earliest(self) -> int:
        oldest_ms = self._enqueued.earliest()
        expiry_ms = None if oldest_ms is None else oldest_ms + self.settings.retention_ms
        due = (
            expiry_ms,
            self._delayed.earliest(),
            self._in_flight.earliest(),
            self._backlog_expiry(),
        )
        return min((due_ms for due_ms in due if due_ms is not None), default=NEVER_MS)

    def _backlog_expiry(self) -> int | None:
        """When a page is due because the first messages of the backlog expire."""
        backlog = self.backlog
        if backlog is None or backlog.enqueued_at_ms is None or not self.wants_page():
            return None
        return backlog.enqueued_at_ms + self.settings.retention_ms

    def backlog_expires(self, now_ms: int) -> bool:
        """Whether a page should be read to see which of its messages have expired."""
        expiry_ms = self._backlog_expiry()
        return expiry_ms is not None and expiry_ms <= now_ms
