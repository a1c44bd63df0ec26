"""A batch as a request, and its answer as what became of every message. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field

from forebay.client.retry import entry_error, is_retryable, split_failed
from forebay.errors import ForebayError
from forebay.messages.packing import PACK_ATTRIBUTE
from forebay.producer.entry import Entry
from forebay.producer.ledger import FAILED, Lost
from forebay.protocol.actions import (
    MessageAttributes,
    MessageAttributeValue,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageBatchResult,
    SendMessageBatchResultEntry,
)
from forebay.protocol.errors import INTERNAL_FAILURE, SqsError


class Outcome(Struct):
    """What became of the messages of one attempt. Each is in exactly one list."""

    sent: list[tuple[Entry, SendMessageBatchResultEntry]] = field(default_factory=list)
    #: May succeed when it is sent again, in the order of the batch.
    again: list[tuple[Entry, ForebayError]] = field(default_factory=list)
    failed: list[tuple[Entry, ForebayError]] = field(default_factory=list)


def batch_request(queue_url: str, batch: Sequence[Entry]) -> SendMessageBatchRequest:
    """The request that sends a batch: each entry's id is its place in it."""
    return SendMessageBatchRequest(
        queue_url=queue_url,
        entries=[
            SendMessageBatchRequestEntry(
                id=str(place),
                message_body=entry.body.decode(),
                message_group_id=entry.group_id,
                message_deduplication_id=entry.deduplication_id,
                message_attributes=_attributes(entry),
                delay_seconds=entry.delay_s,
            )
            for place, entry in enumerate(batch)
        ],
    )


def _attributes(entry: Entry) -> MessageAttributes | None:
    if entry.pack is None:
        return entry.attributes
    pack = MessageAttributeValue(data_type="Binary", binary_value=entry.pack)
    return {PACK_ATTRIBUTE: pack, **(entry.attributes or {})}


def judge(batch: Sequence[Entry], answer: SendMessageBatchResult | ForebayError) -> Outcome:
    """What became of every message of a batch, by its answer or by the error of the whole call.

    A message that the answer does not mention is sent again: nobody acknowledged it.
    """
    if isinstance(answer, ForebayError):
        judged = [(entry, answer) for entry in batch]
        return Outcome(again=judged) if is_retryable(answer) else Outcome(failed=judged)
    _, final = split_failed(answer.failed)
    final_ids = {entry.id for entry in final}
    errors = {entry.id: entry_error(entry) for entry in answer.failed or ()}
    acknowledged = {entry.id: entry for entry in answer.successful or ()}
    outcome = Outcome()
    for place, entry in enumerate(batch):
        identifier = str(place)
        result = acknowledged.get(identifier)
        if result is not None:
            outcome.sent.append((entry, result))
            continue
        error = errors.get(identifier) or SqsError(
            INTERNAL_FAILURE, "The answer to the batch did not mention the message."
        )
        (outcome.failed if identifier in final_ids else outcome.again).append((entry, error))
    return outcome


def loss_of(entry: Entry, error: ForebayError) -> Lost:
    """A message that failed for good, as it is told."""
    return Lost(
        reason=FAILED,
        events=entry.events,
        first_ms=entry.first_ms,
        last_ms=entry.last_ms,
        error=str(error),
    )
