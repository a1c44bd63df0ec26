"""A client that stands for another one, which is found when it is needed."""

from __future__ import annotations

from collections.abc import Callable

from forebay.client.base import SqsClient
from forebay.client.retry import RetryPolicy
from forebay.protocol.actions import AnyRequest, AnyResult


class LateClient(SqsClient):
    """Hands each call on to the client that `current` gives at that moment.

    So what needs a client can be made before there is one. Closing it closes nothing: the other
    one is its owner's to close.
    """

    def __init__(self, current: Callable[[], SqsClient]) -> None:
        self._current = current

    @property
    def place(self) -> str:
        return self._current().place

    async def call(
        self,
        request: AnyRequest,
        *,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AnyResult:
        return await self._current().call(request, timeout_s=timeout_s, retry=retry)
