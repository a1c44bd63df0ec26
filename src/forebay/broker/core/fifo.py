"""The order of a FIFO queue: message groups, each strictly in order of sequence.

Only the visible head of a group can be received: a receive walks a group from its oldest message
and stops at the first that is in flight or delayed. So a group with a message in flight is locked
behind that message; deleting all of a group's messages in flight frees it; making one visible again
frees what stands before the next hidden one; extending one hides it and everything after it.

A receive drains one group before it goes to the next. A group that becomes ready goes behind those
that are ready already, so groups take turns.

Source: SQSDeveloperGuide/FIFO-queues-understanding-logic.html
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import chain

from forebay.broker.core.attempts import ReceiveAttempts
from forebay.broker.core.changes import PageRequest, QueueRecord
from forebay.broker.core.deduplication import DeduplicationWindow
from forebay.broker.core.message import Event, Message, State
from forebay.broker.core.queue import Queue
from forebay.broker.core.window import Window


class MessageGroup:
    """The messages of one group in order of sequence, those gone from the middle included."""

    __slots__ = ("group_id", "members")

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.members: deque[Message] = deque()

    def head(self) -> Message | None:
        """The oldest message that is still here; None for an empty group."""
        members = self.members
        while members and members[0].state is State.GONE:
            members.popleft()
        return members[0] if members else None

    def visible_head(self) -> Iterator[Message]:
        """The messages before the first that is hidden."""
        for message in self.members:
            if message.state is State.VISIBLE:
                yield message
            elif message.state is not State.GONE:
                return


class GroupOrder:
    """The groups of a FIFO queue, and which of them can be received from."""

    def __init__(self) -> None:
        self._groups: dict[str, MessageGroup] = {}
        self._ready: OrderedDict[str, MessageGroup] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._ready)

    def enter(self, message: Message) -> None:
        """A message is in memory, behind all others of its group."""
        self._group_of(message).members.append(message)

    def leave(self, message: Message) -> None:
        """A message is gone."""
        group = self._group_of(message)
        if group.head() is not None:
            self._regard(group)
            return
        del self._groups[group.group_id]
        self._ready.pop(group.group_id, None)

    def appear(self, message: Message) -> None:
        self._regard(self._group_of(message))

    def vanish(self, message: Message) -> None:
        self._regard(self._group_of(message))

    def took_off(self, message: Message, now_ms: int) -> None:
        """Nothing depends on how long a message is in flight."""

    def landed(self, message: Message, now_ms: int) -> None:
        """Nothing depends on how long a message was in flight."""

    def select(
        self,
        limit: int,  # noqa: ARG002 - groups take turns, whatever is asked for
        now_ms: int,  # noqa: ARG002 - and whatever the time
    ) -> Iterator[Message]:
        return chain.from_iterable(group.visible_head() for group in self._ready.values())

    def clear(self) -> None:
        self._groups.clear()
        self._ready.clear()

    def _group_of(self, message: Message) -> MessageGroup:
        group_id = message.group_id or ""
        group = self._groups.get(group_id)
        if group is None:
            group = self._groups[group_id] = MessageGroup(group_id)
        return group

    def _regard(self, group: MessageGroup) -> None:
        head = group.head()
        if head is None or head.state is not State.VISIBLE:
            self._ready.pop(group.group_id, None)
        elif group.group_id not in self._ready:
            self._ready[group.group_id] = group


class FifoQueue(Queue):
    """Exactly-once processing within the deduplication window, in order within a message group."""

    def __init__(self, record: QueueRecord, window: Window) -> None:
        self._groups = GroupOrder()
        super().__init__(record, window, self._groups)
        self.deduplication: DeduplicationWindow = DeduplicationWindow()
        self.attempts: ReceiveAttempts = ReceiveAttempts()
        self._searched_messages = window.searched_messages

    def remove(self, message: Message, event: Event, now_ms: int) -> None:
        super().remove(message, event, now_ms)
        self._groups.leave(message)

    def purge(self, floor_key: int) -> None:
        super().purge(floor_key)
        self.deduplication.clear()
        self.attempts.clear()

    def _has_room(self) -> bool:
        return super()._has_room() or (
            not self._groups and len(self.messages) < self._searched_messages
        )

    def _ask_for_tenant(self, number: int, now_ms: int) -> PageRequest | None:  # noqa: ARG002
        return None

    def _admit(self, message: Message, now_ms: int) -> None:
        self._groups.enter(message)
        super()._admit(message, now_ms)
