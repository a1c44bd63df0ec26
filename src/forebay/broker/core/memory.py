"""How much memory the messages and deduplication ids of an engine take."""

from __future__ import annotations

from typing import NamedTuple

from forebay.broker.core.deduplication import ID_BYTES
from forebay.broker.core.state import EngineState

#: What a message in memory takes beside its body and attributes, in bytes: its digests, ids and
#: times, and its places in the orders of its queue. Measured:
#: docs/decisions/0008-a-bound-on-memory.md.
MESSAGE_BYTES = 800

#: Expired deduplication ids of a queue that are forgotten at one look.
_FORGOTTEN_MAX = 10_000


class MemoryUse(NamedTuple):
    """What grows with messages, in bytes. A character counts as one."""

    #: Bodies and attributes of messages.
    content_bytes: int
    #: All else.
    other_bytes: int
    #: Of both, what is for messages that were received and neither deleted nor dead-lettered.
    received_bytes: int


def memory_use(state: EngineState, now_ms: int) -> MemoryUse:
    """What is taken of memory, after some of the deduplication ids that expired are forgotten."""
    content_bytes = other_bytes = received_bytes = 0
    for queue in state.queues_by_number.values():
        held = queue.held
        content_bytes += held.received_size + held.unreceived_size
        other_bytes += MESSAGE_BYTES * len(held.messages)
        received = len(held.messages) - held.unreceived
        received_bytes += held.received_size + MESSAGE_BYTES * received
        if queue.deduplication is not None:
            state.forget_deduplications(queue.deduplication, now_ms, _FORGOTTEN_MAX)
            other_bytes += ID_BYTES * len(queue.deduplication)
    return MemoryUse(content_bytes, other_bytes, received_bytes)
