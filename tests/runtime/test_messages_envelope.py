"""What travels: written once, read back the same, and anything else refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.messages.envelope import (
    EnvelopeError,
    decode_envelope,
    encode_envelope,
    envelope_at_ms,
    envelope_timestamp,
)
from forebay.messages.packing import AT_MS_MAX

TIMESTAMP = "2026-11-22T08:26:00.123Z"

ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@dataclass
class Purchase:
    event: str
    seat: str


def test_an_envelope_is_one_json_object_with_the_payload_inside() -> None:
    body = encode_envelope("id-1", "usage_log", TIMESTAMP, "api-1", {"asset": "BTC"}, key="order-9")
    assert json.loads(body) == {
        "id": "id-1",
        "type": "usage_log",
        "timestamp": TIMESTAMP,
        "node": "api-1",
        "payload": {"asset": "BTC"},
        "key": "order-9",
    }


def test_an_envelope_without_a_key_does_not_mention_one() -> None:
    assert "key" not in json.loads(encode_envelope("id-1", "ping", TIMESTAMP, "api-1", None))


@given(payload=ANY_JSON, key=st.none() | st.text(min_size=1))
def test_what_is_written_is_read_back(payload: object, key: str | None) -> None:
    envelope = decode_envelope(encode_envelope("id-1", "any", TIMESTAMP, "api-1", payload, key=key))
    assert (envelope.id, envelope.type, envelope.timestamp, envelope.node, envelope.key) == (
        "id-1",
        "any",
        TIMESTAMP,
        "api-1",
        key,
    )
    assert msgspec.json.decode(envelope.payload) == payload


def test_the_payload_is_decoded_to_the_type_that_the_reader_expects() -> None:
    body = encode_envelope("id-1", "purchase", TIMESTAMP, "api-1", Purchase("finals", "A-1"))
    payload = decode_envelope(body).payload
    assert msgspec.json.decode(payload, type=Purchase) == Purchase("finals", "A-1")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("plain text", "malformed"),
        ("", "truncated"),
        ("[]", "Expected `object`"),
        ("{}", "missing required field `id`"),
        ('{"work": "POISON"}', "missing required field `id`"),
        ('{"id":"1","type":"t","timestamp":"","node":""}', "missing required field `payload`"),
        ('{"id":1,"type":"t","timestamp":"","node":"","payload":0}', "Expected `str`"),
        ('{"id":"","type":"t","timestamp":"","node":"","payload":0}', "length >= 1"),
        ('{"id":"1","type":"","timestamp":"","node":"","payload":0}', "length >= 1"),
        ('{"id":"1","type":"t","timestamp":"","node":"","payload":0,"key":""}', "length >= 1"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_a_body_that_is_no_envelope_is_refused_with_the_reason(body: str, reason: str) -> None:
    with pytest.raises(EnvelopeError, match="The body is not an envelope") as refusal:
        decode_envelope(body)
    assert reason in str(refusal.value)


def test_members_of_a_later_version_are_ignored() -> None:
    body = '{"id":"1","type":"t","timestamp":"","node":"","payload":{},"trace":"x"}'
    assert decode_envelope(body).type == "t"


def endless() -> list[object]:
    inside: list[object] = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize("payload", [object(), "\ud800", {1.5j: 1}, endless()])
def test_a_payload_that_json_cannot_carry_is_refused_by_its_type(payload: object) -> None:
    with pytest.raises(EnvelopeError, match="payload of a 'ping' message cannot be written"):
        encode_envelope("id-1", "ping", TIMESTAMP, "api-1", payload)


@pytest.mark.parametrize(
    ("wall_ms", "timestamp"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (999, "1970-01-01T00:00:00.999Z"),
        (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
    ],
)
def test_a_timestamp_is_utc_with_milliseconds(wall_ms: int, timestamp: str) -> None:
    assert envelope_timestamp(wall_ms) == timestamp


@given(wall_ms=st.integers(min_value=0, max_value=4_102_444_800_000))
def test_a_timestamp_reads_back_as_the_same_millisecond(wall_ms: int) -> None:
    moment = datetime.fromisoformat(envelope_timestamp(wall_ms))
    assert moment.tzinfo == UTC
    assert round(moment.timestamp() * 1000) == wall_ms
    assert envelope_at_ms(envelope_timestamp(wall_ms)) == wall_ms


@pytest.mark.parametrize(
    ("timestamp", "at_ms"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14T23:13:20.0079+01:00", 1_700_000_000_007),
        ("2023-11-14 22:13:20", 1_700_000_000_000),
        ("9999-12-31T23:59:59.999Z", AT_MS_MAX),
    ],
)
def test_the_timestamps_of_others_are_read_as_they_are_meant(timestamp: str, at_ms: int) -> None:
    assert envelope_at_ms(timestamp) == at_ms


@pytest.mark.parametrize("timestamp", ["", "now", "22:13", "1969-12-31T23:59:59.999Z", "\ud800"])
def test_what_is_no_time_is_refused(timestamp: str) -> None:
    with pytest.raises(EnvelopeError, match="The timestamp"):
        envelope_at_ms(timestamp)
