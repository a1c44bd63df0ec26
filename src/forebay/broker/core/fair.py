"""Fair queues: who is served next when the messages of a standard queue belong to tenants.

A message group of a standard queue is a tenant. A tenant that takes too large a share of the
consumers is noisy, and the messages of quiet tenants overtake its own, oldest first. When only
noisy tenants have messages, the one with the fewest in flight is served. A message without a group
is a tenant of its own, and always quiet. Nothing is throttled and no group is locked.

Source: SQSDeveloperGuide/sqs-fair-queues-detailed.html
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, KeysView
from heapq import heapify, heappop, heappush, heapreplace, merge
from operator import attrgetter

from forebay.broker.core.message import Message

#: A tenant is noisy with more than this share of the queue's messages in flight, and …
NOISY_SHARE = 0.10
#: … at least this many of its own in flight, …
NOISY_IN_FLIGHT_MIN = 30
#: … or with more than NOISY_SHARE of the recent processing time, once the consumers of the queue
#: have spent this much of it, in ms. AWS publishes the share and not how much evidence it wants.
PROCESSING_TIME_EVIDENCE_MS = 10_000

#: With fewer visible messages of quiet tenants, more are looked for behind the horizon: as many as
#: one receive may take.
QUIET_MESSAGES_MIN = 10

#: A noisy tenant is quiet again when its backlog is gone, or after so long without a send, in ms.
QUIET_AFTER_MS = 300_000

#: Processing time counts half as much after this long, in ms. AWS says "recent" and no more.
_HALF_LIFE_MS = 60_000

_TURN = attrgetter("turn")

#: Stale turns that are tolerated before they are swept out, beside one for each tenant.
_STALE_TURNS_MIN = 64


class RecentTime:
    """A sum of times, in ms, in which each counts for less as it gets older."""

    __slots__ = ("_at_ms", "_sum_ms")

    def __init__(self) -> None:
        self._sum_ms = 0.0
        self._at_ms = 0

    def add(self, amount_ms: int, now_ms: int) -> None:
        """Count an amount that was spent just now."""
        if now_ms != self._at_ms:
            self._sum_ms = self.at(now_ms)
            self._at_ms = now_ms
        self._sum_ms += amount_ms

    def at(self, now_ms: int) -> float:
        """The sum as it counts now."""
        if self._sum_ms == 0:
            return 0.0
        return float(self._sum_ms * 0.5 ** ((now_ms - self._at_ms) / _HALF_LIFE_MS))


class Tenant:
    """The messages of one message group.

    Most become visible once and wait at the end. Those that come back go where they were, and are
    kept apart, because that is anywhere.
    """

    __slots__ = (
        "_returned_turns",
        "in_flight",
        "last_sent_ms",
        "name",
        "noisy",
        "processing",
        "ready",
        "returned",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        #: Visible messages by turn, in order: those that became visible for the first time …
        self.ready: OrderedDict[int, Message] = OrderedDict()
        #: … and those that came back, in no order.
        self.returned: dict[int, Message] = {}
        #: A heap of their turns, beside turns of messages that left.
        self._returned_turns: list[int] = []
        self.in_flight = 0
        self.noisy = False
        self.last_sent_ms = 0
        self.processing = RecentTime()

    @property
    def waiting(self) -> int:
        """How many messages are visible."""
        return len(self.ready) + len(self.returned)

    def head_turn(self) -> int:
        """The turn of the first visible message; 0 without one."""
        head = next(iter(self.ready), 0)
        if self.returned:
            turns = self._returned_turns
            while turns[0] not in self.returned:
                heappop(turns)
            if not head or turns[0] < head:
                return turns[0]
        return head

    def put_back(self, message: Message) -> None:
        """A message that has a turn became visible again."""
        self.returned[message.turn] = message
        turns = self._returned_turns
        heappush(turns, message.turn)
        if len(turns) > 2 * len(self.returned) + _STALE_TURNS_MIN:
            turns[:] = sorted(self.returned)

    def in_order(self) -> Iterator[Message]:
        """The visible messages in order of their turns."""
        if not self.returned:
            return iter(self.ready.values())
        return merge(self.ready.values(), self._returned_in_order(), key=_TURN)

    def _returned_in_order(self) -> Iterator[Message]:
        turns = self._returned_turns
        frontier = [(turns[0], 0)]
        last_turn = 0
        while frontier:
            turn, index = heappop(frontier)
            for child in range(2 * index + 1, min(2 * index + 3, len(turns))):
                heappush(frontier, (turns[child], child))
            if turn != last_turn and turn in self.returned:
                yield self.returned[turn]
            last_turn = turn


class FairOrder:
    """The visible messages of a standard queue in the order in which they are served."""

    def __init__(self) -> None:
        self._tenants: dict[str, Tenant] = {}
        self._noisy: dict[str, Tenant] = {}
        #: The messages without a group, in order of their turns.
        self._alone = Tenant("")
        #: The turn at which each quiet tenant waits, beside turns that have passed.
        self._quiet_turns: list[tuple[int, str]] = []
        self._last_turn = 0
        self._visible = 0
        self._in_flight = 0
        self._processing = RecentTime()

    def __bool__(self) -> bool:
        """Whether any message is visible."""
        return self._visible > 0

    def appear(self, message: Message) -> None:
        """A message became visible: for the first time behind all that are, then at its turn."""
        self._visible += 1
        if message.group_id is None and not message.turn:
            self._last_turn = message.turn = turn = self._last_turn + 1
            self._alone.ready[turn] = message
            return
        tenant = self._tenant(message.group_id)
        tenant.last_sent_ms = max(tenant.last_sent_ms, message.enqueued_at_ms)
        if message.turn:
            tenant.put_back(message)
            if tenant.head_turn() == message.turn:
                self._line_up(tenant)
            return
        self._last_turn = message.turn = turn = self._last_turn + 1
        tenant.ready[turn] = message
        if len(tenant.ready) == 1 and not tenant.returned:
            self._line_up(tenant)

    def vanish(self, message: Message) -> None:
        """A message is visible no more."""
        self._visible -= 1
        turn = message.turn
        if message.group_id is None:
            if self._alone.ready.pop(turn, None) is None:
                del self._alone.returned[turn]
            return
        tenant = self._tenant(message.group_id)
        if tenant.ready.pop(turn, None) is None:
            del tenant.returned[turn]
        head_turn = tenant.head_turn()
        if not head_turn:
            self._drop_if_idle(tenant)
        elif turn < head_turn:
            self._line_up(tenant)

    def took_off(self, message: Message, now_ms: int) -> None:
        """A message is in flight."""
        self._in_flight += 1
        if message.group_id is not None:
            tenant = self._tenant(message.group_id)
            tenant.in_flight += 1
            self._judge(tenant, now_ms)

    def landed(self, message: Message, now_ms: int) -> None:
        """A message is in flight no more: since its receive a consumer was busy with it."""
        self._in_flight -= 1
        spent_ms = now_ms - message.taken_at_ms
        self._processing.add(spent_ms, now_ms)
        if message.group_id is not None:
            tenant = self._tenant(message.group_id)
            tenant.in_flight -= 1
            tenant.processing.add(spent_ms, now_ms)
            self._judge(tenant, now_ms)
            self._drop_if_idle(tenant)

    def select(self, limit: int, now_ms: int) -> Iterator[Message]:
        """The visible messages in the order in which they are served, as long as the caller asks.

        The first `limit` of them are found without a look at every tenant. Take the messages out
        after the last one, not meanwhile.
        """
        for tenant in list(self._noisy.values()):
            if now_ms - tenant.last_sent_ms >= QUIET_AFTER_MS:
                self._calm(tenant)
        first = self._first_in_line(limit)
        yield from _by_turn([self._alone, *first])
        if len(first) == limit:
            every = self._first_in_line(len(self._tenants))
            yield from _by_turn([tenant for tenant in every if tenant not in first])
        yield from self._fewest_in_flight_first()

    @property
    def noisy(self) -> KeysView[str]:
        """The tenants that are noisy now."""
        return self._noisy.keys()

    def lacks_quiet(self) -> bool:
        """Whether a tenant is noisy and few visible messages are there to overtake it."""
        if not self._noisy:
            return False
        noisy = sum(tenant.waiting for tenant in self._noisy.values())
        return self._visible - noisy < QUIET_MESSAGES_MIN

    def is_served(self, group_id: str) -> bool:
        """Whether a tenant has visible messages, as every noisy one has."""
        tenant = self._tenants.get(group_id)
        return tenant is not None and tenant.waiting > 0

    def clear(self) -> None:
        """Forget every message, as a purge does."""
        self._tenants.clear()
        self._noisy.clear()
        self._alone = Tenant("")
        self._quiet_turns.clear()
        self._visible = 0
        self._in_flight = 0

    def _tenant(self, group_id: str | None) -> Tenant:
        if group_id is None:
            return self._alone
        tenant = self._tenants.get(group_id)
        if tenant is None:
            tenant = self._tenants[group_id] = Tenant(group_id)
        return tenant

    def _line_up(self, tenant: Tenant) -> None:
        """Let a tenant wait for the turn of its oldest message."""
        if tenant.noisy or tenant is self._alone:
            return
        turns = self._quiet_turns
        heappush(turns, (tenant.head_turn(), tenant.name))
        if len(turns) > 2 * len(self._tenants) + _STALE_TURNS_MIN:
            turns[:] = {turn for turn in turns if self._waits_at(*turn)}
            heapify(turns)

    def _waits_at(self, turn: int, name: str) -> bool:
        tenant = self._tenants.get(name)
        return tenant is not None and not tenant.noisy and tenant.head_turn() == turn

    def _first_in_line(self, count: int) -> list[Tenant]:
        """The quiet tenants whose oldest messages have waited longest."""
        turns = self._quiet_turns
        first: list[tuple[int, str]] = []
        while turns and len(first) < count:
            turn = heappop(turns)
            if self._waits_at(*turn) and turn not in first:
                first.append(turn)
        for turn in first:
            heappush(turns, turn)
        return [self._tenants[name] for _, name in first]

    def _fewest_in_flight_first(self) -> Iterator[Message]:
        """The messages of the noisy tenants, counting each as in flight once it is taken."""
        queues = [tenant.in_order() for tenant in self._noisy.values()]
        in_flight = [(tenant.in_flight, index) for index, tenant in enumerate(self._noisy.values())]
        heapify(in_flight)
        while in_flight:
            count, index = in_flight[0]
            waiting = next(queues[index], None)
            if waiting is None:
                heappop(in_flight)
            else:
                heapreplace(in_flight, (count + 1, index))
                yield waiting

    def _judge(self, tenant: Tenant, now_ms: int) -> None:
        """Mark a tenant that takes too large a share of the consumers and has more waiting."""
        if tenant.noisy or not tenant.waiting:
            return
        crowded = (
            tenant.in_flight >= NOISY_IN_FLIGHT_MIN
            and tenant.in_flight > NOISY_SHARE * self._in_flight
        )
        total_ms = self._processing.at(now_ms)
        slow = (
            total_ms >= PROCESSING_TIME_EVIDENCE_MS
            and tenant.processing.at(now_ms) > NOISY_SHARE * total_ms
        )
        if crowded or slow:
            tenant.noisy = True
            self._noisy[tenant.name] = tenant

    def _calm(self, tenant: Tenant) -> None:
        tenant.noisy = False
        tenant.processing = RecentTime()
        del self._noisy[tenant.name]
        if tenant.waiting:
            self._line_up(tenant)

    def _drop_if_idle(self, tenant: Tenant) -> None:
        if tenant.waiting:
            return
        if tenant.noisy:
            self._calm(tenant)
        if not tenant.in_flight:
            self._tenants.pop(tenant.name, None)


def _by_turn(tenants: list[Tenant]) -> Iterator[Message]:
    if len(tenants) == 1:
        return tenants[0].in_order()
    return merge(*(tenant.in_order() for tenant in tenants), key=_TURN)
