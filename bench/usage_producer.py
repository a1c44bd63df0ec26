"""The producer that is measured, made from what a process can be told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import uvloop
from msgspec import Struct

from forebay.apps.usage.domain import PACKED_TYPES
from forebay.client.http import HttpSqsClient
from forebay.producer import Producer, ProducerSettings


class Made(Struct):
    """What the producer is made from."""

    endpoint_url: str
    queue_url: str
    settings: ProducerSettings
    #: False for a message each.
    packed: bool = True
    #: The directory to spill to.
    spill: str | None = None
    node: str = "bench"

    def producer(self, client: HttpSqsClient) -> Producer:
        """The producer, not started."""
        return Producer(
            client,
            self.queue_url,
            node=self.node,
            settings=self.settings,
            packed=PACKED_TYPES if self.packed else (),
            spill=self.spill,
        )


@contextmanager
def producer_beside(made: Made, drain_s: float) -> Iterator[tuple[Producer, Callable[[], None]]]:
    """A producer whose loop runs in a thread beside the caller's, and what closes it."""
    started, ended = Event(), asyncio.Event()
    running: list[tuple[Producer, asyncio.AbstractEventLoop]] = []

    async def run() -> None:
        async with HttpSqsClient(made.endpoint_url) as client:
            producer = made.producer(client)
            await producer.start()
            running.append((producer, asyncio.get_running_loop()))
            started.set()
            await ended.wait()
            await producer.close(drain_s)

    thread = Thread(target=lambda: uvloop.run(run()))
    thread.start()
    started.wait()
    [(producer, loop)] = running

    def close() -> None:
        if thread.is_alive():
            loop.call_soon_threadsafe(ended.set)
            thread.join()

    try:
        yield producer, close
    finally:
        close()
