"""A producer: sends the messages that a scenario has written down for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from forebay.client.retry import NO_RETRY
from forebay.errors import ForebayError
from forebay.lab.program import Program
from forebay.protocol.actions import SendMessageBatchRequest, SendMessageBatchRequestEntry
from forebay.protocol.identifiers import FIFO_SUFFIX
from forebay.protocol.limits import BATCH_ENTRIES_MAX


class Outgoing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message to send: JSON as its body."""

    body: dict[str, Any]
    group_id: str | None = None
    #: On a FIFO queue None is one of the run and of the body's id: the same seed gives the same
    #: bodies, and SQS would take those of a run a few minutes later for duplicates.
    deduplication_id: str | None = None
    delay_s: int | None = None


class NotAllSent(ForebayError):
    """SQS refused some messages; see the events of the process."""


async def send(
    lab: Program,
    *,
    file: Path,
    queue_url: str,
    rate: float,
    batch: int = BATCH_ENTRIES_MAX,
    endless: bool = False,
    retries: bool = True,
) -> None:
    """Send the messages of a file of JSON, at `rate` a second; 0 is as fast as possible.

    With `endless` it begins again at the end, with new ids, until it is told to stop. Without
    `retries` what a call fails for is not sent. Raises NotAllSent at the end.
    """
    messages = _read(file)
    begun_ms = lab.clock.monotonic_ms()
    sent = refused = 0
    size = max(1, min(batch, BATCH_ENTRIES_MAX))
    number = 0
    while not lab.told_to_stop.is_set():
        part = messages[number : number + size]
        number += len(part)
        if not part:
            break
        request = SendMessageBatchRequest(
            queue_url=queue_url,
            entries=[
                entry_of(each, str(index), queue_url=queue_url, run_ms=lab.plan.origin_ms)
                for index, each in enumerate(part)
            ],
        )
        sent += len(part)
        try:
            result = await lab.client.send_message_batch(
                request, retry=None if retries else NO_RETRY
            )
        except ForebayError:
            refused += len(part)
        else:
            refused += len(result.failed or ())
        if endless and number >= len(messages):
            number = 0
            messages = [_again(lab, each) for each in messages]
        if rate:
            due_ms = begun_ms + sent / rate * 1000
            await lab.clock.sleep(max(0.0, (due_ms - lab.clock.monotonic_ms()) / 1000))
    if refused:
        raise NotAllSent(f"{refused:,} of {sent:,} messages were not sent.")


def _read(file: Path) -> list[Outgoing]:
    return msgspec.json.decode(file.read_bytes(), type=list[Outgoing])


def entry_of(
    message: Outgoing, entry: str, *, queue_url: str, run_ms: int
) -> SendMessageBatchRequestEntry:
    """An entry of a batch. `run_ms` tells runs apart: when this one began."""
    deduplication_id = message.deduplication_id
    if deduplication_id is None and queue_url.endswith(FIFO_SUFFIX):
        deduplication_id = f"{run_ms}-{message.body['id']}"
    return SendMessageBatchRequestEntry(
        id=entry,
        message_body=msgspec.json.encode(message.body).decode(),
        message_group_id=message.group_id,
        message_deduplication_id=deduplication_id,
        delay_seconds=message.delay_s,
    )


def _again(lab: Program, message: Outgoing) -> Outgoing:
    body = {**message.body, "id": f"{lab.random.getrandbits(64):016x}"}
    return msgspec.structs.replace(message, body=body)
