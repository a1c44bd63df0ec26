"""Reads what the broker shows beside SQS. AWS, and what only speaks SQS, shows nothing there."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import quote, urlencode

from msgspec import Struct

from forebay.client.credentials import CredentialChain
from forebay.client.endpoint import region_of_url, resolve_endpoint
from forebay.client.pool import Pool
from forebay.clock import Clock, SystemClock
from forebay.protocol.sigv4 import sign

#: How long to wait for a page, in seconds.
_TIMEOUT_S = 2.0


class OwnPage(Struct, frozen=True):
    """What an endpoint answered."""

    status: int
    body: bytes


class OwnPages:
    """The pages of an endpoint, read with the same credentials as SQS."""

    def __init__(
        self, endpoint_url: str | None, region: str | None, *, clock: Clock | None = None
    ) -> None:
        #: Whether there can be any.
        self.possible = endpoint_url is not None and region_of_url(endpoint_url) is None
        self._endpoint_url = endpoint_url
        self._region = region
        self._clock = clock or SystemClock()

    async def read(self, path: str, **parameters: str) -> OwnPage | None:
        """What is answered to a GET of the path; None when nothing is."""
        endpoint = resolve_endpoint(self._endpoint_url, self._region, os.environ)
        query = urlencode(parameters, quote_via=quote, safe="")
        headers = {"Host": endpoint.host}
        headers |= sign(
            await CredentialChain(local=endpoint.local).current(),
            method="GET",
            path=path,
            query=query,
            headers=headers.items(),
            body=b"",
            region=endpoint.region,
            wall_ms=self._clock.wall_ms(),
        )
        target = f"{endpoint.path.rstrip('/')}{path}{'?' if query else ''}{query}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode()
        deadline_s = asyncio.get_running_loop().time() + _TIMEOUT_S
        pool = Pool(1)
        try:
            answer = await pool.exchange(
                endpoint.address, request, deadline_s=deadline_s, repeatable=True
            )
        except OSError:
            return None
        finally:
            await pool.close()
        return OwnPage(answer.status, answer.body)
