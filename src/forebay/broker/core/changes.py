"""What the engine changed and the journal must make durable, and what the journal gives back.

The engine gathers changes in a ChangeSet as it applies requests; the driver takes the set, has the
journal commit it whole, and only then lets the replies go. Rows are plain tuples in the order of
the journal's columns, because tens of thousands of them are made every second.

A ChangeSet needs no order between its lists: sequences and queue numbers are never used twice, so a
journal stores everything stored and then removes everything removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from msgspec import Struct, field

from forebay.broker.core.delay_changes import DelayChange
from forebay.protocol.actions import MessageAttributes

#: (sequence, queue number, message id, body, enqueued at, available at, sent at, sender id,
#:  message group id, deduplication id, extras, page key)
#:
#: Sequences are unique over all queues and rise. "Enqueued at" and "available at" are engine time
#: in ms; "sent at" is wall time in ms, as SentTimestamp shows it. Extras are an encoded
#: MessageExtras, or None when there are none. Pages are read in order of page key and sequence.
MessageRow: TypeAlias = tuple[
    int, int, str, str, int, int, int, str, str | None, str | None, bytes | None, int
]

#: (sequence, receive count, first received at, taken at, visible at, receive request attempt id)
#:
#: The latest delivery of a message. "First received at" is wall time in ms; "taken at" is the
#: engine time of the latest receive and "visible at" the engine time at which the message may be
#: received again, both in ms. A row replaces the earlier row of the same sequence.
DeliveryRow: TypeAlias = tuple[int, int, int, int, int, str | None]

#: (sequence, queue number, scope, deduplication id, message id, expires at)
#:
#: A send that later sends with the same id collapse into. The scope is the message group id when
#: the queue deduplicates by group, else "". "Expires at" is engine time in ms.
DeduplicationRow: TypeAlias = tuple[int, int, str, str, str, int]

#: A place in the page order of a queue: page key and sequence.
Position: TypeAlias = tuple[int, int]

#: Tenants of a standard queue whose messages behind its horizon are known. What others have there
#: is served in page order.
TENANTS_MAX = 10_000


class MessageExtras(Struct, omit_defaults=True, array_like=True, gc=False):
    """What few messages have, kept out of the columns that every message pays for."""

    attributes: MessageAttributes | None = None
    trace_header: str | None = None
    dead_letter_source_arn: str | None = None
    #: Receive count, wall time of the first receive and engine time of the latest, both in ms, of
    #: a dead letter: what happened to it in the queue that it comes from.
    received_before: tuple[int, int, int] | None = None


class QueueRecord(Struct, gc=False, kw_only=True):
    """A queue as the journal keeps it."""

    number: int
    account_id: str
    name: str
    region: str
    #: Wall time, in ms, as is `modified_at_ms`.
    created_at_ms: int
    modified_at_ms: int
    #: Engine time of the latest purge, in ms.
    purged_at_ms: int | None
    #: Attributes as somebody set them, in SQS's own words. Defaults are not stored.
    attributes: dict[str, str]
    tags: dict[str, str]
    #: Changes of DelaySeconds that messages of a FIFO queue may wait on, in order of time.
    delay_changes: list[DelayChange] = []
    #: Engine time from which the DeduplicationScope of a FIFO queue is the only one that counts, in
    #: ms. 0 when it was never changed.
    scope_settled_ms: int = 0


class MoveTaskRecord(Struct, gc=False, kw_only=True):
    """A message move task as the journal keeps it."""

    #: Rises from task to task.
    number: int
    task_id: str
    source_arn: str
    #: None when each message goes back to where it came from.
    destination_arn: str | None
    #: None when nobody set a rate.
    messages_per_second: int | None
    status: str
    moved: int
    to_move: int
    #: Wall time of the start, in ms.
    started_at_ms: int
    #: Engine time of the start, in ms; the pace counts from it.
    begun_ms: int
    failure_reason: str | None


class Tally(Struct, frozen=True, gc=False):
    """What a queue knows of its messages without reading them."""

    #: Messages that were never received from this queue.
    unreceived: int = 0
    #: No message of the queue has a smaller page key.
    floor_key: int = 0


class PageRequest(Struct, frozen=True, gc=False):
    """Which messages the engine wants to see next."""

    #: Tells this request from every other one of the same engine.
    number: int
    queue_number: int
    #: The page begins behind this position.
    after: Position
    messages_max: int
    #: The page ends with the message that brings its bodies to this size, in characters.
    body_size_max: int
    #: The page holds messages of this message group of a standard queue alone; None for all.
    group_id: str | None = None
    #: The page ends before the first message with a larger page key.
    key_max: int | None = None


class Page(Struct, gc=False):
    """Messages of a queue that were never received, in order of page key and sequence."""

    rows: list[MessageRow]
    #: Where the first message stands that the page had no place for; None when it is the last page.
    rest: Position | None = None


class ChangeSet(Struct):
    """Everything that one commit makes durable, together or not at all."""

    #: The latest record of each queue that was created or changed, by number.
    queues: dict[int, QueueRecord] = field(default_factory=dict)
    #: Numbers of the queues that are gone with all that was in them.
    removed_queues: list[int] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    #: The latest delivery of each message that was received, changed or moved, by sequence.
    deliveries: dict[int, DeliveryRow] = field(default_factory=dict)
    #: Sequences of the messages that are gone, each with its delivery.
    removed_messages: list[int] = field(default_factory=list)
    #: Queue number → the messages and deduplication ids of that queue up to this sequence are gone.
    purged: dict[int, int] = field(default_factory=dict)
    deduplications: list[DeduplicationRow] = field(default_factory=list)
    #: Queue number → the queue's delayed messages up to a sequence, counted anew: the sequence, and
    #: (available at, how many), in ms. What was counted of them before is void.
    recounted_delays: dict[int, tuple[int, list[tuple[int, int]]]] = field(default_factory=dict)
    #: The latest record of each message move task, by number; None for one that is forgotten.
    move_tasks: dict[int, MoveTaskRecord | None] = field(default_factory=dict)
    #: The latest tally of each queue whose tally changed, by number. It changes with the messages.
    tallies: dict[int, Tally] = field(default_factory=dict)
    #: Deduplication rows up to this sequence have expired, in every queue. 0 when none have.
    forgotten_deduplications: int = 0
    #: The next sequence and queue number to give out, so that none is used twice after a restart.
    next_sequence: int = 1
    next_queue_number: int = 1
    #: The latest engine time that the engine has seen, in ms. After a restart time goes on from it.
    clock_ms: int = 0

    def __bool__(self) -> bool:
        """Whether there is anything to commit."""
        return bool(
            self.messages
            or self.deliveries
            or self.removed_messages
            or self.queues
            or self.removed_queues
            or self.purged
            or self.deduplications
            or self.move_tasks
            or self.forgotten_deduplications
        )


class BacklogRecord(Struct, gc=False):
    """The messages of a queue that were never received, without the messages."""

    queue_number: int
    tally: Tally
    #: When retention began for the first of them in order of page key, in ms.
    enqueued_at_ms: int
    #: (available at, how many) of those whose delay has not ended, in ms. What expired before its
    #: delay ended may be counted.
    delayed: list[tuple[int, int]] = field(default_factory=list)
    #: (message group id, smallest page key, largest page key) of the groups of a standard queue, in
    #: order of their ids and at most TENANTS_MAX. The keys are of messages that are not gone.
    tenants: list[tuple[str, int, int]] = field(default_factory=list)


class Snapshot(Struct):
    """What an engine is rebuilt from: all that a journal holds but the backlogs' messages."""

    queues: list[QueueRecord]
    #: Every message that was received, in order of its sequence, with its latest delivery.
    messages: Iterable[tuple[MessageRow, DeliveryRow]]
    #: In order of sequence.
    deduplications: Iterable[DeduplicationRow]
    next_sequence: int = 1
    next_queue_number: int = 1
    clock_ms: int = 0
    move_tasks: list[MoveTaskRecord] = field(default_factory=list)
    #: Of every queue whose tally is not the default one, by queue number.
    backlogs: list[BacklogRecord] = field(default_factory=list)
