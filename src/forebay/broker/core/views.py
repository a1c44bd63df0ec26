"""Looking at queues and messages without touching them: for people, metrics and the console."""

from __future__ import annotations

from itertools import islice

from msgspec import Struct

from forebay.broker.core.fifo import FifoQueue
from forebay.broker.core.gauges import (
    FairGauges,
    fair_gauges,
    groups_in_flight,
    oldest_unprocessed_age_s,
)
from forebay.broker.core.message import Message, State
from forebay.broker.core.queue import Queue, QueueTotals
from forebay.broker.core.receive import shown
from forebay.broker.core.standard import StandardQueue
from forebay.broker.core.state import Caller, EngineState
from forebay.protocol import actions
from forebay.protocol.identifiers import sequence_number

#: Most messages that one look shows. A look is for people, and must not hold up the queue.
PEEK_MESSAGES_MAX = 1_000


#: What a look shows in place of a receipt handle, as LocalStack does.
NO_RECEIPT_HANDLE = "SQS/BACKDOOR/ACCESS"


class QueueView(Struct, frozen=True):
    """A queue as it is now."""

    account_id: str
    region: str
    name: str
    arn: str
    fifo: bool
    visible: int
    in_flight: int
    delayed: int
    #: Age of the oldest message, in seconds; 0 for an empty queue.
    oldest_message_age_s: float
    #: The same as CloudWatch counts it: messages received three times or more are left out, and a
    #: dead letter counts from when it came to this queue.
    oldest_unprocessed_age_s: float
    #: What fair queues are watched by; None for a FIFO queue.
    fair: FairGauges | None
    #: Message groups with messages in flight; None for a standard queue.
    groups_in_flight: int | None
    #: What happened since the broker started.
    totals: QueueTotals
    tags: dict[str, str]


class MessageView(Struct, frozen=True, omit_defaults=True):
    """A message as it is now. It has no receipt handle: looking is not receiving."""

    message_id: str
    body: str
    state: str
    receive_count: int
    #: Wall time of the send, in ms.
    sent_at_ms: int
    #: Seconds until it becomes visible, for a delayed message and one in flight.
    visible_in_s: float | None = None
    message_group_id: str | None = None
    deduplication_id: str | None = None
    sequence_number: str | None = None
    dead_letter_source_arn: str | None = None


def view_queues(state: EngineState, now_ms: int) -> list[QueueView]:
    """Every queue, by account, region and name."""
    views = []
    for key in sorted(state.queues, key=lambda key: (key.account_id, key.region, key.name)):
        queue = state.queues[key]
        state.settle(queue, now_ms)
        views.append(_view_queue(queue, now_ms))
    return views


def peek(
    state: EngineState, queue_url: str, caller: Caller, now_ms: int, limit: int
) -> list[MessageView]:
    """The oldest messages of a queue, whatever their state; nothing about them changes.

    Raises SqsError (QueueDoesNotExist).
    """
    queue = state.queue(queue_url, caller, now_ms)
    state.ask_for_page(queue, now_ms)
    messages = islice(queue.messages.values(), min(limit, PEEK_MESSAGES_MAX))
    return [_view_message(queue, message, now_ms) for message in messages]


def look(
    state: EngineState, queue_url: str, caller: Caller, now_ms: int, states: frozenset[State]
) -> list[actions.Message]:
    """The oldest messages of a queue in some states, as ReceiveMessage shows them.

    None is received. The attributes IsVisible and IsDelayed say more, and the receipt handle is
    none. At most PEEK_MESSAGES_MAX are shown. Raises SqsError (QueueDoesNotExist).
    """
    queue = state.queue(queue_url, caller, now_ms)
    state.ask_for_page(queue, now_ms)
    chosen = (message for message in queue.messages.values() if message.state in states)
    seen = []
    for message in islice(chosen, PEEK_MESSAGES_MAX):
        found = shown(queue, message, frozenset({"All"}), ["All"])
        found.receipt_handle = NO_RECEIPT_HANDLE
        found.attributes = {
            **(found.attributes or {}),
            "IsVisible": str(message.state is State.VISIBLE).lower(),
            "IsDelayed": str(message.state is State.DELAYED).lower(),
        }
        seen.append(found)
    return seen


def _view_queue(queue: Queue, now_ms: int) -> QueueView:
    oldest_ms = queue.oldest_enqueued_at_ms()
    return QueueView(
        account_id=queue.key.account_id,
        region=queue.key.region,
        name=queue.key.name,
        arn=queue.arn,
        fifo=queue.settings.fifo,
        visible=queue.visible_count,
        in_flight=queue.in_flight_count,
        delayed=queue.delayed_count,
        oldest_message_age_s=0.0 if oldest_ms is None else (now_ms - oldest_ms) / 1000,
        oldest_unprocessed_age_s=oldest_unprocessed_age_s(queue, now_ms),
        fair=fair_gauges(queue, now_ms) if isinstance(queue, StandardQueue) else None,
        groups_in_flight=groups_in_flight(queue) if isinstance(queue, FifoQueue) else None,
        totals=queue.totals,
        tags=queue.tags,
    )


def _view_message(queue: Queue, message: Message, now_ms: int) -> MessageView:
    visible_at_ms = {
        State.DELAYED: message.available_at_ms,
        State.IN_FLIGHT: queue.visible_at(message),
    }.get(message.state)
    extras = message.extras
    return MessageView(
        message_id=message.message_id,
        body=message.body,
        state=message.state.name,
        receive_count=message.receive_count,
        sent_at_ms=message.sent_at_ms,
        visible_in_s=None if visible_at_ms is None else (visible_at_ms - now_ms) / 1000,
        message_group_id=message.group_id,
        deduplication_id=message.deduplication_id,
        sequence_number=sequence_number(message.sequence) if queue.settings.fifo else None,
        dead_letter_source_arn=extras.dead_letter_source_arn if extras is not None else None,
    )
