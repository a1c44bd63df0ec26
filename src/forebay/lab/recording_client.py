"""An SQS client that writes down what it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Struct

from forebay.client.base import SqsClient
from forebay.client.retry import RetryPolicy
from forebay.errors import ForebayError, with_type
from forebay.lab.events import EventLog, Kind
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    BatchResult,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityRequest,
    DeleteMessageBatchRequest,
    DeleteMessageRequest,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageBatchRequest,
    SendMessageBatchResult,
    SendMessageRequest,
    SendMessageResult,
)

RECEIVE_COUNT = "ApproximateReceiveCount"


class _Body(Struct):
    id: str = ""


class _Handled(Struct, frozen=True):
    """What is known of a message that was received."""

    message: str
    id: str


def id_in(body: str) -> str:
    """The `id` in a body: of a payload, or of an envelope. Empty when there is none."""
    try:
        return _read(body).id
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return ""


_read = msgspec.json.Decoder(_Body).decode


class RecordingClient(SqsClient):
    """Asks another client, and writes every send, receive, delete and release down as an event.

    What changes a queue is written before it is asked for too: of a process that is killed in
    between, it is known what it may have done.
    """

    def __init__(self, client: SqsClient, events: EventLog) -> None:
        self._client = client
        self._events = events
        self._handled: dict[str, _Handled] = {}

    @property
    def place(self) -> str:
        return self._client.place

    async def call(
        self,
        request: AnyRequest,
        *,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AnyResult:
        told = self._before(request)
        try:
            result = await self._client.call(request, timeout_s=timeout_s, retry=retry)
        except ForebayError as error:
            if isinstance(request, SendMessageRequest | SendMessageBatchRequest):
                self._not_sent(request, error)
            raise
        told(result)
        return result

    async def close(self) -> None:
        await self._client.close()

    def _before(self, request: AnyRequest) -> Callable[[AnyResult], None]:
        """Write down what is about to be done, and return what writes down that it is done."""
        match request:
            case SendMessageRequest(queue_url=url, message_body=body):
                return self._sending(url, [body])
            case SendMessageBatchRequest(queue_url=url, entries=entries):
                return self._sending(
                    url,
                    [entry.message_body for entry in entries],
                    [entry.id for entry in entries],
                )
            case ReceiveMessageRequest(queue_url=url):
                _ask_for_count(request)
                return lambda result: self._received(url, result)
            case DeleteMessageRequest(queue_url=url, receipt_handle=handle):
                return self._deleting(url, {"": handle})
            case DeleteMessageBatchRequest(queue_url=url, entries=entries):
                return self._deleting(url, {entry.id: entry.receipt_handle for entry in entries})
            case ChangeMessageVisibilityRequest(
                queue_url=url, receipt_handle=handle, visibility_timeout=timeout_s
            ):
                return lambda _: self._hidden(url, [(handle, timeout_s)])
            case ChangeMessageVisibilityBatchRequest(queue_url=url, entries=entries):
                changes = {
                    entry.id: (entry.receipt_handle, entry.visibility_timeout or 0)
                    for entry in entries
                }
                return lambda result: self._hidden(
                    url, [changes[each] for each in _successful(result, changes)]
                )
        return _nothing

    def _sending(
        self, url: str, bodies: Sequence[str], entries: Sequence[str] = ("",)
    ) -> Callable[[AnyResult], None]:
        ids = dict(zip(entries, map(id_in, bodies), strict=True))
        for each in ids.values():
            self._write(Kind.SENDING, url, _Handled("", each))

        def sent(result: AnyResult) -> None:
            if isinstance(result, SendMessageBatchResult):
                for entry in result.successful or ():
                    self._write(Kind.SENT, url, _Handled(entry.message_id, ids[entry.id]))
                for refused in result.failed or ():
                    self._write(
                        Kind.NOT_SENT, url, _Handled("", ids[refused.id]), text=refused.code
                    )
            elif isinstance(result, SendMessageResult):
                self._write(Kind.SENT, url, _Handled(result.message_id, ids[""]))

        return sent

    def _not_sent(
        self, request: SendMessageRequest | SendMessageBatchRequest, error: ForebayError
    ) -> None:
        bodies = (
            [request.message_body]
            if isinstance(request, SendMessageRequest)
            else [entry.message_body for entry in request.entries]
        )
        for body in bodies:
            handled = _Handled("", id_in(body))
            self._write(Kind.NOT_SENT, request.queue_url, handled, text=with_type(error))

    def _received(self, url: str, result: AnyResult) -> None:
        assert isinstance(result, ReceiveMessageResult)
        messages = result.messages or ()
        for message in messages:
            handled = _Handled(message.message_id, id_in(message.body))
            self._handled[message.receipt_handle] = handled
            receives = int((message.attributes or {}).get(RECEIVE_COUNT, 0))
            self._write(Kind.RECEIVED, url, handled, receives=receives, value=len(messages))

    def _deleting(self, url: str, handles: dict[str, str]) -> Callable[[AnyResult], None]:
        for handle in handles.values():
            self._write(Kind.DELETING, url, self._of(handle))

        def deleted(result: AnyResult) -> None:
            for each in _successful(result, handles):
                self._write(Kind.DELETED, url, self._of(handles[each]))

        return deleted

    def _hidden(self, url: str, changes: Iterable[tuple[str, int]]) -> None:
        for handle, timeout_s in changes:
            kind = Kind.EXTENDED if timeout_s else Kind.RELEASED
            self._write(kind, url, self._of(handle), value=timeout_s)

    def _of(self, handle: str) -> _Handled:
        return self._handled.get(handle, _Handled("", ""))

    def _write(
        self,
        kind: Kind,
        url: str,
        handled: _Handled,
        *,
        receives: int = 0,
        value: float = 0,
        text: str = "",
    ) -> None:
        self._events.write(
            kind,
            queue=url.rpartition("/")[2],
            message=handled.message,
            id=handled.id,
            receives=receives,
            value=value,
            text=text,
        )


def _successful(result: AnyResult, asked: Iterable[str]) -> list[str]:
    """The entries of a batch that succeeded; those that were asked for when it is no batch."""
    if isinstance(result, BatchResult):
        return [entry.id for entry in result.successful or ()]
    return list(asked)


def _ask_for_count(request: ReceiveMessageRequest) -> None:
    """Have the receive tell how often each message was received."""
    names = {*(request.attribute_names or ()), *(request.message_system_attribute_names or ())}
    if not names & {"All", RECEIVE_COUNT}:
        request.message_system_attribute_names = [
            *(request.message_system_attribute_names or ()),
            RECEIVE_COUNT,
        ]


def _nothing(_: AnyResult) -> None:
    """Nothing is written down of other requests."""
