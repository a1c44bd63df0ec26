"""Messages and leases as the worker's tests need them."""

from __future__ import annotations

from forebay.messages.envelope import encode_envelope
from forebay.protocol.actions import Message, MessageAttributes
from forebay.worker.lease import Lease


def message(
    identifier: str = "m-1",
    body: str = "hello",
    *,
    group_id: str | None = None,
    receive_count: int = 1,
    attributes: MessageAttributes | None = None,
    trace_header: str | None = None,
) -> Message:
    system = {"ApproximateReceiveCount": str(receive_count), "SentTimestamp": "1700000000123"}
    if group_id is not None:
        system |= {"MessageGroupId": group_id, "SequenceNumber": "18850000000000000001"}
    if trace_header is not None:
        system["AWSTraceHeader"] = trace_header
    return Message(
        message_id=identifier,
        receipt_handle=f"handle of {identifier}",
        md5_of_body="",
        body=body,
        attributes=system,
        message_attributes=attributes,
    )


def lease(
    identifier: str = "m-1",
    group_id: str | None = None,
    *,
    body: str = "hello",
    received_at_ms: int = 0,
    until_ms: int = 30_000,
) -> Lease:
    return Lease(message(identifier, body, group_id=group_id), received_at_ms, until_ms, group_id)


def envelope(
    message_type: str, payload: object, *, identifier: str = "e-1", key: str | None = None
) -> str:
    return encode_envelope(
        identifier, message_type, "2026-11-22T08:26:00.123Z", "api-1", payload, key=key
    )
