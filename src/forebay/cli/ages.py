"""How old the oldest message of each queue is: SQS does not tell, the broker's own page does."""

from __future__ import annotations

import os

import aiohttp
import msgspec
from msgspec import Struct

from forebay.client.credentials import CredentialChain
from forebay.client.endpoint import region_of_url, resolve_endpoint
from forebay.clock import Clock, SystemClock
from forebay.protocol.sigv4 import sign

#: Where the broker lists its queues.
_PATH = "/_forebay/queues"

#: How long to wait for the page, in seconds. The table does not need it.
_TIMEOUT_S = 2.0


class _Queue(Struct):
    arn: str
    oldest_message_age_s: float


class _Page(Struct):
    queues: list[_Queue]


class Ages:
    """Asks an endpoint for the ages, until it turns out not to know them."""

    def __init__(
        self, endpoint_url: str | None, region: str | None, *, clock: Clock | None = None
    ) -> None:
        self._knows = endpoint_url is not None and region_of_url(endpoint_url) is None
        self._endpoint_url = endpoint_url
        self._region = region
        self._clock = clock or SystemClock()

    async def ask(self) -> dict[str, float]:
        """Seconds since each queue's oldest message was sent, by ARN; empty when nobody knows."""
        if not self._knows:
            return {}
        endpoint = resolve_endpoint(self._endpoint_url, self._region, os.environ)
        headers = {"Host": endpoint.host}
        headers |= sign(
            await CredentialChain(local=endpoint.local).current(),
            method="GET",
            path=_PATH,
            query="",
            headers=headers.items(),
            body=b"",
            region=endpoint.region,
            wall_ms=self._clock.wall_ms(),
        )
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{endpoint.url.rstrip('/')}{_PATH}", headers=headers) as answer,
            ):
                page = msgspec.json.decode(await answer.read(), type=_Page)
        except (aiohttp.ClientError, OSError):
            return {}
        except msgspec.DecodeError:
            # Another SQS, or one that does not let us see the page.
            self._knows = False
            return {}
        return {queue.arn: queue.oldest_message_age_s for queue in page.queues}


def readable_age(age_s: float) -> str:
    """An age for people, in the largest unit of which there is one."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age_s >= length_s:
            return f"{age_s / length_s:.1f} {unit}"
    return f"{age_s:.0f} s"
