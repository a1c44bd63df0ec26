"""The producer that is measured, made from what a process can be told."""

from __future__ import annotations

from msgspec import Struct

from forebay import BackgroundProducer
from forebay.apps.usage.domain import PACKED_TYPES
from forebay.client.base import SqsClient
from forebay.producer import Producer, ProducerSettings
from forebay.producer.producer import ProducerOptions


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

    def options(self) -> ProducerOptions:
        """What every face of the producer takes."""
        return {
            "node": self.node,
            "settings": self.settings,
            "packed": PACKED_TYPES if self.packed else (),
            "spill": self.spill,
        }

    def producer(self, client: SqsClient) -> Producer:
        """A producer of the running loop, not started."""
        return Producer(client, self.queue_url, **self.options())

    def beside(self, drain_s: float) -> BackgroundProducer:
        """A producer whose loop runs in a thread beside the caller's."""
        producer = BackgroundProducer(
            self.queue_url,
            endpoint_url=self.endpoint_url,
            close_timeout_s=drain_s,
            **self.options(),
        )
        # So that its thread is at work before anything is measured.
        producer.flush()
        return producer
