"""What CloudWatch tells of a queue beside its counts: computed when somebody looks.

Of the messages that are in the journal alone, tenants and receives are not known one by one: the
backlog counts as quiet and as never received. Nothing here costs anything while messages come and
go; a look goes through the messages in memory at most twice.

Source: SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from msgspec import Struct

from forebay.broker.core.fifo import FifoQueue
from forebay.broker.core.message import Message, State
from forebay.broker.core.queue import Queue
from forebay.broker.core.standard import StandardQueue

#: A message that was received so often is left out of the oldest age: it may never be processed.
POISON_RECEIVES = 3


class FairGauges(Struct, frozen=True):
    """What there is to know of the message groups of a standard queue."""

    #: ApproximateNumberOfNoisyGroups.
    noisy_groups: int
    #: ApproximateNumberOfMessagesVisibleInQuietGroups.
    quiet_visible: int
    #: ApproximateNumberOfMessagesNotVisibleInQuietGroups.
    quiet_in_flight: int
    #: ApproximateNumberOfMessagesDelayedInQuietGroups.
    quiet_delayed: int
    #: ApproximateAgeOfOldestMessageInQuietGroups, in seconds; 0 without such a message.
    quiet_oldest_message_age_s: float


def oldest_unprocessed_age_s(queue: Queue, now_ms: int) -> float:
    """CloudWatch's ApproximateAgeOfOldestMessage, in seconds; 0 without such a message.

    Messages received three times or more are left out, and the age in a dead-letter queue counts
    from when a message came there.
    """
    oldest = queue.oldest_message()
    if oldest is not None and not _is_dead_letter(oldest) and _is_unprocessed(oldest):
        since_ms: int | None = queue.oldest_enqueued_at_ms()
    else:
        since_ms = _oldest_entry(queue, queue.messages.values())
    return 0.0 if since_ms is None else (now_ms - since_ms) / 1000


def fair_gauges(queue: StandardQueue, now_ms: int) -> FairGauges:
    """Look at the groups of a standard queue."""
    noisy = queue.noisy_groups
    if not noisy:
        age_s = oldest_unprocessed_age_s(queue, now_ms)
        return FairGauges(0, queue.visible_count, queue.in_flight_count, queue.delayed_count, age_s)
    counts: Counter[State] = Counter()
    quiet = []
    for message in queue.messages.values():
        if message.group_id in noisy:
            counts[message.state] += 1
        else:
            quiet.append(message)
    since_ms = _oldest_entry(queue, quiet)
    return FairGauges(
        len(noisy),
        queue.visible_count - counts[State.VISIBLE],
        queue.in_flight_count - counts[State.IN_FLIGHT],
        queue.delayed_count - counts[State.DELAYED],
        0.0 if since_ms is None else (now_ms - since_ms) / 1000,
    )


def groups_in_flight(queue: FifoQueue) -> int:
    """ApproximateNumberOfGroupsWithInflightMessages of a FIFO queue."""
    if not queue.in_flight_count:
        return 0
    messages = queue.messages.values()
    return len({message.group_id for message in messages if message.state is State.IN_FLIGHT})


def _oldest_entry(queue: Queue, messages: Collection[Message]) -> int | None:
    """When the oldest of some messages in memory came, or of the backlog."""
    times: Iterable[int] = (_entered_at_ms(it) for it in messages if _is_unprocessed(it))
    backlog = queue.held.backlog
    behind_ms = backlog.enqueued_at_ms if backlog is not None else None
    oldest_ms = min(times, default=behind_ms)
    return oldest_ms if behind_ms is None or oldest_ms is None else min(oldest_ms, behind_ms)


def _is_unprocessed(message: Message) -> bool:
    return message.receive_count < POISON_RECEIVES or message.receives_here < POISON_RECEIVES


def _is_dead_letter(message: Message) -> bool:
    return message.extras is not None and message.extras.dead_letter_source_arn is not None


def _entered_at_ms(message: Message) -> int:
    """When a message came to its queue: a dead letter became available as it was moved."""
    return message.available_at_ms if _is_dead_letter(message) else message.enqueued_at_ms
