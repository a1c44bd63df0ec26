"""Hands a message to a handler as the worker would."""

from __future__ import annotations

from forebay.messages.envelope import encode_envelope
from forebay.protocol.actions import Message
from forebay.worker import Router
from tests.runtime.worker_messages import source


async def deliver(
    router: Router,
    type: str,  # noqa: A002
    payload: object,
    *,
    receive_count: int = 1,
    envelope_id: str = "envelope-1",
    key: str | None = None,
) -> None:
    """Run the handler of a message from a FIFO queue. Raises what the handler raises."""
    message = Message(
        message_id="message-1",
        receipt_handle="handle-1",
        md5_of_body="",
        body=encode_envelope(
            envelope_id, type, "2026-11-22T08:00:00.000Z", "test", payload, key=key
        ),
        attributes={
            "ApproximateReceiveCount": str(receive_count),
            "SequenceNumber": "18850000000000000042",
            "MessageGroupId": "gala#stalls",
        },
    )
    queue = source(url="http://localhost:9324/000000000000/queue.fifo")
    (lease,) = queue.take_in([message], 0)
    routed = router.route(lease)
    await routed.route.call(routed.received)
