"""Clients that leave out what a consumer must do, to show what it is for."""

from __future__ import annotations

from forebay.client.base import SqsClient
from forebay.client.late import LateClient
from forebay.client.retry import RetryPolicy
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    BatchResult,
    BatchResultEntry,
    ChangeMessageVisibilityBatchRequest,
    DeleteMessageBatchRequest,
    ReceiveMessageRequest,
)


class WithoutDelete(LateClient):
    """Deletes nothing, and says that it did."""

    def __init__(self, client: SqsClient) -> None:
        super().__init__(lambda: client)

    async def call(
        self,
        request: AnyRequest,
        *,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AnyResult:
        if isinstance(request, DeleteMessageBatchRequest):
            return _done(request)
        return await super().call(request, timeout_s=timeout_s, retry=retry)


class WithoutHeartbeat(LateClient):
    """Extends no message, and says that it did.

    Whoever works on for longer than the visibility timeout goes on in good faith, as a consumer
    does that knows of no timeout. Messages are made visible as asked.
    """

    def __init__(self, client: SqsClient) -> None:
        super().__init__(lambda: client)
        self._visibility_timeout_s = 0

    async def call(
        self,
        request: AnyRequest,
        *,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AnyResult:
        if isinstance(request, ReceiveMessageRequest):
            self._visibility_timeout_s = request.visibility_timeout or 0
        if isinstance(request, ChangeMessageVisibilityBatchRequest) and all(
            # The worker extends by a visibility timeout at least, and gives back for less.
            (entry.visibility_timeout or 0) >= self._visibility_timeout_s
            for entry in request.entries
        ):
            return _done(request)
        return await super().call(request, timeout_s=timeout_s, retry=retry)


def _done(
    request: DeleteMessageBatchRequest | ChangeMessageVisibilityBatchRequest,
) -> BatchResult:
    return BatchResult(successful=[BatchResultEntry(id=entry.id) for entry in request.entries])
