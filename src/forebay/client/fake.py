"""A client for tests, whose answers are a function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from forebay.client.base import SqsClient
from forebay.client.retry import RetryPolicy
from forebay.protocol.actions import AnyRequest, AnyResult


class ScriptedSqsClient(SqsClient):
    """Answers every request with `answer`, which may await and may raise, and remembers them."""

    def __init__(self, answer: Callable[[AnyRequest], Awaitable[AnyResult]]) -> None:
        self._answer = answer
        #: Every request so far, in order.
        self.requests: list[AnyRequest] = []
        #: The retry policy of each.
        self.retries: list[RetryPolicy | None] = []

    async def call(
        self,
        request: AnyRequest,
        *,
        timeout_s: float | None = None,  # noqa: ARG002 - the script decides how long it takes
        retry: RetryPolicy | None = None,
    ) -> AnyResult:
        self.requests.append(request)
        self.retries.append(retry)
        return await self._answer(request)
