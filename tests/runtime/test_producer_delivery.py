"""What became of every message of a batch, as a table."""

from __future__ import annotations

import pytest

from forebay.errors import ForebayError, ServiceUnreachable
from forebay.producer.delivery import batch_request, judge
from forebay.producer.entry import Entry
from forebay.protocol.actions import (
    BatchResultErrorEntry,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageBatchResult,
    SendMessageBatchResultEntry,
)
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SERVICE_UNAVAILABLE, SqsError

BATCH = [Entry(name, b"body", None, None) for name in ("a", "b", "c")]


def ok(place: int) -> SendMessageBatchResultEntry:
    return SendMessageBatchResultEntry(
        id=str(place), message_id=f"m{place}", md5_of_message_body="d"
    )


def bad(place: int, *, sender_fault: bool) -> BatchResultErrorEntry:
    return BatchResultErrorEntry(id=str(place), sender_fault=sender_fault, code="Broken")


def answer(
    *successful: SendMessageBatchResultEntry, failed: list[BatchResultErrorEntry] | None = None
) -> SendMessageBatchResult:
    return SendMessageBatchResult(successful=list(successful), failed=failed)


@pytest.mark.parametrize(
    ("given", "sent", "again", "failed"),
    [
        (answer(ok(0), ok(1), ok(2)), "abc", "", ""),
        (answer(ok(0), ok(2), failed=[bad(1, sender_fault=False)]), "ac", "b", ""),
        (answer(ok(0), ok(2), failed=[bad(1, sender_fault=True)]), "ac", "", "b"),
        (
            answer(failed=[bad(n, sender_fault=n == 1) for n in (2, 1, 0)]),
            "",
            "ac",
            "b",
        ),
        (answer(ok(1)), "b", "ac", ""),
        (SendMessageBatchResult(), "", "abc", ""),
        (answer(ok(0), ok(1), ok(2), ok(7)), "abc", "", ""),
        (ServiceUnreachable(), "", "abc", ""),
        (SqsError(SERVICE_UNAVAILABLE), "", "abc", ""),
        (SqsError(QUEUE_DOES_NOT_EXIST), "", "", "abc"),
        (ForebayError("unexpected"), "", "", "abc"),
    ],
)
def test_every_message_is_judged_once(
    given: SendMessageBatchResult | ForebayError, sent: str, again: str, failed: str
) -> None:
    outcome = judge(BATCH, given)
    assert [entry.envelope_id for entry, _ in outcome.sent] == list(sent)
    assert [entry.envelope_id for entry, _ in outcome.again] == list(again)
    assert [entry.envelope_id for entry, _ in outcome.failed] == list(failed)


def test_a_failed_message_keeps_the_reason_of_its_entry() -> None:
    outcome = judge(
        BATCH[:1],
        answer(
            failed=[
                BatchResultErrorEntry(
                    id="0", sender_fault=True, code="InvalidMessageContents", message="no \uffff"
                )
            ]
        ),
    )
    error = outcome.failed[0][1]
    assert isinstance(error, SqsError)
    assert (error.code, error.message) == ("InvalidMessageContents", "no \uffff")


def test_a_batch_is_one_request_whose_ids_are_places() -> None:
    batch = [Entry("e1", "ä".encode(), "group", "once"), Entry("e2", b"x", "group", "twice")]
    assert batch_request("orders.fifo", batch) == SendMessageBatchRequest(
        queue_url="orders.fifo",
        entries=[
            SendMessageBatchRequestEntry(
                id="0",
                message_body="ä",
                message_group_id="group",
                message_deduplication_id="once",
            ),
            SendMessageBatchRequestEntry(
                id="1",
                message_body="x",
                message_group_id="group",
                message_deduplication_id="twice",
            ),
        ],
    )
