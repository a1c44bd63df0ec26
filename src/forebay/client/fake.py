"""A client for tests, whose answers are a function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from forebay.client.base import SqsClient
from forebay.protocol.actions import AnyRequest, AnyResult


class ScriptedSqsClient(SqsClient):
    """Answers every request with `answer`, which may await and may raise, and remembers them."""

    def __init__(self, answer: Callable[[AnyRequest], Awaitable[AnyResult]]) -> None:
        self._answer = answer
        #: Every request so far, in order.
        self.requests: list[AnyRequest] = []

    async def call(self, request: AnyRequest, *, timeout_s: float | None = None) -> AnyResult:  # noqa: ARG002 - the script decides how long it takes
        self.requests.append(request)
        return await self._answer(request)
