"""The API with a real store, a queue that is a list, and no server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import msgspec
import pytest
from starlette.applications import Starlette

from forebay.apps.sale.api import SaleApi
from forebay.apps.sale.domain import Order, Section, SectionKind, order_id
from forebay.apps.sale.sqlite_store import SqliteSaleStore
from forebay.apps.sale.store import (
    Arrival,
    Delivery,
    OrderRecord,
    Queued,
    SaleStore,
    Unqueued,
)
from forebay.apps.usage.domain import USAGE_LOG_TYPE, UsageLog
from forebay.clock import ManualClock
from forebay.errors import BufferFull, ForebayError, ServiceUnreachable, StoreError
from forebay.producer import Published
from forebay.protocol.errors import INVALID_MESSAGE_CONTENTS, SERVICE_UNAVAILABLE, SqsError
from tests.apps.asgi import Answer, ask

STALLS = Section("gala", "stalls", SectionKind.RESERVED, capacity=2)
LAWN = Section("gala", "lawn", SectionKind.GENERAL, capacity=2)


class ListedQueue:
    """Keeps what was published, once for each deduplication id, as SQS does."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.groups: list[str | None] = []
        self.problem: ForebayError | None = None

    async def publish(
        self,
        type: str,  # noqa: A002
        payload: object,
        *,
        key: str | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
    ) -> Published:
        await asyncio.sleep(0)
        if self.problem is not None:
            raise self.problem
        assert isinstance(payload, Order)
        assert deduplication_id == key == payload.order_id
        self.orders.setdefault(deduplication_id, payload)
        self.groups.append(group_id)
        place = list(self.orders).index(deduplication_id)
        return Published(f"envelope-{len(self.groups)}", f"message-{place}", f"{place:020}")


class ListedUsage:
    """Keeps the usage logs that were sent."""

    def __init__(self) -> None:
        self.logs: list[UsageLog] = []

    def send(self, type: str, payload: object) -> bool:  # noqa: A002
        assert type == USAGE_LOG_TYPE
        assert isinstance(payload, UsageLog)
        self.logs.append(payload)
        return True


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SaleStore]:
    opened = await SqliteSaleStore.open(tmp_path / "sale.sqlite3")
    await opened.open_sections([STALLS, LAWN])
    yield opened
    await opened.close()


@pytest.fixture
def queue() -> ListedQueue:
    return ListedQueue()


@pytest.fixture
def usage() -> ListedUsage:
    return ListedUsage()


@pytest.fixture
def api(store: SaleStore, queue: ListedQueue, usage: ListedUsage) -> Starlette:
    ticks = count(step=1_500_000)
    sale = SaleApi(
        store,
        queue,
        usage,
        [STALLS, LAWN],
        clock=ManualClock(),
        elapsed_ns=lambda: next(ticks),
    )
    return sale.application()


async def buy(
    api: Starlette,
    wish: dict[str, object] | None = None,
    *,
    key: str | None = "click-1",
    event: str = "gala",
) -> Answer:
    body = msgspec.json.encode({"section": "stalls", "buyer": "ada"} | (wish or {}))
    headers = {} if key is None else {"Idempotency-Key": key}
    return await ask(api, "POST", f"/events/{event}/orders", headers=headers, body=body)


async def test_an_order_is_accepted_once_it_is_queued(api: Starlette, queue: ListedQueue) -> None:
    answer = await buy(api, {"seat": 2, "note": "aisle"})
    identifier = order_id("gala", "click-1")
    assert answer.status == 202
    assert answer.json() == {"order_id": identifier, "status": "RECEIVED"}
    assert queue.orders == {identifier: Order(identifier, "gala", "stalls", "ada", 2, "aisle")}
    assert queue.groups == ["gala#stalls"]


async def test_a_second_click_gets_the_first_ones_order_and_no_new_message(
    api: Starlette, queue: ListedQueue
) -> None:
    first, second = await buy(api), await buy(api)
    assert second.status == 202
    assert second.json() == first.json()
    assert len(queue.groups) == 1


async def test_two_clicks_at_once_are_one_order(api: Starlette, queue: ListedQueue) -> None:
    answers = await asyncio.gather(*(buy(api) for _ in range(5)))
    assert [answer.status for answer in answers] == [202] * 5
    assert len(queue.orders) == 1


async def test_the_status_follows_the_order(
    api: Starlette, store: SaleStore, queue: ListedQueue
) -> None:
    identifier = order_id("gala", "click-1")
    path = f"/orders/{identifier}"
    assert (await ask(api, "GET", path)).status == 404
    await buy(api)
    assert (await ask(api, "GET", path)).json() == {"order_id": identifier, "status": "RECEIVED"}
    await store.decide(queue.orders[identifier], Delivery("message-0", None), now_ms=1)
    assert (await ask(api, "GET", path)).json() == {
        "order_id": identifier,
        "status": "CONFIRMED",
        "seat": 1,
    }


async def test_a_click_after_the_decision_is_answered_with_it(
    api: Starlette, store: SaleStore, queue: ListedQueue
) -> None:
    await buy(api)
    (order,) = queue.orders.values()
    await store.decide(order, Delivery("message-0", None), now_ms=1)
    answer = await buy(api)
    assert answer.status == 200
    assert answer.json()["status"] == "CONFIRMED"
    assert len(queue.groups) == 1


async def test_a_failed_order_says_why(
    api: Starlette, store: SaleStore, queue: ListedQueue
) -> None:
    await buy(api, {"seat": 9})
    (order,) = queue.orders.values()
    await store.fail(order, "no such seat", now_ms=1)
    answer = await ask(api, "GET", f"/orders/{order.order_id}")
    assert answer.json()["status"] == "FAILED"
    assert answer.json()["reason"] == "no such seat"


@pytest.mark.parametrize(
    ("problem", "cause"),
    [
        (BufferFull(), "Too many orders wait"),
        (ServiceUnreachable("http://10.0.0.7:9324 refused the connection."), "queue cannot be"),
        (SqsError(SERVICE_UNAVAILABLE), "queue cannot be"),
    ],
)
async def test_an_order_that_cannot_be_queued_may_be_sent_again_with_its_key(
    api: Starlette, queue: ListedQueue, problem: ForebayError, cause: str
) -> None:
    queue.problem = problem
    refused = await buy(api)
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert cause in refused.json()["error"]
    assert "same Idempotency-Key" in refused.json()["error"]
    assert "10.0.0.7" not in refused.json()["error"]
    queue.problem = None
    assert (await buy(api)).status == 202
    assert len(queue.orders) == 1


async def test_a_store_that_is_away_is_an_outage_too(
    queue: ListedQueue, usage: ListedUsage
) -> None:
    class BrokenStore:
        """A store whose disk is full."""

        async def claim(self, arrival: Arrival) -> Unqueued:
            raise StoreError

        async def accept(self, order_id: str, queued: Queued, now_ms: int) -> None:
            raise StoreError

        async def find(self, order_id: str) -> OrderRecord | None:
            raise StoreError

    api = SaleApi(BrokenStore(), queue, usage, [STALLS]).application()
    answers = [await buy(api), await ask(api, "GET", "/orders/o1")]
    for answer in answers:
        assert answer.status == 503
        assert "retry-after" in answer.headers
        assert "The order book cannot be reached" in answer.json()["error"]
    assert queue.orders == {}


async def test_a_key_with_another_body_is_refused_whether_queued_or_not(
    api: Starlette, queue: ListedQueue
) -> None:
    queue.problem = BufferFull()
    await buy(api)
    refusals = [await buy(api, {"seat": 1})]
    queue.problem = None
    await buy(api)
    refusals.append(await buy(api, {"buyer": "bob"}))
    for refusal in refusals:
        assert refusal.status == 422
        assert refusal.json()["field"] == "Idempotency-Key"
        assert "another body" in refusal.json()["error"]
    assert len(queue.orders) == 1


@pytest.mark.parametrize(
    ("wish", "status", "field", "says"),
    [
        ({"section": "moon"}, 404, "section", "It has: lawn, stalls"),
        ({"section": ""}, 422, "section", ">= 1"),
        ({"buyer": "b" * 129}, 422, "buyer", "<= 128"),
        ({"buyer": 7}, 422, "buyer", "Expected `str`"),
        ({"seat": 0}, 422, "seat", ">= 1"),
        ({"seat": "front"}, 422, "seat", "Expected `int"),
        ({"note": "n" * 501}, 422, "note", "<= 500"),
        ({"discount": 90}, 422, "body", "discount"),
    ],
)
async def test_a_bad_field_is_named_with_its_limit(
    api: Starlette, queue: ListedQueue, wish: dict[str, object], status: int, field: str, says: str
) -> None:
    refusal = await buy(api, wish)
    assert refusal.status == status
    assert refusal.json()["field"] == field
    assert says in refusal.json()["error"]
    assert queue.orders == {}


@pytest.mark.parametrize(
    ("key", "says"), [(None, "missing"), ("", "missing"), ("k" * 256, "may have 255")]
)
async def test_every_purchase_needs_a_key(api: Starlette, key: str | None, says: str) -> None:
    refusal = await buy(api, key=key)
    assert refusal.status == 400
    assert refusal.json()["field"] == "Idempotency-Key"
    assert says in refusal.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b'{"section": "\xff"}', 400, "not JSON"),
        (b'{"section": "\\ud800"}', 400, "not JSON"),
        (b"[]", 422, "Expected `object`"),
        (b"{}", 422, "section"),
        (b" " * 16_385, 413, "16384 bytes"),
    ],
)
async def test_a_body_that_is_no_purchase_is_refused(
    api: Starlette, body: bytes, status: int, says: str
) -> None:
    headers = {"Idempotency-Key": "click-1"}
    refusal = await ask(api, "POST", "/events/gala/orders", headers=headers, body=body)
    assert refusal.status == status
    assert says in refusal.json()["error"]


async def test_an_event_that_is_not_on_sale_is_not_found(api: Starlette) -> None:
    refusal = await buy(api, event="fair")
    assert refusal.status == 404
    assert refusal.json()["field"] == "event"


async def test_text_that_no_queue_takes_is_the_buyers_fault(
    api: Starlette, queue: ListedQueue
) -> None:
    queue.problem = SqsError(INVALID_MESSAGE_CONTENTS)
    refusal = await buy(api, {"note": "\uffff"})
    assert refusal.status == 422
    assert INVALID_MESSAGE_CONTENTS.text in refusal.json()["error"]


async def test_every_call_leaves_a_usage_log(api: Starlette, usage: ListedUsage) -> None:
    await buy(api)
    await buy(api)
    await buy(api, key=None)
    await ask(api, "GET", "/orders/unknown", headers={"X-Api-Key": "box-office"})
    assert usage.logs == [
        UsageLog("anonymous", "gala#stalls", "place_order", 1_500, "queue", 202),
        UsageLog("anonymous", "gala#stalls", "place_order", 1_500, "record", 202),
        UsageLog("anonymous", "gala", "place_order", 1_500, "none", 400),
        UsageLog("box-office", "unknown", "get_order", 1_500, "none", 404),
    ]
