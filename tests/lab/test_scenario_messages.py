"""The messages of scenarios, as they are sent."""

from __future__ import annotations

import pytest

from forebay.lab.programs.send import Outgoing, entry_of

STANDARD, FIFO = "http://sqs/1/orders", "http://sqs/1/orders.fifo"

MESSAGE = Outgoing(body={"id": "a"}, group_id="tenant-1")


@pytest.mark.parametrize(
    ("message", "queue_url", "run_ms", "expected"),
    [
        (MESSAGE, FIFO, 1_000, "1000-a"),
        # The same seed a minute later: SQS must not take it for a duplicate.
        (MESSAGE, FIFO, 61_000, "61000-a"),
        (Outgoing(body={"id": "a"}, group_id="g", deduplication_id="own"), FIFO, 1_000, "own"),
        # A standard queue takes none, and a group may be that of a fair queue.
        (MESSAGE, STANDARD, 1_000, None),
    ],
)
def test_a_message_of_a_fifo_queue_is_a_duplicate_within_its_run_alone(
    message: Outgoing, queue_url: str, run_ms: int, expected: str | None
) -> None:
    entry = entry_of(message, "0", queue_url=queue_url, run_ms=run_ms)
    assert entry.message_deduplication_id == expected
    assert entry.message_group_id == message.group_id
