"""The embedded SQS without I/O: requests and the time go in, answers and changes come out.

A driver applies requests, has the journal commit what `take_changes` gives, and lets the answers
go after that. When `take_readable` names a queue it tries that queue's waiting receives again. It
calls `tick` at the time that `next_due` says, so that delays and visibility timeouts end on time
even when nobody asks. When `take_pages` gives requests, it has the journal answer them after it has
committed all changes up to then, and brings the answers to `page_in`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from forebay.broker.core import (
    move_tasks,
    permissions,
    queues,
    receipts,
    receive,
    send,
    tags,
    views,
)
from forebay.broker.core.changes import ChangeSet, Page, PageRequest, Snapshot
from forebay.broker.core.memory import MemoryUse, memory_use
from forebay.broker.core.message import State
from forebay.broker.core.receive import Wait
from forebay.broker.core.state import Caller, EngineState
from forebay.broker.core.views import PEEK_MESSAGES_MAX, MessageView, QueueView
from forebay.broker.core.window import Window
from forebay.protocol import actions
from forebay.protocol.actions import AnyRequest, AnyResult
from forebay.protocol.identifiers import QueueKey
from forebay.protocol.limits import RECREATE_INTERVAL_MS

__all__ = ["Caller", "Engine", "MessageView", "QueueView", "Wait"]

#: What carries out each action.
_ACTIONS: dict[type[AnyRequest], Callable[[EngineState, Any, Caller, int], AnyResult | Wait]] = {
    actions.CreateQueueRequest: queues.create_queue,
    actions.GetQueueUrlRequest: queues.get_queue_url,
    actions.ListQueuesRequest: queues.list_queues,
    actions.DeleteQueueRequest: queues.delete_queue,
    actions.PurgeQueueRequest: queues.purge_queue,
    actions.GetQueueAttributesRequest: queues.get_queue_attributes,
    actions.SetQueueAttributesRequest: queues.set_queue_attributes,
    actions.SendMessageRequest: send.send_message,
    actions.SendMessageBatchRequest: send.send_message_batch,
    actions.ReceiveMessageRequest: receive.receive_message,
    actions.DeleteMessageRequest: receipts.delete_message,
    actions.DeleteMessageBatchRequest: receipts.delete_message_batch,
    actions.ChangeMessageVisibilityRequest: receipts.change_message_visibility,
    actions.ChangeMessageVisibilityBatchRequest: receipts.change_message_visibility_batch,
    actions.TagQueueRequest: tags.tag_queue,
    actions.UntagQueueRequest: tags.untag_queue,
    actions.ListQueueTagsRequest: tags.list_queue_tags,
    actions.AddPermissionRequest: permissions.add_permission,
    actions.RemovePermissionRequest: permissions.remove_permission,
    actions.ListDeadLetterSourceQueuesRequest: queues.list_dead_letter_source_queues,
    actions.StartMessageMoveTaskRequest: move_tasks.start_message_move_task,
    actions.CancelMessageMoveTaskRequest: move_tasks.cancel_message_move_task,
    actions.ListMessageMoveTasksRequest: move_tasks.list_message_move_tasks,
}


def _no_problems(_policy: str) -> Sequence[str]:
    return ()


class Engine:
    """All queues of a broker.

    `entropy` gives that many random bytes; it makes the message ids. `recreate_interval_ms` is how
    long the name of a deleted queue stays taken. `window` bounds what is in memory of each queue.
    `policy_problems` tells why a queue's policy could not be enforced, nothing when it can.
    `snapshot` is what the journal held.
    """

    def __init__(
        self,
        *,
        entropy: Callable[[int], bytes],
        recreate_interval_ms: int = RECREATE_INTERVAL_MS,
        window: Window = Window(),  # noqa: B008 - frozen
        policy_problems: Callable[[str], Sequence[str]] = _no_problems,
        snapshot: Snapshot | None = None,
    ) -> None:
        self._state = EngineState(
            entropy=entropy,
            recreate_interval_ms=recreate_interval_ms,
            window=window,
            policy_problems=policy_problems,
            snapshot=snapshot,
        )

    @property
    def wall_offset_ms(self) -> int:
        """Wall time minus engine time, in ms. The driver sets it; SentTimestamp is made with it."""
        return self._state.wall_offset_ms

    @wall_offset_ms.setter
    def wall_offset_ms(self, value: int) -> None:
        self._state.wall_offset_ms = value

    @property
    def shortage(self) -> str | None:
        """Why sends, new queues and move tasks have to wait; None while they need not.

        The driver sets it. Receives, deletes and all that makes the queues emptier go on.
        """
        return self._state.shortage

    @shortage.setter
    def shortage(self, reason: str | None) -> None:
        self._state.shortage = reason

    @property
    def redelivers_alone(self) -> bool:
        """Whether receives deliver only what was received before, and take no more into memory."""
        return self._state.redelivers_alone

    @redelivers_alone.setter
    def redelivers_alone(self, value: bool) -> None:
        state = self._state
        if state.redelivers_alone and not value:
            state.readable.update((number, None) for number in state.queues_by_number)
        state.redelivers_alone = value

    def memory_use(self, now_ms: int) -> MemoryUse:
        """What messages and deduplication ids take of memory."""
        return memory_use(self._state, self._at(now_ms))

    def apply(self, request: AnyRequest, caller: Caller, now_ms: int) -> AnyResult | Wait:
        """Carry out a request at engine time `now_ms`.

        Time never goes back: an earlier `now_ms` than the engine has seen counts as the latest.
        Raises SqsError when SQS would refuse the request, which then has changed nothing.
        """
        state = self._state
        state.clock_ms = max(state.clock_ms, now_ms)
        return _ACTIONS[type(request)](state, request, caller, state.clock_ms)

    def tick(self, now_ms: int) -> None:
        """End delays and visibility timeouts, expire messages, and take move tasks a step on."""
        state = self._state
        now_ms = self._at(now_ms)
        if now_ms >= state.agenda.first_ms:
            while (number := state.agenda.pop_due(now_ms)) is not None:
                queue = state.queues_by_number[number]
                state.settle(queue, now_ms)
                state.reschedule(queue)
        if now_ms >= state.move_task_agenda.first_ms:
            move_tasks.advance_move_tasks(state, now_ms)

    def next_due(self) -> int:
        """The engine time at which `tick` must be called next, or earlier; NEVER_MS for never."""
        state = self._state
        return min(state.agenda.first_ms, state.move_task_agenda.first_ms)

    def reset(self, account_id: str | None, now_ms: int) -> None:
        """Delete all queues and move tasks of an account, or of all; every name is free again."""
        self._state.reset(account_id, self._at(now_ms))

    def view_queues(self, now_ms: int) -> list[QueueView]:
        """Every queue as it is now, by account, region and name. Nothing is received."""
        return views.view_queues(self._state, self._at(now_ms))

    def peek(
        self, queue_url: str, caller: Caller, now_ms: int, limit: int = PEEK_MESSAGES_MAX
    ) -> list[MessageView]:
        """The oldest messages of a queue in whatever state, at most PEEK_MESSAGES_MAX of them.

        Raises SqsError (QueueDoesNotExist).
        """
        return views.peek(self._state, queue_url, caller, self._at(now_ms), limit)

    def look(
        self, queue_url: str, caller: Caller, now_ms: int, states: frozenset[State]
    ) -> list[actions.Message]:
        """The oldest messages of a queue in some states, as ReceiveMessage would show them.

        Raises SqsError (QueueDoesNotExist).
        """
        return views.look(self._state, queue_url, caller, self._at(now_ms), states)

    def find_policy(self, key: QueueKey) -> tuple[str, str | None] | None:
        """The ARN of a queue and the text of its Policy, None without one; None for no queue."""
        queue = self._state.queues.get(key)
        return None if queue is None else (queue.arn, queue.attributes.get("Policy") or None)

    def _at(self, now_ms: int) -> int:
        """The time that counts as now; time never goes back."""
        state = self._state
        state.clock_ms = max(now_ms, state.clock_ms)
        return state.clock_ms

    def take_changes(self) -> ChangeSet:
        """What changed since the last call. Falsy, and kept for the next call, when nothing did."""
        state = self._state
        changes = state.changes
        changes.next_sequence = state.next_sequence
        changes.next_queue_number = state.next_queue_number
        changes.clock_ms = state.clock_ms
        if changes:
            state.save_tallies()
            state.changes = ChangeSet()
            state.dead_lettered_size = 0
        return changes

    def take_pages(self) -> list[PageRequest]:
        """Which pages to read, after all changes up to now were committed."""
        requests = self._state.page_requests
        self._state.page_requests = []
        return requests

    def ask_again(self, request: PageRequest) -> None:
        """Have a page asked for once more that could not be read."""
        self._state.page_requests.append(request)

    def page_in(self, request: PageRequest, page: Page, now_ms: int) -> None:
        """Take in what the journal answered to a request."""
        self._state.page_in(request, page, self._at(now_ms))

    def take_readable(self) -> list[int]:
        """Numbers of the queues where a waiting receive may now succeed, or fail for good."""
        readable = self._state.readable
        if not readable:
            return []
        numbers = list(readable)
        readable.clear()
        return numbers
