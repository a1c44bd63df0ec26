"""A queue: its messages by state, and what time does to them.

What standard and FIFO queues share stands here; which visible message comes next, and when, is all
that `standard.py` and `fifo.py` add.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import Counter

from msgspec import Struct

from forebay.broker.core.ages import Ages
from forebay.broker.core.attempts import ReceiveAttempts
from forebay.broker.core.attributes import QueueSettings, settings_of
from forebay.broker.core.changes import BacklogRecord, PageRequest, Position, QueueRecord
from forebay.broker.core.deadlines import NEVER_MS, Deadlines
from forebay.broker.core.deduplication import DeduplicationWindow
from forebay.broker.core.delay_changes import DelayChange, without_old
from forebay.broker.core.held import HeldMessages
from forebay.broker.core.message import Event, Message, State, transition
from forebay.broker.core.order import Order
from forebay.broker.core.window import Window, size_of
from forebay.protocol.identifiers import QueueKey, queue_arn


class QueueTotals(Struct, gc=False):
    """What happened in a queue since the broker started, in messages."""

    sent: int = 0
    #: Sends that were collapsed into an earlier one.
    deduplicated: int = 0
    #: Sends that were refused because the broker was short of room.
    refused: int = 0
    received: int = 0
    deleted: int = 0
    #: Moved to the dead-letter queue.
    dead_lettered: int = 0
    expired: int = 0


class Queue(ABC):
    """The messages of one queue. Times are engine time in ms."""

    def __init__(self, record: QueueRecord, window: Window, order: Order) -> None:
        self.number = record.number
        self.key = QueueKey(record.region, record.account_id, record.name)
        self.arn = queue_arn(self.key)
        self.created_at_ms = record.created_at_ms
        self.modified_at_ms = record.modified_at_ms
        self.purged_at_ms = record.purged_at_ms
        self.attributes = record.attributes
        self.tags = record.tags
        self.delay_changes = record.delay_changes
        self.scope_settled_ms = record.scope_settled_ms
        self.settings: QueueSettings = settings_of(record.attributes)
        self.held = HeldMessages(record.number, window, fifo=self.settings.fifo)
        #: The messages in memory, by sequence.
        self.messages = self.held.messages
        #: The deduplication window; a standard queue has none.
        self.deduplication: DeduplicationWindow | None = None
        #: What recent receives delivered; a standard queue does not keep it.
        self.attempts: ReceiveAttempts | None = None
        #: No deadline of this queue falls before this time. It may be early, never late.
        self.due_ms = NEVER_MS
        self.totals = QueueTotals()
        self._delayed = Deadlines()
        self._in_flight = Deadlines()
        self._ages = Ages(self.messages)
        self._order = order
        #: When the engine will next look at this queue by itself.
        self.scheduled_ms = NEVER_MS

    @property
    def delayed_count(self) -> int:
        """How many messages wait for their delay to end."""
        backlog = self.held.backlog
        behind = backlog.count - backlog.visible_count if backlog is not None else 0
        return len(self._delayed) + behind

    @property
    def in_flight_count(self) -> int:
        """How many messages were received and are hidden."""
        return len(self._in_flight)

    @property
    def visible_count(self) -> int:
        """How many messages are neither delayed nor in flight."""
        behind = self.held.backlog.visible_count if self.held.backlog is not None else 0
        return len(self.messages) - len(self._delayed) - len(self._in_flight) + behind

    def record(self) -> QueueRecord:
        """The queue as the journal keeps it."""
        return QueueRecord(
            number=self.number,
            account_id=self.key.account_id,
            name=self.key.name,
            region=self.key.region,
            created_at_ms=self.created_at_ms,
            modified_at_ms=self.modified_at_ms,
            purged_at_ms=self.purged_at_ms,
            attributes=self.attributes,
            tags=self.tags,
            delay_changes=self.delay_changes,
            scope_settled_ms=self.scope_settled_ms,
        )

    def set_attributes(self, attributes: dict[str, str]) -> None:
        """Run on other attributes from now on. Retention applies to the messages already here."""
        self.attributes = attributes
        self.settings = settings_of(attributes)
        self.due_ms = self._earliest()

    def change_delays(self, shift_ms: int, change: DelayChange) -> None:
        """Have the delays that have not ended do so later by `shift_ms`, or earlier."""
        self.delay_changes = [*without_old(self.delay_changes, change.at_ms), change]
        for message in self.messages.values():
            if message.state is State.DELAYED:
                message.available_at_ms += shift_ms
                self._delayed.add(message.sequence, message.available_at_ms)
        if self.held.backlog is not None:
            self.held.backlog.shift_delays(shift_ms, change.at_ms)
        self.due_ms = self._earliest()

    def delays(self) -> list[tuple[int, int]]:
        """(available at, how many) of the delayed messages, in ms."""
        here = Counter(
            message.available_at_ms
            for message in self.messages.values()
            if message.state is State.DELAYED
        )
        behind = self.held.backlog.delays() if self.held.backlog is not None else []
        return [*here.items(), *behind]

    def add(self, message: Message, now_ms: int) -> None:
        """Take in a message that was sent or moved here."""
        if self.held.has_room_for_all():
            self._admit(message, now_ms)
            return
        is_full = self.held.is_full()
        if not self.held.leave_behind(message, now_ms):
            self._admit(message, now_ms)
            if is_full:
                self._evict(now_ms)

    def restore(self, message: Message, now_ms: int, visible_at_ms: int) -> None:
        """Put back a message that was received; `visible_at_ms` is of its latest delivery."""
        message.received_here = True
        self._admit(message, now_ms)
        if message.state is State.VISIBLE and visible_at_ms > now_ms:
            self.hide(message, now_ms, visible_at_ms)

    def restore_backlog(self, record: BacklogRecord, now_ms: int) -> None:
        """Take over the messages that are in the journal alone."""
        self.held.restore(record, now_ms)
        self.due_ms = self._earliest()

    def wants_page(self) -> bool:
        """Whether messages should be read from the journal before a receive runs dry."""
        backlog = self.held.backlog
        return backlog is not None and backlog.asked is None and self._has_room()

    def _has_room(self) -> bool:
        """Whether a page would not be too much."""
        return self.held.is_low()

    def ask_for_page(self, number: int, now_ms: int) -> PageRequest | None:
        """The next page of the backlog, under a number of its own; None when none is wanted.

        Pages of one tenant and pages of all take turns.
        """
        backlog = self.held.backlog
        if backlog is None or backlog.asked is not None:
            return None
        wants_page = self.wants_page()
        if backlog.tenants_turn or not wants_page:
            request = self._ask_for_tenant(number, now_ms)
            if request is not None:
                return request
        return self.held.ask_for_page(number) if wants_page else None

    def page_in(
        self, request: PageRequest, messages: list[Message], rest: Position | None, now_ms: int
    ) -> None:
        """Take in a page that was asked for, unless what happened since has made it void.

        `rest` is where the first message stands that the page had no place for.
        """
        for message in self.held.page_in(request, messages, rest, now_ms):
            self._admit(message, now_ms)
        self.due_ms = self._earliest()

    def select(
        self,
        limit: int,
        max_receive_count: int | None,
        now_ms: int,
        *,
        received_alone: bool = False,
        exhausted_size_max: int = sys.maxsize,
    ) -> tuple[list[Message], list[Message]]:
        """The next messages to deliver, at most `limit`, and those to dead-letter on the way.

        A message that was received from this queue `max_receive_count` times already is not
        delivered again. With `received_alone` none is that was never received from this queue.
        When those to dead-letter have `exhausted_size_max` characters, the next one ends it.
        """
        chosen: list[Message] = []
        exhausted: list[Message] = []
        exhausted_size = 0
        in_order = self._order.select(limit, now_ms)
        if received_alone:
            in_order = (message for message in in_order if message.received_here)
        for message in in_order:
            if len(chosen) == limit:
                break
            if (
                max_receive_count is not None
                and message.receive_count >= max_receive_count
                and message.receives_here >= max_receive_count
            ):
                if exhausted_size >= exhausted_size_max:
                    break
                exhausted.append(message)
                exhausted_size += size_of(message) + 1
            else:
                chosen.append(message)
        return chosen, exhausted

    def deliver(self, message: Message, now_ms: int, wall_ms: int, timeout_ms: int) -> None:
        """Count a receive and hide the message for `timeout_ms`.

        0 leaves it visible, at the end of those that are, so that a caller who only looks comes to
        see all of them.
        """
        transition(message, Event.RECEIVED)
        if not message.received_here:
            self.held.count_received(message)
        message.receive_count += 1
        self.totals.received += 1
        message.taken_at_ms = now_ms
        message.first_received_at_ms = message.first_received_at_ms or wall_ms
        self._order.vanish(message)
        if timeout_ms == 0:
            transition(message, Event.RELEASED)
            message.turn = 0
            self._order.appear(message)
        else:
            until_ms = now_ms + timeout_ms
            self._in_flight.add(message.sequence, until_ms)
            self.due_ms = min(self.due_ms, until_ms)
            self._order.took_off(message, now_ms)

    def hide(self, message: Message, now_ms: int, until_ms: int) -> None:
        """Hide a message, in flight or visible, until a time."""
        was_visible = message.state is State.VISIBLE
        transition(message, Event.HIDDEN)
        self._in_flight.add(message.sequence, until_ms)
        self.due_ms = min(self.due_ms, until_ms)
        if was_visible:
            self._order.vanish(message)
            self._order.took_off(message, now_ms)

    def release(self, message: Message, now_ms: int) -> None:
        """Make a message in flight visible at once."""
        transition(message, Event.RELEASED)
        self._in_flight.discard(message.sequence)
        self._order.landed(message, now_ms)
        self._order.appear(message)

    def remove(self, message: Message, event: Event, now_ms: int) -> None:
        """Take a message out for good."""
        before = message.state
        transition(message, event)
        self.held.leave(message)
        if before is State.VISIBLE:
            self._order.vanish(message)
        elif before is State.IN_FLIGHT:
            self._in_flight.discard(message.sequence)
            self._order.landed(message, now_ms)
        else:
            self._delayed.discard(message.sequence)

    def purge(self, floor_key: int) -> None:
        """Take out every message, delayed and in flight ones too.

        Messages that come later have at least `floor_key` as their page key.
        """
        for message in self.messages.values():
            transition(message, Event.PURGED)
        self.held.clear(floor_key)
        self._delayed.clear()
        self._in_flight.clear()
        self._ages.clear()
        self._order.clear()
        self.due_ms = NEVER_MS

    def settle(self, now_ms: int) -> list[Message]:
        """Do what time has brought: expire messages, end delays and visibility timeouts.

        Answers the messages that expired, which are already out of the queue.
        """
        if now_ms < self.due_ms:
            return []
        expired = []
        expiry_ms = now_ms - self.settings.retention_ms
        while (message := self._ages.oldest()) and message.enqueued_at_ms <= expiry_ms:
            self.remove(message, Event.EXPIRED, now_ms)
            expired.append(message)
            self.totals.expired += 1
        while (sequence := self._delayed.pop_due(now_ms)) is not None:
            message = self.messages[sequence]
            transition(message, Event.DELAY_ENDED)
            self._order.appear(message)
        while (sequence := self._in_flight.pop_due(now_ms)) is not None:
            message = self.messages[sequence]
            transition(message, Event.TIMED_OUT)
            self._order.landed(message, now_ms)
            self._order.appear(message)
        self.due_ms = self._earliest()
        return expired

    def oldest_message(self) -> Message | None:
        """The message in memory whose retention began first; None when there is none."""
        return self._ages.oldest()

    def oldest_enqueued_at_ms(self) -> int | None:
        """When retention began for the oldest message; None for an empty queue."""
        behind = self.held.backlog.enqueued_at_ms if self.held.backlog is not None else None
        message = self._ages.oldest()
        oldest = message.enqueued_at_ms if message is not None else None
        return oldest if behind is None else behind if oldest is None else min(oldest, behind)

    def visible_at(self, message: Message) -> int:
        """When a message in flight may be received again; 0 for any other."""
        return self._in_flight.due_at(message.sequence) or 0

    def is_readable(self) -> bool:
        """Whether a receive would find a message now, or have one read."""
        return bool(self._order) or self.wants_page()

    def has_ready(self) -> bool:
        """Whether a receive would find a message in memory now."""
        return bool(self._order)

    @abstractmethod
    def _ask_for_tenant(self, number: int, now_ms: int) -> PageRequest | None:
        """A page of a tenant that is to be served ahead of its turn; None when there is none."""

    def _admit(self, message: Message, now_ms: int) -> None:
        self.held.enter(message)
        self._ages.add(message)
        due_ms = message.enqueued_at_ms + self.settings.retention_ms
        if message.available_at_ms > now_ms:
            self._delayed.add(message.sequence, message.available_at_ms)
            due_ms = min(due_ms, message.available_at_ms)
        else:
            transition(message, Event.DELAY_ENDED)
            self._order.appear(message)
        self.due_ms = min(self.due_ms, due_ms)

    def _evict(self, now_ms: int) -> None:
        for message in self.held.evict(now_ms):
            if message.state is State.VISIBLE:
                self._order.vanish(message)
            else:
                self._delayed.discard(message.sequence)

    def _earliest(self) -> int:
        oldest = self._ages.oldest()
        expiry_ms = None if oldest is None else oldest.enqueued_at_ms + self.settings.retention_ms
        due = (
            expiry_ms,
            self._delayed.earliest(),
            self._in_flight.earliest(),
            self._backlog_expiry(),
        )
        return min((due_ms for due_ms in due if due_ms is not None), default=NEVER_MS)

    def _backlog_expiry(self) -> int | None:
        """When a page is due because the first messages of the backlog expire."""
        backlog = self.held.backlog
        if backlog is None or backlog.enqueued_at_ms is None or not self.wants_page():
            return None
        return backlog.enqueued_at_ms + self.settings.retention_ms

    def backlog_expires(self, now_ms: int) -> bool:
        """Whether a page should be read to see which of its messages have expired."""
        expiry_ms = self._backlog_expiry()
        return expiry_ms is not None and expiry_ms <= now_ms
