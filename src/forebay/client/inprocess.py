"""SQS inside this process: a broker without a socket in between."""

from __future__ import annotations

import asyncio

from forebay.broker.broker import Broker
from forebay.broker.core.engine import Caller
from forebay.client.base import SqsClient, attempt_timeout_s
from forebay.client.retry import RetryPolicy
from forebay.errors import ServiceUnreachable
from forebay.protocol.actions import AnyRequest, AnyResult


class InProcessSqsClient(SqsClient):
    """Asks a broker of the running loop. The broker stays the caller's to close.

    It makes one attempt: there is no network to lose anything. `caller` says on whose behalf.
    """

    def __init__(self, broker: Broker, *, caller: Caller | None = None) -> None:
        self._broker = broker
        self._caller = caller

    @property
    def place(self) -> str:
        return "the broker in this process"

    async def call(
        self,
        request: AnyRequest,
        *,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,  # noqa: ARG002 - there is only ever one attempt
    ) -> AnyResult:
        if timeout_s is None:
            return await self._broker.call(request, self._caller)
        try:
            async with asyncio.timeout(attempt_timeout_s(request, timeout_s)):
                return await self._broker.call(request, self._caller)
        except TimeoutError as error:
            raise ServiceUnreachable(
                f"The broker in this process did not answer in {timeout_s:g} s. Check its disk."
            ) from error
