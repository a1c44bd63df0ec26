"""All that the engine holds: the queues, the counters, and what changed since the last commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from forebay.broker.core.attempts import Delivered
from forebay.broker.core.attributes import settings_of
from forebay.broker.core.changes import (
    ChangeSet,
    DeliveryRow,
    MessageExtras,
    MessageRow,
    MoveTaskRecord,
    Page,
    PageRequest,
    QueueRecord,
    Snapshot,
)
from forebay.broker.core.deadlines import NEVER_MS, Deadlines
from forebay.broker.core.deduplication import DeduplicationWindow, Original, key_of
from forebay.broker.core.delay_changes import DelayChange, corrected
from forebay.broker.core.fifo import FifoQueue
from forebay.broker.core.message import Event, Message
from forebay.broker.core.queue import Queue
from forebay.broker.core.standard import StandardQueue
from forebay.broker.core.window import Window, size_of
from forebay.protocol import errors
from forebay.protocol.checksums import md5_of_attributes, md5_of_body
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import (
    QueueKey,
    message_ids,
    queue_key_from_arn,
    queue_key_from_url,
)

#: Queue URLs, as clients spell them, whose queue is remembered. A bound, because callers make them.
_REMEMBERED_URLS_MAX = 10_000

#: Queues whose first page is read at the start, before anybody asks. A bound, because each page
#: takes memory.
_FIRST_PAGES_MAX = 20

#: Message ids that are made at once.
_MESSAGE_IDS_DRAWN = 64

_extras_encoder = msgspec.msgpack.Encoder()
_extras_decoder = msgspec.msgpack.Decoder(MessageExtras)


class Caller(Struct, frozen=True):
    """Who asks, and at which address."""

    #: The account of the request when its QueueUrl names none.
    account_id: str
    #: The region of the request: it sees no other region's queues.
    region: str
    #: Scheme, host and port that answers build queue URLs from.
    endpoint_url: str


class EngineState:
    """The queues and the changes made to them. The actions work on this."""

    def __init__(
        self,
        *,
        entropy: Callable[[int], bytes],
        recreate_interval_ms: int,
        window: Window,
        policy_problems: Callable[[str], Sequence[str]],
        snapshot: Snapshot | None = None,
    ) -> None:
        self.entropy = entropy
        self.recreate_interval_ms = recreate_interval_ms
        self.window = window
        self.policy_problems = policy_problems
        #: Wall time minus engine time, for the times that SQS shows to people.
        self.wall_offset_ms = 0
        self.clock_ms = 0
        self.next_sequence = 1
        self.next_queue_number = 1
        self.queues: dict[QueueKey, Queue] = {}
        self.queues_by_number: dict[int, Queue] = {}
        #: When each recently deleted queue was deleted.
        self.deleted_at_ms: dict[QueueKey, int] = {}
        self.changes = ChangeSet()
        #: Size of the messages that were dead-lettered since the last commit.
        self.dead_lettered_size = 0
        #: Why nothing that grows is accepted now, for who asks for it; None when it is.
        self.shortage: str | None = None
        #: Whether only messages that were received before are delivered.
        self.redelivers_alone = False
        #: Numbers of the queues whose waiting receives may succeed now, in order of their turn.
        self.readable: dict[int, None] = {}
        #: When each queue next needs a tick, by number.
        self.agenda = Deadlines()
        self.move_tasks: dict[int, MoveTaskRecord] = {}
        #: When each running move task takes its next step, by number.
        self.move_task_agenda = Deadlines()
        #: The pages that the journal should be asked for.
        self.page_requests: list[PageRequest] = []
        self._next_page_number = 1
        self._message_ids: list[str] = []
        #: Numbers of the queues whose tally may have changed since the last commit.
        self._touched: set[int] = set()
        #: By URL and the caller's region.
        self._queues_by_url: dict[tuple[str, str], Queue] = {}
        if snapshot is not None:
            self._restore(snapshot)

    def queue(self, url: str, caller: Caller, now_ms: int) -> Queue:
        """The queue a request names, brought up to `now_ms`.

        Raises SqsError (QueueDoesNotExist).
        """
        queue = self._queues_by_url.get((url, caller.region))
        if queue is None:
            key = queue_key_from_url(url, caller.region, caller.account_id)
            if key is None:
                raise SqsError(errors.QUEUE_DOES_NOT_EXIST)
            queue = self.queue_of_key(key)
            if url.endswith(f"/{queue.key.account_id}/{queue.key.name}"):
                self._remember_url((url, caller.region), queue)
        self._touched.add(queue.number)
        if now_ms >= queue.due_ms or queue.held.backlog is not None:
            self.settle(queue, now_ms)
        return queue

    def queue_of_key(self, key: QueueKey) -> Queue:
        """The queue with this key.

        Raises SqsError (QueueDoesNotExist), which says for the log where there is such a queue.
        """
        queue = self.queues.get(key)
        if queue is not None:
            return queue
        elsewhere = sorted(
            other.region
            for other in self.queues
            if other.name == key.name and other.account_id == key.account_id
        )
        raise SqsError(
            errors.QUEUE_DOES_NOT_EXIST,
            log_detail=f"It exists in {', '.join(elsewhere)}; the request is for {key.region}."
            if elsewhere
            else None,
        )

    def _remember_url(self, url_and_region: tuple[str, str], queue: Queue) -> None:
        if len(self._queues_by_url) >= _REMEMBERED_URLS_MAX:
            self._queues_by_url.clear()
        self._queues_by_url[url_and_region] = queue

    def settle(self, queue: Queue, now_ms: int) -> None:
        """Do what time has brought to a queue, and note what must be journaled and woken."""
        self._touched.add(queue.number)
        if queue.held.backlog is not None:
            queue.held.backlog.settle(now_ms)
        if now_ms < queue.due_ms:
            return
        self.changes.removed_messages.extend(message.sequence for message in queue.settle(now_ms))
        if queue.backlog_expires(now_ms):
            self.ask_for_page(queue, now_ms)
        if queue.is_readable():
            self.readable[queue.number] = None
        self.reschedule(queue)

    def ask_for_page(self, queue: Queue, now_ms: int) -> None:
        """Have messages of a queue read from the journal, if it wants any now."""
        request = queue.ask_for_page(self._next_page_number, now_ms)
        if request is not None:
            self._next_page_number += 1
            self.page_requests.append(request)

    def page_in(self, request: PageRequest, page: Page, now_ms: int) -> None:
        """Take in the messages that a request brought."""
        queue = self.queues_by_number.get(request.queue_number)
        if queue is None:
            return
        self._touched.add(queue.number)
        messages = [_message_from_row(row, queue.delay_changes) for row in page.rows]
        queue.page_in(request, messages, page.rest, now_ms)
        self.readable[queue.number] = None
        self.settle(queue, now_ms)
        self.reschedule(queue)

    def forget_deduplications(self, window: DeduplicationWindow, now_ms: int, most: int) -> None:
        """Forget some of the ids that have expired, and have the journal forget them."""
        forgotten = window.forget_expired(now_ms, most)
        changes = self.changes
        changes.forgotten_deduplications = max(changes.forgotten_deduplications, forgotten)

    def refuse_to_grow(self) -> SqsError:
        """What a request is refused with that would add to what is kept, during a shortage.

        A fault of the receiver, which every AWS SDK sends again after a while by itself; after a
        quota's error, a fault of the sender, it would give up.
        """
        return SqsError(errors.SERVICE_UNAVAILABLE, self.shortage)

    def save_tallies(self) -> None:
        """Have the journal keep the tallies that changed."""
        for number in self._touched:
            queue = self.queues_by_number.get(number)
            if queue is not None and (tally := queue.held.tally) != queue.held.saved_tally:
                queue.held.saved_tally = tally
                self.changes.tallies[number] = tally
        self._touched.clear()

    def reschedule(self, queue: Queue) -> None:
        """Note when the queue next needs a tick. Call after its deadlines may have changed."""
        if queue.due_ms == queue.scheduled_ms:
            return
        queue.scheduled_ms = queue.due_ms
        if queue.due_ms == NEVER_MS:
            self.agenda.discard(queue.number)
        else:
            self.agenda.add(queue.number, queue.due_ms)

    def add_queue(self, record: QueueRecord) -> Queue:
        """Open a queue."""
        fifo = settings_of(record.attributes).fifo
        queue = FifoQueue(record, self.window) if fifo else StandardQueue(record, self.window)
        self.queues[queue.key] = queue
        self.queues_by_number[queue.number] = queue
        return queue

    def remove_queue(self, queue: Queue, now_ms: int) -> None:
        """Close a queue and drop all that is in it; receives waiting on it are woken to fail."""
        queue.purge(0)
        del self.queues[queue.key]
        del self.queues_by_number[queue.number]
        self._queues_by_url.clear()
        self.agenda.discard(queue.number)
        self.deleted_at_ms = {
            key: deleted_at_ms
            for key, deleted_at_ms in self.deleted_at_ms.items()
            if now_ms - deleted_at_ms < self.recreate_interval_ms
        }
        self.deleted_at_ms[queue.key] = now_ms
        self.changes.queues.pop(queue.number, None)
        self.changes.tallies.pop(queue.number, None)
        self.changes.recounted_delays.pop(queue.number, None)
        self.changes.removed_queues.append(queue.number)
        self.readable[queue.number] = None

    def reset(self, account_id: str | None, now_ms: int) -> None:
        """Remove all queues and move tasks of an account, or of all, and free their names."""

        def meant(key: QueueKey | None) -> bool:
            return account_id is None or (key is not None and key.account_id == account_id)

        for queue in [queue for key, queue in self.queues.items() if meant(key)]:
            self.remove_queue(queue, now_ms)
        for task in list(self.move_tasks.values()):
            if meant(queue_key_from_arn(task.source_arn)):
                self.move_task_agenda.discard(task.number)
                self.forget_move_task(task)
        self.deleted_at_ms = {
            key: deleted_at_ms
            for key, deleted_at_ms in self.deleted_at_ms.items()
            if not meant(key)
        }

    def save_queue(self, queue: Queue) -> None:
        """Have the journal keep the queue as it is now."""
        self.changes.queues[queue.number] = queue.record()

    def save_delays(self, queue: Queue) -> None:
        """Have the journal count the delayed messages of a queue anew."""
        self.changes.recounted_delays[queue.number] = (self.next_sequence - 1, queue.delays())

    def take_sequence(self) -> int:
        """The next sequence: unique over all queues, and rising."""
        sequence = self.next_sequence
        self.next_sequence = sequence + 1
        return sequence

    def take_message_id(self) -> str:
        """An id for a new message. Entropy is drawn for many ids at once."""
        if not self._message_ids:
            self._message_ids = message_ids(self.entropy(16 * _MESSAGE_IDS_DRAWN))
        return self._message_ids.pop()

    def save_message(self, queue: Queue, message: Message) -> None:
        """Have the journal keep a message that was just added to a queue."""
        self._touched.add(queue.number)
        extras = message.extras
        self.changes.messages.append(
            (
                message.sequence,
                queue.number,
                message.message_id,
                message.body,
                message.enqueued_at_ms,
                message.available_at_ms,
                message.sent_at_ms,
                message.sender_id,
                message.group_id,
                message.deduplication_id,
                _extras_encoder.encode(extras) if extras is not None else None,
                message.sequence if queue.settings.fifo else message.available_at_ms,
            )
        )

    def save_delivery(self, message: Message, visible_at_ms: int, attempt_id: str | None) -> None:
        """Have the journal keep the latest delivery of a message."""
        self.changes.deliveries[message.sequence] = (
            message.sequence,
            message.receive_count,
            message.first_received_at_ms,
            message.taken_at_ms,
            visible_at_ms,
            attempt_id,
        )

    def forget_message(self, message: Message) -> None:
        """Have the journal drop a message that left its queue."""
        self.changes.removed_messages.append(message.sequence)
        self.changes.deliveries.pop(message.sequence, None)

    def save_move_task(self, task: MoveTaskRecord) -> None:
        """Keep a move task, and have the journal keep it as it is now."""
        self.move_tasks[task.number] = task
        self.changes.move_tasks[task.number] = replace(task)

    def forget_move_task(self, task: MoveTaskRecord) -> None:
        """Drop a move task, and have the journal drop it."""
        del self.move_tasks[task.number]
        self.changes.move_tasks[task.number] = None

    def dead_letter_sources(self, target: Queue) -> Iterator[Queue]:
        """The queues whose redrive policy names `target`."""
        for queue in self.queues.values():
            policy = queue.settings.redrive_policy
            if policy is not None and policy.target == target.key:
                yield queue

    def dead_letter(self, source: Queue, message: Message, target: Queue, now_ms: int) -> None:
        """Move a message to its dead-letter queue, where it is visible at once.

        It keeps its id, its attributes and its receive count, and counts as never received from
        the queue that it is in now. On a standard queue retention goes on from the first enqueue.
        On a FIFO queue it starts anew, and the message's id becomes its deduplication id, so that
        no two messages that shared one are taken for the same. Source:
        SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
        """
        source.remove(message, Event.DEAD_LETTERED, now_ms)
        source.totals.dead_lettered += 1
        self.dead_lettered_size += size_of(message)
        self.forget_message(message)
        extras = message.extras or MessageExtras()
        moved = Message(
            sequence=self.take_sequence(),
            message_id=message.message_id,
            body=message.body,
            body_md5=message.body_md5,
            enqueued_at_ms=now_ms if target.settings.fifo else message.enqueued_at_ms,
            available_at_ms=now_ms,
            sent_at_ms=message.sent_at_ms,
            sender_id=message.sender_id,
            group_id=message.group_id,
            deduplication_id=message.message_id if target.settings.fifo else None,
            extras=MessageExtras(
                extras.attributes,
                extras.trace_header,
                source.arn,
                (message.receive_count, message.first_received_at_ms, message.taken_at_ms),
            ),
            attributes_md5=message.attributes_md5,
        )
        moved.receive_count = message.receive_count
        moved.first_received_at_ms = message.first_received_at_ms
        moved.taken_at_ms = message.taken_at_ms
        target.add(moved, now_ms)
        self.save_message(target, moved)
        self.readable[target.number] = None
        self.reschedule(target)

    def _restore(self, snapshot: Snapshot) -> None:
        self.clock_ms = snapshot.clock_ms
        self.next_sequence = snapshot.next_sequence
        self.next_queue_number = snapshot.next_queue_number
        for record in snapshot.queues:
            self.add_queue(record)
        self._restore_messages(snapshot.messages)
        for (
            sequence,
            number,
            scope,
            deduplication_id,
            identifier,
            expires_at,
        ) in snapshot.deduplications:
            window = self.queues_by_number[number].deduplication
            if window is not None:
                key = key_of(scope, deduplication_id)
                window.restore(key, Original(sequence, identifier, expires_at))
        for backlog in snapshot.backlogs:
            self.queues_by_number[backlog.queue_number].restore_backlog(backlog, self.clock_ms)
        for queue in self.queues.values():
            self.reschedule(queue)
        behind = (queue for queue in self.queues.values() if queue.held.backlog is not None)
        for queue in islice(behind, _FIRST_PAGES_MAX):
            self.ask_for_page(queue, self.clock_ms)
        for task in snapshot.move_tasks:
            self.move_tasks[task.number] = task
            if task.status == "RUNNING":
                self.move_task_agenda.add(task.number, self.clock_ms)

    def _restore_messages(self, rows: Iterable[tuple[MessageRow, DeliveryRow]]) -> None:
        for row, delivery in rows:
            queue = self.queues_by_number[row[1]]
            message = _message_from_row(row, queue.delay_changes)
            _, count, first_received_at_ms, taken_at_ms, visible_at_ms, attempt_id = delivery
            message.receive_count = count
            message.first_received_at_ms = first_received_at_ms
            message.taken_at_ms = taken_at_ms
            queue.restore(message, self.clock_ms, visible_at_ms)
            if attempt_id is not None and queue.attempts is not None:
                delivered = Delivered(
                    message.sequence, message.receive_count, queue.visible_at(message)
                )
                queue.attempts.restore(attempt_id, delivered, message.taken_at_ms)


def _message_from_row(row: MessageRow, delay_changes: list[DelayChange]) -> Message:
    sequence, _, identifier, body, enqueued, available, sent, sender, group, dedup, encoded, _ = row
    if delay_changes:
        available = corrected(sequence, enqueued, available, delay_changes)
    extras = _extras_decoder.decode(encoded) if encoded is not None else None
    attributes = extras.attributes if extras is not None else None
    before = extras.received_before if extras is not None else None
    receive_count, first_received_at_ms, taken_at_ms = before or (0, 0, 0)
    return Message(
        sequence=sequence,
        message_id=identifier,
        body=body,
        body_md5=md5_of_body(body),
        enqueued_at_ms=enqueued,
        available_at_ms=available,
        sent_at_ms=sent,
        sender_id=sender,
        group_id=group,
        deduplication_id=dedup,
        extras=extras,
        attributes_md5=md5_of_attributes(attributes) if attributes else None,
        receive_count=receive_count,
        first_received_at_ms=first_received_at_ms,
        taken_at_ms=taken_at_ms,
    )
