"""Which handler gets a message, and what it gets."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import msgspec
import pytest

from forebay.errors import SettingsError
from forebay.worker import Received, Reject, Router
from tests.runtime.worker_messages import envelope, lease

QUEUE_URL = "http://sqs.test/000000000000/orders.fifo"


class Order(msgspec.Struct):
    seat: int


@dataclass
class Refund:
    amount: int


def test_a_handler_gets_the_envelope_s_payload_as_the_type_it_asked_for() -> None:
    router = Router()

    @router.handler("order", Order)
    async def decide(received: Received[Order]) -> None: ...

    @router.handler("refund", Refund)
    async def refund(received: Received[Refund]) -> None: ...

    body = envelope("order", {"seat": 12}, identifier="e-7", key="order-7")
    routed = router.route(lease(body=body), QUEUE_URL)
    assert routed.route.call is decide
    assert routed.received.payload == Order(12)
    assert (routed.received.id, routed.received.type) == ("e-7", "order")
    assert (routed.received.key, routed.received.queue_url) == ("order-7", QUEUE_URL)
    refunded = router.route(lease(body=envelope("refund", {"amount": 3})), QUEUE_URL)
    assert refunded.received.payload == Refund(3)
    assert refunded.received.key is None


def test_a_message_tells_what_sqs_said_of_it() -> None:
    router = Router()

    @router.default
    async def any_body(received: Received[str]) -> None: ...

    fifo = lease("m-1", "g", body="hi", receive_count=3)
    received = router.route(fifo, QUEUE_URL).received
    assert (received.message_id, received.body, received.group_id) == ("m-1", "hi", "g")
    assert received.sequence_number == 18850000000000000001
    assert (received.receive_count, received.sent_at_ms) == (3, 1_700_000_000_123)
    assert received.attributes == {}
    standard = router.route(lease(), QUEUE_URL).received
    assert (standard.group_id, standard.sequence_number) == (None, None)


def test_a_message_tells_that_its_lease_was_lost_while_its_handler_runs() -> None:
    router = Router()

    @router.default
    async def any_body(received: Received[str]) -> None: ...

    held = lease()
    received = router.route(held, QUEUE_URL).received
    told = [received.lease_lost]
    held.until_ms = 0
    told.append(received.lease_lost)
    assert told == [False, True]


@pytest.mark.parametrize(
    ("body", "identifier", "message_type"),
    [
        ("plain text", "m-1", None),
        ('{"some": "json"}', "m-1", None),
        (envelope("unheard-of", 1, identifier="e-1"), "e-1", "unheard-of"),
    ],
)
def test_the_default_handler_gets_the_text_of_what_no_other_takes(
    body: str, identifier: str, message_type: str | None
) -> None:
    router = Router()

    @router.default
    async def any_body(received: Received[str]) -> None: ...

    received = router.route(lease(body=body), QUEUE_URL).received
    assert (received.payload, received.id, received.type) == (body, identifier, message_type)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("plain text", "not an envelope"),
        (envelope("unheard-of", 1), "No handler is registered for messages of type 'unheard-of'"),
        (envelope("order", {"seat": "front"}), "not a Order: Expected `int`, got `str`"),
        (envelope("order", {}), "missing required field `seat`"),
        (envelope("order", [1, 2]), "Expected `object`, got `array`"),
    ],
)
def test_what_can_never_be_handled_is_rejected_with_the_reason(body: str, reason: str) -> None:
    router = Router()

    @router.handler("order", Order)
    async def decide(received: Received[Order]) -> None: ...

    with pytest.raises(Reject, match="(?i)" + reason):
        router.route(lease(body=body), QUEUE_URL)


def test_a_type_has_one_handler() -> None:
    router = Router()

    router.handler("order", Order)(an_async_function)
    with pytest.raises(SettingsError, match="'order'"):
        router.handler("order", Order)(an_async_function)
    router.default(an_async_function)
    with pytest.raises(SettingsError, match="default"):
        router.default(an_async_function)


class AsyncCallable:
    async def __call__(self, received: Received[object]) -> None: ...


class PlainCallable:
    def __call__(self, received: Received[object]) -> None: ...


async def an_async_function(received: Received[object]) -> None: ...


def a_plain_function(received: Received[object]) -> None: ...


@pytest.mark.parametrize(
    ("handler", "needs_executor"),
    [
        (an_async_function, False),
        (functools.partial(an_async_function), False),
        (AsyncCallable(), False),
        (a_plain_function, True),
        (functools.partial(a_plain_function), True),
        (PlainCallable(), True),
    ],
)
def test_only_plain_functions_need_an_executor(handler: object, needs_executor: bool) -> None:
    router = Router()
    router.default(handler)  # type: ignore[arg-type]
    assert router.needs_executor() is needs_executor
