"""Sending payloads in batches, at a rate, through a producer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from msgspec import Struct, field

from forebay.client.base import SqsClient
from forebay.client.retry import RetryPolicy
from forebay.clock import Clock
from forebay.errors import ForebayError, in_words
from forebay.lab.sender.payloads import body_of
from forebay.producer import Producer, ProducerSettings
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.identifiers import FIFO_SUFFIX
from forebay.worker.waiting import wait_at_most

#: Batches that may be under way at once.
_BATCHES_AT_ONCE = 16


class Sent(Struct):
    """What has become of the messages so far."""

    sent: int = 0
    not_sent: int = 0
    #: Why, in words, and for how many.
    reasons: Counter[str] = field(default_factory=Counter)


async def send_payloads(
    client: SqsClient,
    queue: str,
    messages: Iterable[dict[str, Any]],
    *,
    clock: Clock,
    rate: float = 0.0,
    batch_size: int = 10,
    group: str | None = None,
    retry: RetryPolicy | None = None,
    stop: asyncio.Event | None = None,
    progress: Callable[[Sent], None] = lambda _: None,
) -> Sent:
    """Send payloads as plain JSON, and say what became of them.

    `rate` is the most messages in a second of the clock; 0 sends as fast as SQS takes them. What
    fails for a while is tried again as `retry` says. Once `stop` is set nothing more is begun; what
    is under way is awaited. All are in one `group`, if it is given; a FIFO queue needs one, and
    gets each with its id for the deduplication. `progress` is told after each batch.

    Raises SqsError when there is no such queue.
    """
    stop = stop or asyncio.Event()
    sent = Sent()
    begun_ms = clock.monotonic_ms()
    offered = 0
    settings = ProducerSettings(batch_size=batch_size, concurrency=_BATCHES_AT_ONCE)
    async with Producer(
        client, queue, settings=settings, retry=retry, packed=(), clock=clock
    ) as producer:
        sending = _Sending(producer, group, queue.endswith(FIFO_SUFFIX), sent, progress)
        async with asyncio.TaskGroup() as under_way:
            for batch in _batches(messages, batch_size):
                if rate:
                    due_ms = begun_ms + offered / rate * 1000
                    await wait_at_most(clock, max(0.0, due_ms - clock.monotonic_ms()) / 1000, stop)
                await sending.room.acquire()
                if stop.is_set() or sending.unknown_queue is not None:
                    break
                under_way.create_task(sending.send(batch))
                offered += len(batch)
                # Its messages are handed over before those of the next batch, and leave together.
                await asyncio.sleep(0)
    if sending.unknown_queue is not None:
        raise sending.unknown_queue
    return sent


class _Sending:
    """The batches under way."""

    def __init__(
        self,
        producer: Producer,
        group: str | None,
        fifo: bool,
        sent: Sent,
        progress: Callable[[Sent], None],
    ) -> None:
        self.room = asyncio.Semaphore(_BATCHES_AT_ONCE)
        #: What SQS said if it knows no such queue.
        self.unknown_queue: SqsError | None = None
        self._producer = producer
        self._group = group
        self._fifo = fifo
        self._sent = sent
        self._progress = progress

    async def send(self, batch: list[dict[str, Any]]) -> None:
        """Send a batch, and let the next one have its room."""
        try:
            for refused in await asyncio.gather(*map(self._publish, batch)):
                if refused is None:
                    self._sent.sent += 1
                    continue
                self._sent.not_sent += 1
                self._sent.reasons[in_words(refused)] += 1
                if isinstance(refused, SqsError) and refused.fault == QUEUE_DOES_NOT_EXIST:
                    self.unknown_queue = refused
        finally:
            self.room.release()
        self._progress(self._sent)

    async def _publish(self, payload: dict[str, Any]) -> ForebayError | None:
        try:
            await self._producer.publish_body(
                body_of(payload),
                group_id=self._group,
                deduplication_id=payload["id"] if self._fifo else None,
            )
        except ForebayError as error:
            return error
        return None


def _batches(messages: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(messages)
    while batch := list(islice(iterator, size)):
        yield batch
