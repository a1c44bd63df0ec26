"""What a handler may ask of its message."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.client.fake import ScriptedSqsClient
from forebay.clock import ManualClock
from forebay.errors import SettingsError
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    BatchResult,
    ChangeMessageVisibilityBatchRequest,
    EmptyResult,
    MessageAttributeValue,
)
from forebay.worker import Received, Router
from forebay.worker.lease import Lease
from forebay.worker.source import Source
from tests.runtime.worker_messages import context, message, source


def received(source_: Source | None = None, **parts: Any) -> Received[str]:
    router = Router()

    @router.default
    async def any_body(received: Received[str]) -> None: ...

    of = source_ or source()
    held = Lease(message(**parts), of, 0, 0, 30_000, parts.get("group_id"))
    return router.route(held).received


def test_a_message_tells_what_sqs_said_of_it() -> None:
    fifo = received(
        source(url="http://sqs.test/000000000000/orders.fifo"),
        identifier="m-1",
        body="hi",
        group_id="g",
        receive_count=3,
    )
    assert (fifo.message_id, fifo.body, fifo.group_id) == ("m-1", "hi", "g")
    assert (fifo.queue, fifo.queue_url) == (
        "orders.fifo",
        "http://sqs.test/000000000000/orders.fifo",
    )
    assert fifo.sequence_number == 18850000000000000001
    assert (fifo.receive_count, fifo.sent_at_ms) == (3, 1_700_000_000_123)
    assert fifo.attributes == {}
    standard = received()
    assert (standard.group_id, standard.sequence_number) == (None, None)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (MessageAttributeValue(data_type="String", string_value="Basel"), "Basel"),
        (MessageAttributeValue(data_type="String.url", string_value="x"), "x"),
        (MessageAttributeValue(data_type="Number", string_value="17"), 17),
        (MessageAttributeValue(data_type="Number", string_value="-0.5"), -0.5),
        (MessageAttributeValue(data_type="Number", string_value="1e3"), 1000.0),
        (MessageAttributeValue(data_type="Number.int", string_value="9" * 38), int("9" * 38)),
        (MessageAttributeValue(data_type="Binary", binary_value=b"\x00"), b"\x00"),
        (MessageAttributeValue(data_type="Binary.png", binary_value=b""), b""),
    ],
)
def test_an_attribute_is_a_python_value(attribute: MessageAttributeValue, value: object) -> None:
    told = received(attributes={"a": attribute})
    assert told.attribute("a") == value
    assert type(told.attribute("a")) is type(value)
    assert told.attribute("b") is None


def test_the_attributes_of_an_sns_notification_are_the_message_s() -> None:
    body = (
        '{"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": "hello",'
        ' "MessageAttributes": {"tries": {"Type": "Number", "Value": "3"}}}'
    )
    told = received(body=body)
    assert (told.payload, told.attribute("tries"), told.body) == ("hello", 3, body)


TRACE, SPAN = "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
XRAY = f"Root=1-5759e988-bd862e3fe1be46a994272793;Parent={SPAN};Sampled=1"


@pytest.mark.parametrize(
    ("header", "traceparent"),
    [
        (XRAY, f"00-{TRACE}-{SPAN}-01"),
        (XRAY.replace("Sampled=1", "Sampled=0"), f"00-{TRACE}-{SPAN}-00"),
        (XRAY.replace(";Sampled=1", ""), f"00-{TRACE}-{SPAN}-00"),
        (XRAY.replace(";", "; ") + "; Lineage=a87bd80c:1|68fd508a:5", f"00-{TRACE}-{SPAN}-01"),
        ("Root=1-5759e988-bd862e3fe1be46a994272793", None),
        (XRAY.replace(SPAN, "0" * 16), None),
        (XRAY.replace("1-5759", "2-5759"), None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_the_trace_of_an_xray_header(header: str | None, traceparent: str | None) -> None:
    told = received(trace_header=header)
    assert (told.trace_header, told.traceparent) == (header, traceparent)


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        ("", False),
    ],
)
def test_the_w3c_trace_of_the_sender_comes_first_if_it_is_one(given_: str, kept: bool) -> None:
    told = received(
        attributes={"traceparent": MessageAttributeValue(data_type="String", string_value=given_)},
        trace_header=XRAY.replace("5", "6"),
    )
    xray = told.traceparent
    assert (xray == given_) is kept
    assert xray is not None


@given(st.text())
def test_no_trace_header_is_too_strange(header: str) -> None:
    traceparent = received(trace_header=header).traceparent
    assert traceparent is None or re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", traceparent)


def test_the_lease_is_lost_as_soon_as_it_has_ended_whatever_else_ran() -> None:
    clock = ManualClock(0)
    told = received(source(context(clock=clock)))
    seen = [(told.lease_lost, told.remaining_s)]
    clock.advance(29_999)
    seen.append((told.lease_lost, told.remaining_s))
    clock.advance(1)
    seen.append((told.lease_lost, told.remaining_s))
    assert seen == [(False, 30.0), (False, 0.001), (True, 0.0)]


def test_the_time_that_is_left_is_the_handler_s_if_that_is_shorter() -> None:
    clock = ManualClock(0)
    told = received(source(context(clock=clock)))
    told = type(told)(
        **{name: getattr(told, name) for name in told.__struct_fields__} | {"due_ms": 5_000}
    )
    clock.advance(2_000)
    assert (told.remaining_s, told.deadline_ms) == (3.0, 5_000)


async def test_a_handler_may_keep_its_message_for_longer() -> None:
    async def answer(request: AnyRequest) -> AnyResult:
        if isinstance(request, ChangeMessageVisibilityBatchRequest):
            return BatchResult(successful=[], failed=[])
        return EmptyResult()

    client = ScriptedSqsClient(answer)
    told = received(source(context(client)))
    await told.extend(600)
    assert "600" in str(client.requests)
    strange: Any
    for strange in (-1, float("nan"), "5", None):
        with pytest.raises(SettingsError, match="extend: seconds is"):
            await told.extend(strange)
