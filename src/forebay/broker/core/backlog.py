"""What is known of the messages of a queue that are not in memory."""

from __future__ import annotations

from heapq import heappop, heappush

from forebay.broker.core.changes import PageRequest, Position
from forebay.broker.core.message import Message
from forebay.broker.core.tenants import Tenants


class Backlog:
    """The messages of a queue behind its horizon, which are in the journal alone."""

    __slots__ = (
        "_delay_ends",
        "_delayed",
        "_step_ms",
        "arriving",
        "asked",
        "count",
        "delayed_count",
        "enqueued_at_ms",
        "horizon",
        "left",
        "tenants",
        "tenants_turn",
    )

    def __init__(self, horizon: Position, delay_step_ms: int, tenants: Tenants | None) -> None:
        self.horizon = horizon
        #: Who has messages here; None on a FIFO queue.
        self.tenants = tenants
        #: Whether a tenant's page comes before one of all tenants, when both are wanted.
        self.tenants_turn = True
        self.count = 0
        #: How many wait for their delay to end.
        self.delayed_count = 0
        #: When retention began for the first in page order, as far as that is known.
        self.enqueued_at_ms: int | None = None
        #: The page that was asked for and has not come.
        self.asked: PageRequest | None = None
        #: What was sent behind the horizon since. It may belong before the end of the page without
        #: being in it.
        self.arriving: dict[int, Message] = {}
        #: Sequences that left the queue since. The page may have been read before they did.
        self.left: set[int] = set()
        self._step_ms = delay_step_ms
        self._delayed: dict[int, int] = {}
        self._delay_ends: list[int] = []

    @property
    def visible_count(self) -> int:
        """How many do not wait for their delay to end."""
        # What expired before its delay ended counts as delayed until then.
        return max(0, self.count - self.delayed_count)

    def end_page(self) -> None:
        """Wait no more for the page that was asked for: it came, or it is void."""
        self.asked = None
        self.arriving = {}
        self.left = set()

    def add(self, message: Message, position: Position, now_ms: int) -> None:
        """Count a message that is in the journal, or on its way there."""
        self.count += 1
        if self.tenants is not None and message.group_id is not None:
            self.tenants.note(message.group_id, position)
        if self.enqueued_at_ms is None or message.enqueued_at_ms < self.enqueued_at_ms:
            self.enqueued_at_ms = message.enqueued_at_ms
        self.add_delayed(message.available_at_ms, 1, now_ms)

    def add_delayed(self, available_at_ms: int, count: int, now_ms: int) -> None:
        """Note that so many of the messages are delayed until a time."""
        step = self._step(available_at_ms)
        if step * self._step_ms <= now_ms:
            return
        if step not in self._delayed:
            self._delayed[step] = 0
            heappush(self._delay_ends, step)
        self._delayed[step] += count
        self.delayed_count += count

    def remove(self, message: Message) -> None:
        """Count a message no more: a page brought it."""
        self.count -= 1
        step = self._step(message.available_at_ms)
        if step in self._delayed:
            self._delayed[step] -= 1
            self.delayed_count -= 1

    def shift_delays(self, shift_ms: int, now_ms: int) -> None:
        """Have the delays that have not ended do so later by `shift_ms`, or earlier."""
        for message in self.arriving.values():
            if message.available_at_ms > now_ms:
                message.available_at_ms += shift_ms
        delays = self.delays()
        self._delayed.clear()
        self._delay_ends.clear()
        self.delayed_count = 0
        for available_at_ms, count in delays:
            self.add_delayed(available_at_ms + shift_ms, count, now_ms)

    def delays(self) -> list[tuple[int, int]]:
        """(available at, how many) of those whose delay has not ended, in ms."""
        return [(step * self._step_ms, count) for step, count in self._delayed.items()]

    def settle(self, now_ms: int) -> None:
        """End the delays that are over."""
        ends = self._delay_ends
        while ends and ends[0] * self._step_ms <= now_ms:
            self.delayed_count -= self._delayed.pop(heappop(ends))

    def _step(self, available_at_ms: int) -> int:
        return -(-available_at_ms // self._step_ms)
