"""The worker of `forebay usage writer`, on a broker in this process."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from forebay import EmbeddedBroker
from forebay.apps.usage.domain import USAGE_LOG_TYPE
from forebay.apps.usage.producer import usage_producer
from forebay.apps.usage.queues import declare_usage_queues
from forebay.apps.usage.settings import DATABASE_VARIABLE, QUEUE_VARIABLE, WITHIN_VARIABLE
from forebay.apps.usage.writer_worker import writer
from forebay.client.http import HttpSqsClient
from forebay.protocol.actions import AnyRequest, AnyResult
from tests.usage.events import LOG

PACKS = 20


async def test_few_receives_are_billed_beside_each_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    call = HttpSqsClient.call

    async def counted(self: HttpSqsClient, request: AnyRequest, **how: Any) -> AnyResult:
        calls[type(request).__name__] += 1
        return await call(self, request, **how)

    monkeypatch.setattr(HttpSqsClient, "call", counted)
    with EmbeddedBroker() as broker:
        async with HttpSqsClient(broker.endpoint_url) as client:
            queue = (await declare_usage_queues(client)).usage_logs
            monkeypatch.setenv(DATABASE_VARIABLE, f"sqlite:///{tmp_path}/usage.sqlite3")
            monkeypatch.setenv(QUEUE_VARIABLE, queue)
            monkeypatch.setenv(WITHIN_VARIABLE, "100")
            async with writer() as worker, usage_producer(client) as producer:
                work = asyncio.create_task(worker.run())
                for _ in range(PACKS):
                    producer.send(USAGE_LOG_TYPE, LOG)
                    await producer.flush()
                async with asyncio.timeout(20):
                    while worker.ledger.acked < PACKS:  # noqa: ASYNC110 - it is no task of ours
                        await asyncio.sleep(0.01)
                worker.stop()
                await work
    assert calls["ReceiveMessageRequest"] <= 2 * PACKS + 2
