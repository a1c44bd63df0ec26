"""`forebay produce` as a process that Ctrl-C stops."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from forebay.broker.running import running_broker
from forebay.client.base import SqsClient
from forebay.client.http import HttpSqsClient
from forebay.protocol.actions import GetQueueAttributesRequest
from forebay.stop_signals import INTERRUPTED

COUNT = "ApproximateNumberOfMessages"


async def count(client: SqsClient, url: str) -> int:
    request = GetQueueAttributesRequest(queue_url=url, attribute_names=[COUNT])
    return int(((await client.get_queue_attributes(request)).attributes or {})[COUNT])


@pytest.mark.parametrize(("n", "code"), [(0, 0), (100_000, INTERRUPTED)])
async def test_ctrl_c_says_what_was_sent_and_is_the_end_of_what_has_none(n: int, code: int) -> None:
    async with running_broker(None) as broker, HttpSqsClient(broker.endpoint_url) as client:
        url = (await client.create_queue("orders")).queue_url
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "forebay", "produce", "--n", f"{n}"),
            *("--rate", "200", "--batch-size", "5", "--queue-url", url),
            env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(3_000):
            if await count(client, url):
                break
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, errors = await process.communicate()
        sent = await count(client, url)
    assert sent > 0
    assert out.decode() == f"Sent to orders: {sent:,} messages.\n"
    assert process.returncode == code, errors.decode()
    if n:
        assert f"Stopped before the other {n - sent:,} were sent." in " ".join(
            errors.decode().split()
        )
