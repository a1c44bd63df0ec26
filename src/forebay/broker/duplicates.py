"""What happens to a message that a fault has delivered once more than its receiver expects.

A receiver that deletes a message before its second delivery would prevent it. So such a message is
visible already, and what its first receiver asks of it is answered and not carried out: SQS has a
copy on a server that did not hear of the deletion.
Source: SQSDeveloperGuide/standard-queues-at-least-once-delivery.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from forebay.broker.polls import Answer
from forebay.protocol.actions import (
    AnyRequest,
    BatchResult,
    BatchResultEntry,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityRequest,
    DeleteMessageBatchRequest,
    DeleteMessageRequest,
    EmptyResult,
    Message,
)
from forebay.protocol.errors import SqsError
from forebay.protocol.limits import BATCH_ENTRIES_MAX

#: Messages of one queue whose second delivery is waited for at once. A bound, because some of them
#: expire, or go to a dead-letter queue, and nobody tells.
_EXPECTED_MAX = 100_000


class Kept(NamedTuple):
    """What is left of a request, None when nothing is, and the entries that were taken out."""

    rest: AnyRequest | None
    entry_ids: tuple[str, ...] = ()

    def answer(self, to_rest: Answer | None) -> Answer:
        """The answer to the whole request; `to_rest` is that to its rest."""
        if not self.entry_ids:
            return EmptyResult() if to_rest is None else to_rest
        if isinstance(to_rest, SqsError):
            return to_rest
        result = to_rest if isinstance(to_rest, BatchResult) else BatchResult()
        taken = [BatchResultEntry(id=entry_id) for entry_id in self.entry_ids]
        return replace(result, successful=[*(result.successful or ()), *taken])


@dataclass(slots=True)
class _Expected:
    """The first delivery of a message that comes again."""

    handle: str
    #: Whether its receiver has deleted it.
    deleted: bool = False


class Duplicates:
    """The messages of one queue that are to be delivered once more."""

    def __init__(self) -> None:
        self._by_message: dict[str, _Expected] = {}
        self._by_handle: dict[str, _Expected] = {}

    def expect(self, message: Message) -> None:
        """Wait for another delivery of a message that was just delivered."""
        if len(self._by_message) >= _EXPECTED_MAX:
            self._forget(next(iter(self._by_message)))
        expected = _Expected(message.receipt_handle)
        self._by_message[message.message_id] = self._by_handle[expected.handle] = expected

    def came_again(self, message_id: str) -> bool:
        """A message was delivered. Answers whether this is the delivery that was waited for."""
        return self._forget(message_id) is not None

    def give_up(self, message_id: str) -> bool:
        """Wait no longer. Answers whether the message's receiver has deleted it meanwhile."""
        expected = self._forget(message_id)
        return expected is not None and expected.deleted

    def keep(self, request: AnyRequest) -> Kept:
        """Take out of a request what is asked of messages that are to be delivered once more."""
        if isinstance(request, DeleteMessageRequest | ChangeMessageVisibilityRequest):
            is_deletion = isinstance(request, DeleteMessageRequest)
            return Kept(None if self._is_kept(request.receipt_handle, is_deletion) else request)
        if isinstance(request, DeleteMessageBatchRequest | ChangeMessageVisibilityBatchRequest):
            return self._keep_entries(request)
        return Kept(request)

    def _keep_entries(
        self, request: DeleteMessageBatchRequest | ChangeMessageVisibilityBatchRequest
    ) -> Kept:
        ids = {entry.id for entry in request.entries}
        if len(ids) < len(request.entries) or len(ids) > BATCH_ENTRIES_MAX:
            return Kept(request)
        is_deletion = isinstance(request, DeleteMessageBatchRequest)
        kept = tuple(
            entry.id
            for entry in request.entries
            if self._is_kept(entry.receipt_handle, is_deletion)
        )
        rest = [entry for entry in request.entries if entry.id not in kept]
        if not kept:
            return Kept(request)
        return Kept(replace(request, entries=rest) if rest else None, kept)

    def _is_kept(self, handle: str, is_deletion: bool) -> bool:
        expected = self._by_handle.get(handle)
        if expected is None:
            return False
        expected.deleted |= is_deletion
        return True

    def _forget(self, message_id: str) -> _Expected | None:
        expected = self._by_message.pop(message_id, None)
        if expected is not None:
            del self._by_handle[expected.handle]
        return expected
