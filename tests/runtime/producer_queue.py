"""A queue for producer tests: it answers batches as it is told and remembers them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import msgspec

from forebay.client.fake import ScriptedSqsClient
from forebay.client.retry import RetryPolicy
from forebay.messages.envelope import decode_envelope
from forebay.messages.packing import PACK_ATTRIBUTE, open_pack
from forebay.producer.ledger import Lost, ProducerLedger
from forebay.producer.producer import Producer
from forebay.producer.settings import ProducerSettings
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    BatchResultErrorEntry,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageBatchResult,
    SendMessageBatchResultEntry,
)
from tests.runtime.virtual_time import LoopClock

STANDARD = "http://sqs.test/000000000000/usage-logs"
FIFO = "http://sqs.test/000000000000/orders.fifo"

Answer = Callable[[SendMessageBatchRequest], Awaitable[SendMessageBatchResult]]


def acknowledge(
    request: SendMessageBatchRequest, failed: dict[int, bool] | None = None
) -> SendMessageBatchResult:
    """All of a batch, but for the places in `failed`, each with whose fault it is."""
    failed = failed or {}
    return SendMessageBatchResult(
        successful=[
            SendMessageBatchResultEntry(
                id=entry.id, message_id=f"m-{entry.message_body}", md5_of_message_body="d"
            )
            for place, entry in enumerate(request.entries)
            if place not in failed
        ],
        failed=[
            BatchResultErrorEntry(id=str(place), sender_fault=sender_fault, code="Broken")
            for place, sender_fault in failed.items()
        ],
    )


async def works(request: SendMessageBatchRequest) -> SendMessageBatchResult:
    return acknowledge(request)


async def says_nothing(request: SendMessageBatchRequest) -> SendMessageBatchResult:
    await asyncio.Event().wait()
    raise AssertionError


def first(*answers: Answer, then: Answer = works) -> Answer:
    """The first calls get `answers`, one each, and the others `then`."""
    script = list(answers)

    async def answer(request: SendMessageBatchRequest) -> SendMessageBatchResult:
        return await (script.pop(0) if script else then)(request)

    return answer


def raises(error: Exception) -> Answer:
    async def answer(request: SendMessageBatchRequest) -> SendMessageBatchResult:
        raise error

    return answer


def after(delay_s: float, answer: Answer = works) -> Answer:
    async def slow(request: SendMessageBatchRequest) -> SendMessageBatchResult:
        await asyncio.sleep(delay_s)
        return await answer(request)

    return slow


class Inline(Executor):
    """Does every job at once, so that virtual time does not run away from the disk."""

    def submit(self, job: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(job(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


class Sqs(ScriptedSqsClient):
    """A queue that answers as it is told and remembers its batches."""

    def __init__(self, answer: Answer = works) -> None:
        self.script(answer)

        async def batch(request: AnyRequest) -> AnyResult:
            assert isinstance(request, SendMessageBatchRequest)
            return await self._script(request)

        super().__init__(batch)

    def script(self, answer: Answer) -> None:
        """Answer the calls from now on like this."""
        self._script = answer

    @property
    def batches(self) -> list[list[SendMessageBatchRequestEntry]]:
        return [
            request.entries
            for request in self.requests
            if isinstance(request, SendMessageBatchRequest)
        ]

    def events(self) -> list[object]:
        """The payloads of all batches, whether alone or in packs."""
        return [payload for batch in self.batches for entry in batch for payload in opened(entry)]

    def payloads(self) -> list[list[str]]:
        """What the batches carried, in order."""
        return [
            [bytes(decode_envelope(entry.message_body).payload).decode() for entry in batch]
            for batch in self.batches
        ]


def opened(entry: SendMessageBatchRequestEntry) -> list[object]:
    """The payloads in one message."""
    attribute = (entry.message_attributes or {}).get(PACK_ATTRIBUTE)
    if attribute is None:
        return [msgspec.json.decode(decode_envelope(entry.message_body).payload)]
    assert attribute.binary_value is not None
    lines = open_pack(entry.message_body, attribute.binary_value).lines.splitlines()
    return [msgspec.json.decode(line)[1] for line in lines]


def producer(
    sqs: Sqs,
    queue_url: str = STANDARD,
    settings: ProducerSettings | None = None,
    packed: Collection[str] = (),
    spill: Path | None = None,
    on_lost: Callable[[Lost], object] | None = None,
    retry: RetryPolicy | None = None,
) -> Producer:
    return Producer(
        sqs,
        queue_url,
        node="node-1",
        settings=settings,
        packed=packed,
        spill=spill,
        on_lost=on_lost,
        retry=retry or RetryPolicy(base_delay_ms=100, max_delay_ms=1_000, deadline_ms=5_000),
        executor=Inline(),
        clock=LoopClock(),
        entropy=lambda size: b"\x80" + bytes(size - 1),
    )


def account(ledger: ProducerLedger) -> tuple[int, int, int, int, int]:
    """Offered, sent, dropped, failed, buffered."""
    dropped = sum(ledger.dropped.values())
    assert ledger.offered == (
        ledger.delivered
        + dropped
        + ledger.failed
        + ledger.corrupt
        + ledger.buffered
        + ledger.spilled
    )
    return (ledger.offered, ledger.delivered, dropped, ledger.failed, ledger.buffered)
