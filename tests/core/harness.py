"""An engine with a clock of its own, and requests as short calls."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping

from forebay.broker.core.changes import Page, PageRequest, Snapshot
from forebay.broker.core.engine import Caller, Engine, Wait
from forebay.broker.core.window import Window
from forebay.broker.journal.memory import MemoryJournal
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    BatchResult,
    ChangeMessageVisibilityRequest,
    CreateQueueRequest,
    CreateQueueResult,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    DeleteMessageRequest,
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    Message,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageRequest,
    SendMessageResult,
    SetQueueAttributesRequest,
)

ENDPOINT_URL = "http://localhost:9324"
ACCOUNT_ID = "000000000000"
CALLER = Caller(ACCOUNT_ID, "us-east-1", ENDPOINT_URL)


def url_of(name: str) -> str:
    return f"{ENDPOINT_URL}/{ACCOUNT_ID}/{name}"


def arn_of(name: str) -> str:
    return f"arn:aws:sqs:us-east-1:{ACCOUNT_ID}:{name}"


class Sqs:
    """An engine under test. Time stands still unless `wait` is called."""

    def __init__(self, engine: Engine | None = None, *, recreate_interval_ms: int = 0) -> None:
        self.engine = engine or Engine(
            entropy=random.Random(7).randbytes, recreate_interval_ms=recreate_interval_ms
        )
        self.now_ms = 1_000_000

    def call(self, request: AnyRequest) -> AnyResult | Wait:
        return self.engine.apply(request, CALLER, self.now_ms)

    def wait(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)

    def create(self, name: str, attributes: Mapping[str, object] | None = None) -> str:
        texts = {key: str(value) for key, value in (attributes or {}).items()}
        if name.endswith(".fifo"):
            texts = {"FifoQueue": "true", "ContentBasedDeduplication": "true", **texts}
        result = self.call(CreateQueueRequest(queue_name=name, attributes=texts))
        assert isinstance(result, CreateQueueResult)
        return result.queue_url

    def send(
        self,
        queue: str,
        body: str,
        *,
        group: str | None = None,
        deduplication_id: str | None = None,
        delay_s: int | None = None,
    ) -> SendMessageResult:
        result = self.call(
            SendMessageRequest(
                queue_url=url_of(queue),
                message_body=body,
                message_group_id=group,
                message_deduplication_id=deduplication_id,
                delay_seconds=delay_s,
            )
        )
        assert isinstance(result, SendMessageResult)
        return result

    def receive(
        self,
        queue: str,
        limit: int = 10,
        *,
        timeout_s: int | None = None,
        attempt_id: str | None = None,
    ) -> list[Message]:
        result = self.call(
            ReceiveMessageRequest(
                queue_url=url_of(queue),
                max_number_of_messages=limit,
                visibility_timeout=timeout_s,
                attribute_names=["All"],
                message_attribute_names=["All"],
                receive_request_attempt_id=attempt_id,
            )
        )
        assert isinstance(result, ReceiveMessageResult)
        return result.messages or []

    def bodies(self, queue: str, limit: int = 10, *, timeout_s: int | None = None) -> list[str]:
        return [message.body for message in self.receive(queue, limit, timeout_s=timeout_s)]

    def delete(self, queue: str, message: Message) -> None:
        self.call(
            DeleteMessageRequest(queue_url=url_of(queue), receipt_handle=message.receipt_handle)
        )

    def delete_batch(self, queue: str, handles: Mapping[str, str]) -> BatchResult:
        entries = [
            DeleteMessageBatchRequestEntry(id=name, receipt_handle=handle)
            for name, handle in handles.items()
        ]
        result = self.call(DeleteMessageBatchRequest(queue_url=url_of(queue), entries=entries))
        assert isinstance(result, BatchResult)
        return result

    def change_visibility(self, queue: str, message: Message, timeout_s: int) -> None:
        self.call(
            ChangeMessageVisibilityRequest(
                queue_url=url_of(queue),
                receipt_handle=message.receipt_handle,
                visibility_timeout=timeout_s,
            )
        )

    def attributes(self, queue: str, *names: str) -> dict[str, str]:
        result = self.call(
            GetQueueAttributesRequest(
                queue_url=url_of(queue), attribute_names=list(names or ("All",))
            )
        )
        assert isinstance(result, GetQueueAttributesResult)
        return result.attributes or {}

    def set_attributes(self, queue: str, **attributes: object) -> None:
        texts = {name: str(value) for name, value in attributes.items()}
        self.call(SetQueueAttributesRequest(queue_url=url_of(queue), attributes=texts))

    def counts(self, queue: str) -> tuple[int, int, int]:
        """Visible, in flight, delayed."""
        attributes = self.attributes(queue)
        return (
            int(attributes["ApproximateNumberOfMessages"]),
            int(attributes["ApproximateNumberOfMessagesNotVisible"]),
            int(attributes["ApproximateNumberOfMessagesDelayed"]),
        )


class JournaledSqs(Sqs):
    """An engine with a journal behind it. Pages are read and brought when a receive needs them.

    A page can be taken, read and brought step by step as well, with other requests in between.
    """

    def __init__(self, window: Window | None = None) -> None:
        self.journal = MemoryJournal()
        self._window = window or Window()
        self._entropy = random.Random(1).randbytes
        super().__init__(self._new_engine(None))
        #: The pages that were taken from the engine and not read, and those not brought back.
        self.to_read: deque[PageRequest] = deque()
        self.to_bring: deque[tuple[PageRequest, Page]] = deque()

    def _new_engine(self, snapshot: Snapshot | None) -> Engine:
        return Engine(
            entropy=self._entropy,
            recreate_interval_ms=0,
            window=self._window,
            snapshot=snapshot,
        )

    def call(self, request: AnyRequest) -> AnyResult | Wait:
        result = super().call(request)
        while isinstance(result, Wait) and self.bring_all():
            result = super().call(request)
        return result

    def restart(self) -> None:
        """Lose the engine and build it anew from what was committed."""
        self.commit()
        self.to_read.clear()
        self.to_bring.clear()
        self.engine = self._new_engine(self.journal.load())

    def commit(self) -> None:
        self.journal.commit(self.engine.take_changes())

    def take(self) -> None:
        """Take what the engine asks for, and commit what it has changed until then."""
        self.to_read.extend(self.engine.take_pages())
        self.commit()

    def read(self) -> None:
        if self.to_read:
            request = self.to_read.popleft()
            self.to_bring.append((request, self.journal.page(request)))

    def bring(self) -> None:
        if self.to_bring:
            request, page = self.to_bring.popleft()
            self.engine.page_in(request, page, self.now_ms)

    def bring_all(self) -> bool:
        """Bring every page that was asked for; False when there is none."""
        self.take()
        steps: list[Callable[[], None]] = [self.read] * len(self.to_read)
        steps += [self.bring] * (len(self.to_read) + len(self.to_bring))
        for step in steps:
            step()
        return bool(steps)
