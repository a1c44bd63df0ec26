"""What a client does to a queue is written down, before and after."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.client.fake import ScriptedSqsClient
from forebay.clock import ManualClock
from forebay.errors import ServiceUnreachable
from forebay.lab.events import EventLog, EventReader, Kind
from forebay.lab.recording_client import RecordingClient, id_in
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    ReceiveMessageRequest,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
)
from forebay.testing.memory import MemorySqsClient

URL = "http://sqs.test/000000000000/orders"


def entries(*bodies: str) -> list[SendMessageBatchRequestEntry]:
    return [
        SendMessageBatchRequestEntry(id=str(index), message_body=body)
        for index, body in enumerate(bodies)
    ]


async def test_a_life_is_written_down_step_by_step(tmp_path: Path) -> None:
    clock = ManualClock()
    client = RecordingClient(
        MemorySqsClient(clock, max_receive_count=3), EventLog(tmp_path, "p", clock)
    )
    await client.send_message_batch(
        SendMessageBatchRequest(queue_url=URL, entries=entries('{"id": "a"}', "no JSON"))
    )
    received = (
        await client.receive_message(
            ReceiveMessageRequest(queue_url=URL, max_number_of_messages=10)
        )
    ).messages
    assert received is not None
    await client.delete_message_batch(
        DeleteMessageBatchRequest(
            queue_url=URL,
            entries=[
                DeleteMessageBatchRequestEntry(id=str(index), receipt_handle=each.receipt_handle)
                for index, each in enumerate(received)
            ],
        )
    )
    told = EventReader(tmp_path).read()
    kinds = [Kind.SENDING, Kind.SENT, Kind.RECEIVED, Kind.DELETING, Kind.DELETED]
    assert [event.kind for event in told] == [kind for kind in kinds for _ in range(2)]
    assert {event.queue for event in told} == {"orders"}
    # Whoever asked for no count is told it all the same.
    assert [each.receives for each in told if each.kind is Kind.RECEIVED] == [1, 1]
    assert sorted(each.id for each in told if each.kind is Kind.DELETED) == ["", "a"]
    assert len({each.message for each in told if each.kind is Kind.DELETED}) == 2


async def test_what_could_not_be_sent_is_said(tmp_path: Path) -> None:
    async def nobody_there(_: AnyRequest) -> AnyResult:
        raise ServiceUnreachable

    client = RecordingClient(
        ScriptedSqsClient(nobody_there), EventLog(tmp_path, "p", ManualClock())
    )
    with pytest.raises(ServiceUnreachable):
        await client.send_message_batch(
            SendMessageBatchRequest(queue_url=URL, entries=entries('{"id": "a"}'))
        )
    told = EventReader(tmp_path).read()
    assert [(each.kind, each.id) for each in told] == [(Kind.SENDING, "a"), (Kind.NOT_SENT, "a")]
    assert "ServiceUnreachable" in told[1].text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"id": "a", "work": 3}', "a"),
        ('{"id": 7}', ""),
        ("[1, 2]", ""),
        ("text", ""),
        ("", ""),
        ("{", ""),
    ],
)
def test_the_id_is_that_of_the_payload(body: str, expected: str) -> None:
    assert id_in(body) == expected
