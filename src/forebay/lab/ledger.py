"""The exact ledger of a run: where every message is, by what was seen. Pure.

A message is named by the id in its body, or by its MessageId. Each that was sent is in one place:
it is done (somebody deleted it and it is nowhere any more), visible, in flight, in the dead-letter
queue, expired, purged, or lost: sent, in no place, and nobody said that it is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from msgspec import Struct

from forebay.lab.events import Event, Kind
from forebay.lab.outside.ledger import PerformedEffect
from forebay.protocol.limits import PURGE_INTERVAL_MS


class Found(Struct, frozen=True):
    """A message that a queue gave out when a run was over."""

    message: str
    id: str
    body: str
    receives: int

    @property
    def identity(self) -> str:
        return self.id or self.message


class Reading(Struct, frozen=True, kw_only=True):
    """What a queue and its dead-letter queue say of themselves at one moment."""

    #: What the scenario calls the queue; empty for its main one.
    name: str
    #: Its name at SQS, and its dead-letter queue's.
    queue: str
    dead_queue: str | None
    visible: int
    in_flight: int
    delayed: int
    dead: int
    retention_s: int
    #: What they gave out to the last message; None while the run goes on.
    found: Sequence[Found] | None = None
    found_dead: Sequence[Found] | None = None

    @property
    def total(self) -> int:
        """All that the two count. A message goes from one count to another by itself."""
        return self.visible + self.in_flight + self.delayed + self.dead


class QueueLedger(Struct, frozen=True, kw_only=True):
    """Where the messages of one queue are."""

    name: str
    sent: int
    done: int
    visible: int
    in_flight: int
    dead: int
    expired: int
    #: Gone with a purge: sent before it, or in the minute after it that it may take.
    purged: int = 0
    #: Sent and not in any place. While a run goes on it is not known and 0.
    lost: int
    #: Ids of messages in their place, when the run is over.
    done_ids: frozenset[str] = frozenset()
    visible_ids: frozenset[str] = frozenset()
    dead_ids: frozenset[str] = frozenset()
    purged_ids: frozenset[str] = frozenset()
    lost_ids: frozenset[str] = frozenset()
    #: Those in the places above that no process of the run has sent.
    strange_ids: frozenset[str] = frozenset()
    #: How many messages the queue and its dead-letter queue gave out, or have where it is known
    #: which: several of one id count as several.
    present: int = 0

    def __str__(self) -> str:
        return (
            f"{self.sent:,} sent = {self.done:,} done + {self.visible:,} visible"
            f" + {self.in_flight:,} in flight + {self.dead:,} dead-lettered"
            f" + {self.expired:,} expired"
            + (f" + {self.purged:,} purged" if self.purged else "")
            + (f" + {self.lost:,} LOST" if self.lost else "")
            + (f" + {self.unknown:,} not known where" if self.unknown > 0 else "")
        )

    @property
    def unknown(self) -> int:
        """Those of which nobody knows where they are, while a run goes on or when it broke off."""
        places = (self.visible, self.in_flight, self.dead, self.expired, self.purged, self.lost)
        return self.sent - self.done - sum(places)


class Ledger:
    """What is known of a run at one moment, or at its end."""

    def __init__(
        self,
        events: Sequence[Event],
        readings: Sequence[Reading],
        effects: Sequence[PerformedEffect] = (),
        *,
        now_ms: int,
        exits: Mapping[str, int] | None = None,
    ) -> None:
        """`exits` are the exit codes of the processes that have ended, by name."""
        self.events = sorted(events, key=lambda event: event.at_ms)
        self.readings = {reading.name: reading for reading in readings}
        self.effects = effects
        self.now_ms = now_ms
        self.exits = exits or {}

    @cached_property
    def queues(self) -> dict[str, QueueLedger]:
        """By what the scenario calls them."""
        return {name: self._account(reading) for name, reading in self.readings.items()}

    def queue(self, name: str = "") -> QueueLedger:
        """The books of a queue."""
        return self.queues[name]

    @property
    def sent(self) -> int:
        """Messages that were sent, of all queues; the next ones alike."""
        return sum(queue.sent for queue in self.queues.values())

    @property
    def done(self) -> int:
        return sum(queue.done for queue in self.queues.values())

    @property
    def visible(self) -> int:
        return sum(queue.visible for queue in self.queues.values())

    @property
    def in_flight(self) -> int:
        return sum(queue.in_flight for queue in self.queues.values())

    @property
    def dead(self) -> int:
        return sum(queue.dead for queue in self.queues.values())

    def of(self, *kinds: Kind, process: str = "", queue: str | None = None) -> list[Event]:
        """The events of some kinds, in order; of one process or one of the queues if it is named.

        A process that was started several times has the same name each time.
        """
        name = None if queue is None else self.readings[queue].queue
        return [
            event
            for event in self.events
            if event.kind in kinds
            and process in ("", event.process)
            and name in (None, event.queue)
        ]

    def receives(self, queue: str | None = None) -> Counter[str]:
        """How often each message was handed out, by its id."""
        return Counter(event.identity for event in self.of(Kind.RECEIVED, queue=queue))

    def batches(self) -> list[set[str]]:
        """What came in one answer to a receive each."""
        batches: list[set[str]] = []
        #: By process: the answer of which more is to come, and how many.
        begun: dict[str, tuple[set[str], int]] = {}
        for event in self.of(Kind.RECEIVED):
            batch, left = begun.get(event.process, (set[str](), 0))
            if not left:
                batch, left = set(), int(event.value) or 1
                batches.append(batch)
            batch.add(event.identity)
            begun[event.process] = batch, left - 1
        return batches

    def in_hand(self, process: str, at_ms: int | None = None) -> set[str]:
        """What a process has received and neither deleted nor given back, now or at a moment."""
        held: set[str] = set()
        for event in self.of(Kind.RECEIVED, Kind.DELETED, Kind.RELEASED, process=process):
            if at_ms is not None and event.at_ms > at_ms:
                break
            (held.add if event.kind is Kind.RECEIVED else held.discard)(event.identity)
        return held

    def waits_s(self, queue: str | None = None) -> dict[str, float]:
        """How long each message has waited for its first receive since it was sent, in seconds."""
        sent_ms: dict[str, int] = {}
        waits: dict[str, float] = {}
        # A message may be received before its sender has the answer to its call.
        for event in self.of(Kind.SENDING, Kind.RECEIVED, queue=queue):
            if event.kind is Kind.SENDING:
                sent_ms.setdefault(event.identity, event.at_ms)
            elif event.identity in sent_ms and event.identity not in waits:
                waits[event.identity] = (event.at_ms - sent_ms[event.identity]) / 1000
        return waits

    def noted(self, text: str, *, process: str = "") -> Counter[str]:
        """How often the processes, or one of them, noted this of each subject."""
        notes = self.of(Kind.NOTE, process=process)
        return Counter(event.subject for event in notes if event.text == text)

    def effects_of(self, action: str | None = None) -> list[PerformedEffect]:
        """What the service outside has performed, of one action if it is named."""
        return [effect for effect in self.effects if action in (None, effect.action)]

    def effects_by_subject(self, action: str | None = None) -> Counter[str]:
        """How often the effect was performed on each subject."""
        return Counter(effect.subject for effect in self.effects_of(action))

    def applied(self, subject: str) -> list[float]:
        """The versions that were applied to an entity, in order."""
        return [event.value for event in self.of(Kind.APPLIED) if event.subject == subject]

    def _account(self, reading: Reading) -> QueueLedger:
        names = {reading.queue, reading.dead_queue}
        seen = [event for event in self.events if event.queue in names and event.identity]
        by_kind: dict[Kind, set[str]] = {kind: set() for kind in Kind}
        for event in seen:
            if event.queue == reading.queue or event.kind is not Kind.SENT:
                by_kind[event.kind].add(event.identity)
        deleted = {
            event.identity
            for event in seen
            if event.queue == reading.queue and event.kind in (Kind.DELETING, Kind.DELETED)
        }
        if reading.found is None or reading.found_dead is None:
            return QueueLedger(
                name=reading.name,
                sent=len(by_kind[Kind.SENT]),
                done=len(by_kind[Kind.DELETED]),
                visible=reading.visible + reading.delayed,
                in_flight=reading.in_flight,
                dead=reading.dead,
                expired=0,
                lost=0,
            )
        visible = _identities(reading.found)
        dead = _identities(reading.found_dead) - visible
        # What was received was sent, whether its sender lived to see it or not.
        sent = by_kind[Kind.SENT] | by_kind[Kind.RECEIVED] | visible | dead
        done = (deleted & sent) - visible - dead
        rest = sent - visible - dead - done
        received = by_kind[Kind.RECEIVED]
        given_out = len(_messages(reading.found)) + len(_messages(reading.found_dead))
        left = max(0, reading.total - given_out)
        hidden = set(sorted(rest & received)[: min(left, reading.in_flight)])
        rest -= hidden
        # Counted and not given out: delayed, or behind one of its group that is in flight.
        kept_back = set(sorted(rest - received)[: left - len(hidden)])
        rest -= kept_back
        visible |= kept_back
        gone = self._copies_gone(reading, done)
        done -= gone
        hidden |= set(sorted(gone)[: left - len(hidden) - len(kept_back)])
        rest |= gone - hidden
        expired = self._sent_until(reading, rest, self.now_ms - reading.retention_s * 1000)
        purged = self._purged(reading, rest - expired)
        lost = rest - expired - purged
        return QueueLedger(
            name=reading.name,
            sent=len(sent),
            done=len(done),
            visible=len(visible),
            in_flight=len(hidden),
            dead=len(dead),
            expired=len(expired),
            purged=len(purged),
            lost=len(lost),
            done_ids=frozenset(done),
            visible_ids=frozenset(visible),
            dead_ids=frozenset(dead),
            purged_ids=frozenset(purged),
            lost_ids=frozenset(lost),
            strange_ids=frozenset(self._strange(reading, sent)),
            present=given_out + len(hidden) + len(kept_back),
        )

    def _copies_gone(self, reading: Reading, done: set[str]) -> set[str]:
        """The done ones that were sent as several messages, of which one was not deleted.

        One that was deleted under another MessageId stands for one of them: a redrive gives
        messages new ones.
        """
        sent: dict[str, set[str]] = {each: set() for each in done}
        deleted: dict[str, set[str]] = {each: set() for each in done}
        for event in self.events:
            if event.queue == reading.queue and event.identity in done:
                if event.kind is Kind.SENT:
                    sent[event.identity].add(event.message)
                elif event.kind in (Kind.DELETING, Kind.DELETED):
                    deleted[event.identity].add(event.message)
        return {each for each in done if len(sent[each]) > len(deleted[each])}

    def _strange(self, reading: Reading, ids: set[str]) -> set[str]:
        """Those that no process of the run has sent, whether it lived to see it or not.

        Of a message without an id nobody knows the MessageId whose sender died before the answer.
        """
        sending = [
            event
            for event in self.events
            if event.kind in (Kind.SENDING, Kind.SENT)
            and event.queue in (reading.queue, reading.dead_queue)
        ]
        strange = ids - {event.identity for event in sending}
        nameless = Counter(event.kind for event in sending if not event.id)
        unanswered = nameless[Kind.SENDING] - nameless[Kind.SENT]
        return strange if len(strange) > unanswered else set()

    def _purged(self, reading: Reading, ids: set[str]) -> set[str]:
        """Those that a purge may have deleted, by what SQS says of it.

        Source: API PurgeQueue. It takes up to 60 seconds, and messages that are sent meanwhile may
        be deleted too.
        """
        last_ms = max(
            (
                event.at_ms
                for event in self.events
                if event.kind is Kind.PURGED and event.queue == reading.queue
            ),
            default=None,
        )
        if last_ms is None:
            return set()
        return self._sent_until(reading, ids, last_ms + PURGE_INTERVAL_MS)

    def _sent_until(self, reading: Reading, ids: set[str], until_ms: int) -> set[str]:
        """Those that were sent to the queue at a time or before, as far as anybody saw."""
        return {
            event.identity
            for event in self.events
            if event.kind in (Kind.SENDING, Kind.SENT, Kind.RECEIVED)
            and event.queue == reading.queue
            and event.identity in ids
            and event.at_ms <= until_ms
        }


def _identities(found: Iterable[Found]) -> set[str]:
    return {each.identity for each in found}


def _messages(found: Iterable[Found]) -> set[str]:
    return {each.message for each in found}
