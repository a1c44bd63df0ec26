"""The sale's HTTP API: an order is accepted only once it is durably queued."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.apps.sale.domain import (
    ORDER_TYPE,
    Order,
    OrderStatus,
    Section,
    fingerprint,
    message_group,
)
from forebay.apps.sale.requests import BODY_BYTES_MAX, RequestRefused, read_order
from forebay.apps.sale.store import (
    AlreadyAccepted,
    Arrival,
    OrderBook,
    OrderRecord,
    OtherRequest,
    Queued,
)
from forebay.apps.sale.usage_terms import (
    FROM_NOWHERE,
    FROM_QUEUE,
    FROM_RECORD,
    GET_ORDER,
    PLACE_ORDER,
)
from forebay.apps.usage.domain import USAGE_LOG_TYPE, UsageLog
from forebay.clock import Clock, SystemClock
from forebay.errors import BufferFull, Closed, ForebayError, ServiceUnreachable, StoreError
from forebay.producer import Published
from forebay.protocol.errors import INVALID_MESSAGE_CONTENTS, SqsError

#: What a client that met an outage is told to wait, in seconds: about as long as a broker takes to
#: start again.
RETRY_AFTER_S = 1

#: What passes when the broker or the store is back.
_OUTAGES = (BufferFull, Closed, ServiceUnreachable, SqsError, StoreError)

_log = logging.getLogger(__name__)


class OrderQueue(Protocol):
    """The acknowledged face of a Producer."""

    async def publish(
        self,
        type: str,  # noqa: A002
        payload: object,
        *,
        key: str | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
    ) -> Published: ...


class UsageQueue(Protocol):
    """The fire-and-forget face of a Producer."""

    def send(self, type: str, payload: object) -> bool: ...  # noqa: A002


class _Answer(Struct):
    """What goes back to the buyer, and what the usage log says of it."""

    http_status: int
    body: object
    asset: str
    cache_tier: str = FROM_NOWHERE
    retry_after_s: int | None = None


class _ErrorAnswer(Struct, omit_defaults=True):
    error: str
    field: str | None = None


class SaleApi:
    """Takes orders for the sections on sale and tells what became of them."""

    def __init__(
        self,
        store: OrderBook,
        orders: OrderQueue,
        usage: UsageQueue,
        sections: Sequence[Section],
        *,
        clock: Clock | None = None,
        elapsed_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._store = store
        self._orders = orders
        self._usage = usage
        self._clock = clock or SystemClock()
        self._elapsed_ns = elapsed_ns
        self._sections: dict[str, dict[str, Section]] = {}
        for section in sections:
            self._sections.setdefault(section.event, {})[section.name] = section

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/events/{event}/orders", self._post_order, methods=["POST"]),
                Route("/orders/{order_id}", self._get_order, methods=["GET"]),
            ]
        )

    async def _post_order(self, request: Request) -> Response:
        started_ns = self._elapsed_ns()
        event = request.path_params["event"]
        try:
            order = read_order(
                event,
                self._sections.get(event, {}),
                request.headers.get("idempotency-key"),
                await _read_body(request),
            )
            answer = await self._place(order)
        except RequestRefused as refusal:
            answer = _Answer(
                refusal.http_status, _ErrorAnswer(str(refusal), refusal.field), asset=event
            )
        except _OUTAGES as error:
            answer = _come_again(
                error,
                "Send the order again with the same Idempotency-Key; it will not be placed twice.",
                asset=event,
            )
        return self._respond(request, PLACE_ORDER, answer, started_ns)

    async def _get_order(self, request: Request) -> Response:
        started_ns = self._elapsed_ns()
        identifier = request.path_params["order_id"]
        try:
            record = await self._store.find(identifier)
        except _OUTAGES as error:
            answer = _come_again(error, "Ask again.", asset=identifier)
        else:
            answer = _Answer(200, record, identifier, FROM_RECORD)
            if record is None:
                problem = _ErrorAnswer(f"There is no order {identifier!r}.", "order_id")
                answer = _Answer(404, problem, identifier)
        return self._respond(request, GET_ORDER, answer, started_ns)

    async def _place(self, order: Order) -> _Answer:
        """Claim the key, queue the order, note the acceptance: in this order, so that a crash at
        any point leaves nothing that a retry with the same key does not put right."""
        asset = message_group(order.event, order.section)
        arrival = Arrival(order, fingerprint(order), self._clock.wall_ms())
        match await self._store.claim(arrival):
            case OtherRequest():
                raise RequestRefused(
                    422,
                    "Idempotency-Key",
                    "This Idempotency-Key belongs to a request with another body. Send a new key"
                    " for another purchase.",
                )
            case AlreadyAccepted(record=record):
                http_status = 202 if record.status is OrderStatus.RECEIVED else 200
                return _Answer(http_status, record, asset, FROM_RECORD)
        try:
            published = await self._orders.publish(
                ORDER_TYPE,
                order,
                key=order.order_id,
                group_id=asset,
                deduplication_id=order.order_id,
            )
        except SqsError as error:
            if error.fault is INVALID_MESSAGE_CONTENTS:
                raise RequestRefused(422, "body", error.message) from error
            raise
        queued = Queued(published.message_id, published.sequence_number)
        await self._store.accept(order.order_id, queued, self._clock.wall_ms())
        return _Answer(202, OrderRecord(order.order_id, OrderStatus.RECEIVED), asset, FROM_QUEUE)

    def _respond(self, request: Request, source: str, answer: _Answer, started_ns: int) -> Response:
        self._usage.send(
            USAGE_LOG_TYPE,
            UsageLog(
                api_key_id=request.headers.get("x-api-key", "anonymous"),
                asset=answer.asset,
                source=source,
                response_time_us=(self._elapsed_ns() - started_ns) // 1000,
                cache_tier=answer.cache_tier,
                http_status=answer.http_status,
            ),
        )
        headers = {}
        if answer.retry_after_s is not None:
            headers["retry-after"] = str(answer.retry_after_s)
        return Response(
            msgspec.json.encode(answer.body),
            status_code=answer.http_status,
            headers=headers,
            media_type="application/json",
        )


def _come_again(error: ForebayError, advice: str, asset: str) -> _Answer:
    """The cause in words for a buyer. The log has those for the operator, addresses included."""
    _log.warning("%s: %s", asset, error)
    if isinstance(error, BufferFull):
        cause = "Too many orders wait to be queued."
    elif isinstance(error, StoreError):
        cause = "The order book cannot be reached."
    else:
        cause = "The order queue cannot be reached."
    return _Answer(503, _ErrorAnswer(f"{cause} {advice}"), asset, retry_after_s=RETRY_AFTER_S)


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise RequestRefused(
                413, "body", f"The body is larger than the {BODY_BYTES_MAX} bytes allowed."
            )
    return bytes(body)
