"""Which handler gets a message, and what it gets."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import SettingsError
from forebay.worker import Received, Reject, Router
from forebay.worker.codecs import ENVELOPE, TEXT, Parcel
from tests.runtime.worker_messages import envelope, lease


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
    routed = router.route(lease(body=body))
    assert routed.route.call is decide
    assert routed.received.payload == Order(12)
    assert (routed.received.id, routed.received.type) == ("e-7", "order")
    assert routed.received.key == "order-7"
    refunded = router.route(lease(body=envelope("refund", {"amount": 3})))
    assert refunded.received.payload == Refund(3)
    assert refunded.received.key is None


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

    received = router.route(lease(body=body)).received
    assert (received.payload, received.id, received.type) == (body, identifier, message_type)


NOT_AN_ORDER = "The payload of this 'order' message does not fit Order: "


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "plain text",
            "The body is text, and not an envelope (JSON is malformed: invalid character (byte 0)),"
            " and no handler is registered for text. Register one with @router.default.",
        ),
        (
            '{"seat": 1}',
            "The body is JSON and not an envelope (Object missing required field `id`), and no"
            " handler is registered for plain JSON. Register one with @router.raw, or one for what"
            " no other takes with @router.default.",
        ),
        (
            envelope("unheard-of", 1),
            "No handler is registered for messages of type 'unheard-of'; there are handlers for:"
            " 'order'. Register one with @router.handler, or one for what no other takes with"
            " @router.default.",
        ),
        (
            envelope("order", {"seat": "front"}),
            NOT_AN_ORDER + "Expected `int`, got `str` - at `$.seat`",
        ),
        (envelope("order", {}), NOT_AN_ORDER + "Object missing required field `seat`"),
        (envelope("order", [1, 2]), NOT_AN_ORDER + "Expected `object`, got `array`"),
    ],
)
def test_what_can_never_be_handled_is_rejected_with_the_reason(body: str, reason: str) -> None:
    router = Router()

    @router.handler("order", Order)
    async def decide(received: Received[Order]) -> None: ...

    with pytest.raises(Reject, match=f"^{re.escape(reason)}$"):
        router.route(lease(body=body))


def test_without_any_handler_the_reason_says_so() -> None:
    with pytest.raises(Reject, match="there are handlers for: none"):
        Router().route(lease(body=envelope("order", 1)))


@pytest.mark.parametrize(
    ("body", "taker"),
    [
        (envelope("order", {"seat": 1}), "order"),
        (envelope("unheard-of", {"seat": 1}), "(default)"),
        ('{"seat": 1}', "(raw)"),
        ("plain text", "(default)"),
    ],
)
def test_each_handler_has_its_messages(body: str, taker: str) -> None:
    router = Router()
    router.handler("order", Order)(an_async_function)
    router.raw(Order)(an_async_function)
    router.default(an_async_function)
    routed = router.route(lease(body=body))
    assert routed.route.name == taker
    assert routed.received.payload == (body if taker == "(default)" else Order(1))


def test_plain_json_has_no_envelope_and_the_message_id_as_its_id() -> None:
    router = Router()
    router.raw(Order)(an_async_function)
    received = router.route(lease("m-7", body='{"seat": 1}')).received
    assert received.payload == Order(1)
    assert (received.id, received.type, received.key, received.envelope) == (
        "m-7",
        None,
        None,
        None,
    )
    with pytest.raises(
        Reject, match="of this message does not fit Order: Expected `object`, got `int`"
    ):
        router.route(lease(body="17"))
    with pytest.raises(Reject, match="The body is text"):
        router.route(lease(body="seventeen"))
    with pytest.raises(Reject, match="'order'; there are handlers for: none"):
        router.route(lease(body=envelope("order", {"seat": 1})))


def test_a_raw_handler_of_text_takes_any_text() -> None:
    router = Router()
    router.raw(str)(an_async_function)
    assert router.route(lease(body="not JSON")).received.payload == "not JSON"
    assert router.route(lease(body='"JSON"')).received.payload == "JSON"


def test_one_handler_may_take_every_message_of_a_payload_type() -> None:
    router = Router()
    router.every(Order)(an_async_function)
    router.handler("refund", Refund)(an_async_function)
    assert router.route(lease(body='{"seat": 1}')).received.payload == Order(1)
    received = router.route(lease(body=envelope("order", {"seat": 2}, key="k"))).received
    assert (received.payload, received.type, received.key) == (Order(2), "order", "k")
    assert router.route(lease(body=envelope("refund", {"amount": 2}))).route.name == "refund"
    assert [route.name for route in router.routes] == ["(every)", "refund"]


def test_a_router_has_the_handlers_that_it_includes_now_and_later() -> None:
    orders, refunds, both = Router(), Router(), Router()
    orders.handler("order", Order)(an_async_function)
    both.include(orders)
    both.include(refunds)
    refunds.handler("refund", Refund)(a_plain_function)
    assert [route.name for route in both.routes] == ["order", "refund"]
    assert [route.name for route in orders.routes] == ["order"]
    with pytest.raises(SettingsError, match="'order'"):
        refunds.handler("order", Order)(an_async_function)
    assert [route.name for route in refunds.routes] == ["refund"]
    more = Router()
    more.handler("order", Order)(an_async_function)
    with pytest.raises(SettingsError, match="'order'"):
        both.include(more)


def test_a_router_does_not_include_itself_or_one_that_reads_otherwise() -> None:
    inner, outer = Router(), Router()
    outer.include(inner)
    for router, other in ((outer, outer), (inner, outer)):
        with pytest.raises(SettingsError, match="include itself"):
            router.include(other)
    with pytest.raises(SettingsError, match="codec"):
        outer.include(Router(codec=TEXT))
    Router(codec=TEXT).include(Router(codec=TEXT))


def test_a_router_may_read_bodies_in_one_way_only() -> None:
    body = envelope("order", {"seat": 1})
    texts = Router(codec=TEXT)
    texts.default(an_async_function)
    texts.handler("order", Order)(an_async_function)
    assert texts.route(lease(body=body)).received.payload == body
    envelopes = Router(codec=ENVELOPE)
    envelopes.raw(Order)(an_async_function)
    with pytest.raises(Reject, match="The body is not an envelope"):
        envelopes.route(lease(body='{"seat": 1}'))
    envelopes.default(an_async_function)
    assert envelopes.route(lease(body="{}")).received.payload == "{}"


BODIES = (
    st.text(min_size=1)
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(lambda payload: envelope("order", payload))
    | st.just('{"seat": 1}')
)


@given(BODIES, st.sets(st.sampled_from(["handler", "raw", "every", "default"])))
def test_a_message_of_any_kind_has_a_handler_or_a_reason(body: str, kinds: set[str]) -> None:
    router = Router()
    if "handler" in kinds:
        router.handler("order", Order)(an_async_function)
    if "every" in kinds:
        router.every(dict)(an_async_function)
    elif "raw" in kinds:
        router.raw(Order)(an_async_function)
    if "default" in kinds:
        router.default(an_async_function)
    try:
        routed = router.route(lease(body=body))
    except Reject as rejection:
        reason = rejection.reason
    else:
        reason = ""
        assert routed.route in router.routes
        assert routed.received.id
    assert not reason or "default" not in kinds or "does not fit" in reason


def test_a_codec_that_fails_rejects_the_message() -> None:
    def broken(message: object) -> Parcel:
        raise KeyError("version")

    router = Router(codec=broken)
    router.raw(Order)(an_async_function)
    with pytest.raises(Reject, match="'version'"):
        router.route(lease(body='{"seat": 1}'))


def test_a_type_has_one_handler() -> None:
    router = Router()

    router.handler("order", Order)(an_async_function)
    with pytest.raises(SettingsError, match="'order'"):
        router.handler("order", Order)(an_async_function)
    router.default(an_async_function)
    with pytest.raises(SettingsError, match="what no other handler takes"):
        router.default(an_async_function)
    router.every(Order)(an_async_function)
    with pytest.raises(SettingsError, match="plain JSON"):
        router.raw(Order)(an_async_function)


class AsyncCallable:
    async def __call__(self, received: Received[object]) -> None: ...


class PlainCallable:
    def __call__(self, received: Received[object]) -> None: ...


async def an_async_function(received: Received[object]) -> None: ...


def a_plain_function(received: Received[object]) -> None: ...


class Methods:
    async def in_the_loop(self, received: Received[object]) -> None: ...

    def in_a_thread(self, received: Received[object]) -> None: ...

    @staticmethod
    async def static(received: Received[object]) -> None: ...

    unbound = staticmethod(an_async_function)


@pytest.mark.parametrize(
    ("handler", "plain"),
    [
        (an_async_function, False),
        (functools.partial(an_async_function), False),
        (AsyncCallable(), False),
        (functools.partial(AsyncCallable()), False),
        (Methods().in_the_loop, False),
        (Methods.static, False),
        (Methods.__dict__["static"], False),
        (a_plain_function, True),
        (functools.partial(a_plain_function), True),
        (PlainCallable(), True),
        (Methods().in_a_thread, True),
        (print, True),
    ],
)
def test_only_plain_functions_run_in_threads(handler: Any, plain: bool) -> None:
    router = Router()
    router.default(handler)
    assert router.routes[0].plain is plain
    assert router.routes[0].handler_name


def no_arguments() -> None: ...


def two_arguments(received: object, other: object) -> None: ...


def a_generator(received: object) -> Iterator[object]:
    yield received


async def an_async_generator(received: object) -> AsyncIterator[object]:
    yield received


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (17, "not a function"),
        (AsyncCallable, "is the class AsyncCallable.*Register an object of it"),
        (no_arguments, "must take one argument"),
        (two_arguments, "must take one argument"),
        (Methods.in_the_loop, "Register a method of an object, not of its class"),
        (a_generator, "yield"),
        (an_async_generator, "yield"),
    ],
)
def test_what_could_never_be_called_is_no_handler(handler: Any, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        Router().default(handler)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"batch": 0}, "batch of the handler of 'order' is 0; it must be a whole number from 1 to"),
        ({"batch": 10_001}, "batch .* 10001; it must be a whole number from 1 to 10000"),
        ({"batch": 2.5}, "batch .* 2.5"),
        ({"batch": 5, "within_ms": -1}, "within_ms .* -1; it must be a whole number from 0 to"),
        ({"batch": 5, "within_ms": 300_001}, "within_ms .* from 0 to 300000"),
        ({"within_ms": 5}, "within_ms but no batch"),
        ({"timeout_s": 0}, "timeout_s .* is 0; it must be above 0 and at most 43200"),
        ({"timeout_s": math.nan}, "timeout_s .* is nan"),
        ({"timeout_s": 43_201}, "timeout_s .* is 43201"),
        (
            {"batchsize": 5},
            "no option batchsize. Its options are batch, breaker, limits, timeout_s",
        ),
    ],
)
def test_an_option_out_of_range_is_refused_with_its_range(
    options: dict[str, Any], problem: str
) -> None:
    router: Any = Router()
    for register in (functools.partial(router.handler, "order"), router.raw, router.every):
        with pytest.raises(SettingsError, match=problem.replace("'order'", ".*")):
            register(Order, **options)(an_async_function)


@pytest.mark.parametrize(
    ("options", "batch", "within_ms"),
    [
        ({}, 0, 0),
        ({"batch": 1}, 1, 200),
        ({"batch": 10_000, "within_ms": 300_000}, 10_000, 300_000),
        ({"batch": 500, "within_ms": 0}, 500, 0),
    ],
)
def test_a_route_says_how_its_messages_are_gathered(
    options: dict[str, Any], batch: int, within_ms: int
) -> None:
    router: Any = Router()
    router.handler("order", Order, **options)(an_async_function)
    assert (router.routes[0].batch, router.routes[0].within_ms) == (batch, within_ms)


def test_the_default_handler_has_options_too() -> None:
    router = Router()

    @router.default(timeout_s=5, batch=10)
    async def keep(batch: list[Received[str]]) -> None: ...

    [route] = router.routes
    assert (route.call, route.timeout_s, route.batch, route.within_ms) == (keep, 5, 10, 200)
    single = Router()

    @single.default(timeout_s=5)
    async def keep_one(received: Received[str]) -> None: ...

    assert single.route(lease(body="text")).received.payload == "text"


def test_a_handler_has_a_type_that_an_envelope_can_name() -> None:
    with pytest.raises(SettingsError, match="message type of a handler is empty"):
        Router().handler("", Order)
