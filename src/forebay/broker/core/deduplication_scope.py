"""What happens when the DeduplicationScope of a FIFO queue changes: the whole queue, or each group.

AWS goes on in the former scope for a while, with ids that it has seen and with new ones. Here that
is as long as an id is remembered. For as long again an id that was seen in the former scope still
counts, so that a send that is tried again over the change is no second message.
"""

from __future__ import annotations

from forebay.broker.core.queue import Queue
from forebay.protocol.limits import DEDUPLICATION_INTERVAL_MS


def change_scope(queue: Queue, now_ms: int) -> None:
    """Note that the scope in the attributes of a queue has just changed."""
    # To change it back before it was in force is to have changed nothing.
    in_force_ms = now_ms if _is_to_come(queue, now_ms) else now_ms + DEDUPLICATION_INTERVAL_MS
    queue.scope_settled_ms = in_force_ms + DEDUPLICATION_INTERVAL_MS


def scopes(queue: Queue, group_id: str, now_ms: int) -> tuple[str, str]:
    """The scope of an id that is sent now, and the other one in which it may have been seen.

    For a queue whose `scope_settled_ms` is to come.
    """
    by_group = queue.settings.deduplicate_by_group is not _is_to_come(queue, now_ms)
    return (group_id, "") if by_group else ("", group_id)


def _is_to_come(queue: Queue, now_ms: int) -> bool:
    """Whether the scope in the attributes is not in force yet."""
    return now_ms < queue.scope_settled_ms - DEDUPLICATION_INTERVAL_MS
