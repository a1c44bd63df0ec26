"""What passed through the proxy, message by message, and what was done to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from msgspec import Struct

from forebay.broker.faults import Deed, Fate
from forebay.broker.polls import Answer
from forebay.protocol.actions import (
    AnyRequest,
    BatchResult,
    DeleteMessageBatchRequest,
    DeleteMessageRequest,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageBatchRequest,
    SendMessageBatchResult,
    SendMessageRequest,
    SendMessageResult,
)
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import QueueKey

_SENDING = (SendMessageRequest, SendMessageBatchRequest)
_DELETING = (DeleteMessageRequest, DeleteMessageBatchRequest)


class QueueFigures(Struct, frozen=True, kw_only=True):
    """The books of one queue. Messages are named by their MessageId, in the order they came in."""

    #: Messages that the queue accepted through the proxy.
    sent: int
    #: Messages that reached a receiver, and how often messages did.
    delivered: int
    deliveries: int
    #: Deliveries of a message that a fault had come once more.
    doubled: int
    #: Messages that receivers deleted.
    deleted: int
    #: Calls that were carried out and whose answer never arrived.
    send_replies_lost: int
    receive_replies_lost: int
    delete_replies_lost: int
    #: Calls that were refused by a fault, or cut by a partition.
    throttled: int
    cut: int
    #: Messages that a purge took although they were sent after it.
    purged: list[str]
    #: Messages that were sent and reached no receiver, those that were purged left out.
    never_delivered: list[str]
    #: Messages that reached a receiver, and that none deleted.
    never_deleted: list[str]
    #: Messages that came again after they had been deleted.
    came_after_deletion: list[str]
    #: Messages that were deleted with the handles of two deliveries: whoever did so took them for
    #: new both times, or knew that they were not.
    deleted_twice: list[str]


@dataclass(slots=True)
class _Passage:
    """What is known of one message."""

    sent: bool = False
    purged: bool = False
    deliveries: int = 0
    came_after_deletion: bool = False
    #: The handles that it was deleted with.
    deleted_with: set[str] = field(default_factory=set)


class _QueueBooks:
    def __init__(self) -> None:
        self.messages: dict[str, _Passage] = {}
        self.message_of: dict[str, str] = {}
        self.doubled = 0
        self.fates: Counter[Fate] = Counter()
        self.lost: Counter[str] = Counter()

    def passage(self, message_id: str) -> _Passage:
        return self.messages.setdefault(message_id, _Passage())


class ChaosLedger:
    """Witnesses all calls of a proxy, and keeps the books. It remembers every message."""

    def __init__(self) -> None:
        self._queues: dict[QueueKey, _QueueBooks] = {}
        self.fates: Counter[Fate] = Counter()
        self.deeds: Counter[Deed] = Counter()

    def call(
        self, request: AnyRequest, queue: QueueKey | None, fate: Fate, answer: Answer | None
    ) -> None:
        """A call ended."""
        self.fates[fate] += 1
        if queue is None:
            return
        books = self._books(queue)
        books.fates[fate] += 1
        if answer is None or isinstance(answer, SqsError):
            return
        heard = fate is Fate.ANSWERED
        if isinstance(request, _SENDING):
            books.lost["send"] += not heard
            for message_id in _sent_in(answer):
                books.passage(message_id).sent = True
        elif isinstance(request, ReceiveMessageRequest):
            books.lost["receive"] += not heard
            if heard:
                _note_delivery(books, answer)
        elif isinstance(request, _DELETING):
            books.lost["delete"] += not heard
            for handle in _deleted_in(request, answer):
                if handle in books.message_of:
                    books.passage(books.message_of[handle]).deleted_with.add(handle)

    def deed(self, deed: Deed, queue: QueueKey | None, message_id: str | None = None) -> None:
        """Something was done to an answer or a message."""
        self.deeds[deed] += 1
        if queue is None or message_id is None:
            return
        if deed is Deed.DOUBLED:
            self._books(queue).doubled += 1
        elif deed is Deed.PURGED:
            self._books(queue).passage(message_id).purged = True

    def figures(self) -> dict[str, QueueFigures]:
        """The books of each queue, by its name; with region and account where two share it."""
        names = Counter(key.name for key in self._queues)
        return {
            key.name
            if names[key.name] == 1
            else f"{key.region}/{key.account_id}/{key.name}": _figures(books)
            for key, books in self._queues.items()
        }

    def _books(self, queue: QueueKey) -> _QueueBooks:
        books = self._queues.get(queue)
        if books is None:
            books = self._queues[queue] = _QueueBooks()
        return books


def _note_delivery(books: _QueueBooks, answer: Answer) -> None:
    assert isinstance(answer, ReceiveMessageResult)
    for message in answer.messages or ():
        passage = books.passage(message.message_id)
        passage.deliveries += 1
        passage.came_after_deletion |= bool(passage.deleted_with)
        books.message_of[message.receipt_handle] = message.message_id


def _sent_in(answer: Answer) -> list[str]:
    if isinstance(answer, SendMessageResult):
        return [answer.message_id]
    assert isinstance(answer, SendMessageBatchResult)
    return [entry.message_id for entry in answer.successful or ()]


def _deleted_in(request: AnyRequest, answer: Answer) -> list[str]:
    """The receipt handles that a call has deleted with."""
    if isinstance(request, DeleteMessageRequest):
        return [request.receipt_handle]
    assert isinstance(request, DeleteMessageBatchRequest)
    assert isinstance(answer, BatchResult)
    done = {entry.id for entry in answer.successful or ()}
    return [entry.receipt_handle for entry in request.entries if entry.id in done]


def _figures(books: _QueueBooks) -> QueueFigures:
    every = books.messages
    delivered = [each for each in every.values() if each.deliveries]
    return QueueFigures(
        sent=sum(each.sent for each in every.values()),
        delivered=len(delivered),
        deliveries=sum(each.deliveries for each in delivered),
        doubled=books.doubled,
        deleted=sum(bool(each.deleted_with) for each in delivered),
        send_replies_lost=books.lost["send"],
        receive_replies_lost=books.lost["receive"],
        delete_replies_lost=books.lost["delete"],
        throttled=books.fates[Fate.THROTTLED],
        cut=books.fates[Fate.CUT],
        purged=[name for name, each in every.items() if each.purged],
        never_delivered=[
            name
            for name, each in every.items()
            if each.sent and not each.deliveries and not each.purged
        ],
        never_deleted=[
            name for name, each in every.items() if each.deliveries and not each.deleted_with
        ],
        came_after_deletion=[name for name, each in every.items() if each.came_after_deletion],
        deleted_twice=[name for name, each in every.items() if len(each.deleted_with) > 1],
    )
