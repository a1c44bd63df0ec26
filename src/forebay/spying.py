"""What happened to the messages of a broker for tests, and waiting for more to happen.

The spy reads what the broker hands its journal. A broker that nobody spies on has another journal
and pays nothing.
"""

from __future__ import annotations

import asyncio
import json
from asyncio import TimerHandle
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct

from forebay.broker.core.attributes import settings_of
from forebay.broker.core.changes import ChangeSet, MessageExtras, MessageRow, QueueRecord
from forebay.broker.journal.memory import MemoryJournal
from forebay.errors import ForebayError, SettingsError
from forebay.protocol.identifiers import QueueKey, queue_arn
from forebay.protocol.rejection import MESSAGE_ID_ATTRIBUTE, rejected_from

T = TypeVar("T")

#: What can happen to a message. It is `sent` when it comes into a queue, from whatever side, and
#: `moved` when a message move task takes it out.
Status = Literal["sent", "received", "deleted", "dead_lettered", "moved", "expired", "purged"]

#: Events that are remembered. A bound, because tests may send without end.
_REMEMBERED_MAX = 10_000

#: Messages that a failure shows, and characters of their bodies.
_SHOWN_MAX = 20
_SHOWN_BODY_MAX = 100

_NO_EXTRAS = MessageExtras()

_extras_decoder = msgspec.msgpack.Decoder(MessageExtras)


class NotAsExpected(ForebayError, AssertionError):
    """A message did not fare as the test expected."""


class SeenMessage(Struct, frozen=True):
    """Something that happened to a message, and the message as it was then."""

    #: The name of the queue that it happened in.
    queue: str
    status: Status
    message_id: str
    body: str
    #: How often it was received by then.
    receive_count: int


class Expectation(Struct, frozen=True):
    """Which events a test means."""

    #: None for any queue.
    key: QueueKey | None
    status: Status
    #: A text, or members that a JSON object has among others.
    body: str | Mapping[str, object] | None = None
    message_id: str | None = None

    def is_met_by(self, key: QueueKey, seen: SeenMessage) -> bool:
        """Whether this event is one of them."""
        return (
            seen.status == self.status
            and self.key in {None, key}
            and self.message_id in {None, seen.message_id}
            and (self.body is None or _has_body(seen.body, self.body))
        )

    def __str__(self) -> str:
        which = f" with id {self.message_id}" if self.message_id is not None else ""
        what = f" with body {_shortened(self.body)}" if self.body is not None else ""
        return f"message{which}{what} was {self.status} in {_name(self.key)}"


class Pending(Generic[T]):
    """What a test waits for, from the moment it was asked for.

    In a coroutine, await it. Elsewhere, `result()` waits. Both raise NotAsExpected.
    """

    def __init__(self, expectation: Expectation) -> None:
        self.expectation = expectation
        self.future: Future[T] = Future()
        #: Whether somebody wanted to know how it ends.
        self.asked = False

    def __await__(self) -> Generator[Any, None, T]:
        self.asked = True
        return asyncio.wrap_future(self.future).__await__()

    def result(self) -> T:
        """Wait for the end, and answer what was seen.

        Raises SettingsError inside a coroutine, whose event loop it would hold up.
        """
        __tracebackhide__ = True
        self.asked = True
        if not self.future.done() and _is_in_coroutine():
            raise SettingsError("Await it: result() would hold up the event loop it is called in.")
        error = self.future.exception()
        if error is not None:
            raise error
        return self.future.result()


class Spy:
    """Remembers what happened and tells who waits. Used on the broker's event loop alone."""

    def __init__(self) -> None:
        self._events: deque[tuple[QueueKey, SeenMessage]] = deque(maxlen=_REMEMBERED_MAX)
        self._waits: dict[Pending[Any], tuple[Callable[[SeenMessage], None], TimerHandle]] = {}

    def saw(self, key: QueueKey, seen: SeenMessage) -> None:
        """Take note of an event."""
        self._events.append((key, seen))
        for pending, (met, _) in list(self._waits.items()):
            if pending.expectation.is_met_by(key, seen):
                met(seen)

    def forget(self) -> None:
        """Begin anew, as if nothing had happened."""
        self._events.clear()

    def wait_for(self, pending: Pending[SeenMessage], timeout_s: float) -> None:
        """End `pending` with the first such event, remembered or to come within `timeout_s`."""

        def too_late() -> None:
            self._fail(pending, f"No {pending.expectation} within {timeout_s:g} s.")

        self._wait(pending, lambda seen: self._end(pending, seen), timeout_s, too_late)

    def expect_none(self, pending: Pending[None], within_s: float) -> None:
        """End `pending` after `within_s`; fail it at such an event, remembered or to come."""

        def met(_: SeenMessage) -> None:
            self._fail(pending, f"A {pending.expectation}.")

        self._wait(pending, met, within_s, lambda: self._end(pending, None))

    def give_up(self, error: ForebayError) -> None:
        """Fail whatever waits."""
        for pending in list(self._waits):
            if self._ends(pending):
                pending.future.set_exception(error)

    def _wait(
        self,
        pending: Pending[Any],
        met: Callable[[SeenMessage], None],
        duration_s: float,
        over: Callable[[], None],
    ) -> None:
        self._waits[pending] = met, asyncio.get_running_loop().call_later(duration_s, over)
        for key, seen in self._events:
            if pending.expectation.is_met_by(key, seen):
                met(seen)
                return

    def _end(self, pending: Pending[T], result: T) -> None:
        if self._ends(pending):
            pending.future.set_result(result)

    def _fail(self, pending: Pending[Any], what: str) -> None:
        if self._ends(pending):
            seen = "\n".join([what, *self._seen(pending.expectation.key)])
            pending.future.set_exception(NotAsExpected(seen))

    def _ends(self, pending: Pending[Any]) -> bool:
        """Whether it has not ended by now; its waiter may have been cancelled in another thread."""
        _, timer = self._waits.pop(pending)
        timer.cancel()
        return pending.future.set_running_or_notify_cancel()

    def _seen(self, key: QueueKey | None) -> Iterator[str]:
        """The fate of each message of a queue, for people."""
        fates: dict[tuple[str, str, str], Counter[str]] = {}
        for where, seen in self._events:
            if key in {None, where}:
                place = f"{seen.queue}: " if key is None else ""
                fate = fates.setdefault((place, seen.message_id, seen.body), Counter())
                fate[seen.status] += 1
        if fates:
            yield f"Seen in {_name(key)}:"
        for (place, message_id, body), fate in list(fates.items())[:_SHOWN_MAX]:
            course = ", ".join(
                status if times == 1 else f"{status} {times} times"
                for status, times in fate.items()
            )
            yield f"  {place}{_shortened(body)} ({message_id}): {course}"
        if len(fates) > _SHOWN_MAX:
            yield f"  and {len(fates) - _SHOWN_MAX} more"
        if not fates:
            others = sorted({where.name for where, _ in self._events})
            elsewhere = f" Messages were seen in {', '.join(others)}." if others else ""
            yield f"Nothing was seen in {_name(key)}.{elsewhere}"


class SpiedJournal(MemoryJournal):
    """A journal that tells of each message what was committed of it."""

    def __init__(self, saw: Callable[[QueueKey, SeenMessage], None]) -> None:
        super().__init__()
        self._saw = saw
        #: Source ARN and id of the messages whose copies a worker has put into a dead-letter queue.
        self._rejected: set[tuple[str | None, str]] = set()

    def commit(self, changes: ChangeSet) -> None:
        queues = self._queues | changes.queues
        # A queue that came and went within one commit is not among them, and nobody can ask for it.
        events = [event for event in self._read(changes, queues) if event[0][1] in queues]
        super().commit(changes)
        for row, status, receive_count in events:
            key = _key(queues[row[1]])
            self._saw(key, SeenMessage(key.name, status, row[2], row[3], receive_count))

    def _read(
        self, changes: ChangeSet, queues: Mapping[int, QueueRecord]
    ) -> Iterator[tuple[MessageRow, Status, int]]:
        """Message, what happened to it, and its receives by then. Call before the commit."""
        new = {row[0]: row for row in changes.messages}
        dead_letters = {(_extras(row).dead_letter_source_arn, row[2]) for row in changes.messages}
        self._rejected.update(rejected for row in changes.messages if (rejected := _rejected(row)))
        moved_from = {
            task.source_arn
            for number, task in changes.move_tasks.items()
            if task is not None and task.moved > self._moved(number)
        }
        bodies = {row[3] for row in changes.messages}

        def count(row: MessageRow) -> int:
            delivery = changes.deliveries.get(row[0]) or self._deliveries.get(row[0])
            return delivery[1] if delivery is not None else _receives_elsewhere(row)

        def why_gone(row: MessageRow) -> Status:
            record = queues.get(row[1])
            if record is None:
                return "purged"
            arn = queue_arn(_key(record))
            if (arn, row[2]) in dead_letters:
                return "dead_lettered"
            if (arn, row[2]) in self._rejected:
                self._rejected.discard((arn, row[2]))
                return "dead_lettered"
            # A move task gives its messages new ids.
            if arn in moved_from and row[3] in bodies:
                return "moved"
            kept_until_ms = row[4] + settings_of(record.attributes).retention_ms
            return "expired" if kept_until_ms <= changes.clock_ms else "deleted"

        for row in changes.messages:
            yield row, "sent", _receives_elsewhere(row)
        for sequence, delivery in changes.deliveries.items():
            row = new.get(sequence) or self._messages[sequence]
            before = self._deliveries.get(sequence)
            # A change of the visibility timeout is a delivery too, without a receive.
            counted = before[1] if before is not None else _receives_elsewhere(row)
            for number in range(counted + 1, delivery[1] + 1):
                yield row, "received", number
        for sequence in changes.removed_messages:
            row = new.get(sequence) or self._messages[sequence]
            yield row, why_gone(row), count(row)
        if changes.purged or changes.removed_queues:
            removed = set(changes.removed_messages)
            for sequence, row in (self._messages | new).items():
                purged = sequence <= changes.purged.get(row[1], 0)
                if (purged or row[1] in changes.removed_queues) and sequence not in removed:
                    yield row, "purged", count(row)

    def _moved(self, number: int) -> int:
        task = self._move_tasks.get(number)
        return task.moved if task is not None else 0


def _name(key: QueueKey | None) -> str:
    return "any queue" if key is None else key.name


def _key(record: QueueRecord) -> QueueKey:
    return QueueKey(record.region, record.account_id, record.name)


def _extras(row: MessageRow) -> MessageExtras:
    encoded = row[10]
    return _extras_decoder.decode(encoded) if encoded is not None else _NO_EXTRAS


def _rejected(row: MessageRow) -> tuple[str, str] | None:
    """Source ARN and id of the message that this one is a worker's copy of."""
    attributes = _extras(row).attributes or {}
    source, original = rejected_from(attributes), attributes.get(MESSAGE_ID_ATTRIBUTE)
    if source is None or original is None or original.string_value is None:
        return None
    return source, original.string_value


def _receives_elsewhere(row: MessageRow) -> int:
    """How often a dead letter was received in the queue that it comes from."""
    before = _extras(row).received_before
    return before[0] if before is not None else 0


def _has_body(body: str, expected: str | Mapping[str, object]) -> bool:
    if isinstance(expected, str):
        return body == expected
    try:
        decoded = json.loads(body)
    except ValueError:
        return False
    return _includes(decoded, expected)


def _includes(found: object, expected: object) -> bool:
    """Whether all members that are expected are there, in objects within objects too."""
    if not isinstance(expected, Mapping):
        return found == expected
    return isinstance(found, dict) and all(
        name in found and _includes(found[name], member) for name, member in expected.items()
    )


def _shortened(body: object) -> str:
    text = repr(body)
    return text if len(text) <= _SHOWN_BODY_MAX else f"{text[:_SHOWN_BODY_MAX]}…"


def _is_in_coroutine() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
