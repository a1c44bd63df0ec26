"""The producer of usage events: which queue, and what is packed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Unpack

from forebay.apps.usage.domain import PACKED_TYPES
from forebay.apps.usage.settings import usage_queue
from forebay.client.base import SqsClient
from forebay.producer.producer import Producer, ProducerOptions


def usage_producer(
    client: SqsClient,
    *,
    environment: Mapping[str, str] = os.environ,
    **options: Unpack[ProducerOptions],
) -> Producer:
    """A producer into the queue that SQS_USAGE_LOG_QUEUE_URL names, or into the usage queue.

        async with usage_producer(client) as producer:
            producer.send(USAGE_LOG_TYPE, UsageLog("ak_live_abc123", "BTC", "binance", 42, "L1"))

    Usage logs and analytics events are packed; `packed=()` sends each as a message of its own.
    """
    options.setdefault("packed", PACKED_TYPES)
    return Producer(client, usage_queue(environment), **options)
