"""What a body is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.protocol.actions import MessageAttributeValue
from forebay.worker.codecs import (
    ENVELOPE,
    ENVELOPE_OR_RAW,
    JSON,
    SNS,
    TEXT,
    Codec,
    Unreadable,
)
from tests.runtime.worker_messages import envelope, message

ENVELOPED = envelope("order", {"seat": 1}, identifier="e-1")


def notification(text: str, **attributes: dict[str, str]) -> str:
    """As SNS writes it. Source: the developer guide, "HTTP/HTTPS notification JSON format"."""
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": "arn:aws:sns:us-west-2:123456789012:MyTopic",
            "Subject": "My First Message",
            "Message": text,
            "Timestamp": "2012-05-02T00:54:06.655Z",
            "SignatureVersion": "1",
            "Signature": "EXAMPLEw6JRN...",
            "SigningCertURL": "https://sns.us-west-2.amazonaws.com/SimpleNotificationService.pem",
            "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
            **({"MessageAttributes": attributes} if attributes else {}),
        },
        indent=2,
    )


def read(codec: Codec, body: str) -> tuple[str, str | None, str | None]:
    """The text, its JSON, and the id in its envelope."""
    parcel = codec(message(body=body))
    payload = (
        None
        if parcel.json is None
        else bytes(parcel.json, "utf-8").decode()
        if isinstance(parcel.json, str)
        else bytes(parcel.json).decode()
    )
    return parcel.text, payload, None if parcel.envelope is None else parcel.envelope.id


LOOKS_LIKE_ONE = '{"Type": "Notification", "Message": 5}'


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (ENVELOPED, (ENVELOPED, '{"seat":1}', "e-1")),
        ('{"seat": 1}', ('{"seat": 1}', '{"seat": 1}', None)),
        ("[1, 2]", ("[1, 2]", "[1, 2]", None)),
        ("17", ("17", "17", None)),
        ("hello", ("hello", None, None)),
        ('{"seat": 1', ('{"seat": 1', None, None)),
        ("\ud800", ("\ud800", None, None)),
        ("[" * 100_000, ("[" * 100_000, None, None)),
        (notification(ENVELOPED), (ENVELOPED, '{"seat":1}', "e-1")),
        (notification('{"seat": 1}'), ('{"seat": 1}', '{"seat": 1}', None)),
        (notification("hello"), ("hello", None, None)),
        (LOOKS_LIKE_ONE, (LOOKS_LIKE_ONE, LOOKS_LIKE_ONE, None)),
    ],
    ids=range(12),
)
def test_the_default_reads_whatever_it_is(
    body: str, found: tuple[str, str | None, str | None]
) -> None:
    assert read(ENVELOPE_OR_RAW, body) == found


@pytest.mark.parametrize(
    ("codec", "body", "found"),
    [
        (ENVELOPE, ENVELOPED, (ENVELOPED, '{"seat":1}', "e-1")),
        (JSON, ENVELOPED, (ENVELOPED, ENVELOPED, None)),
        (JSON, notification("hello"), (notification("hello"), notification("hello"), None)),
        (SNS, notification(ENVELOPED), (ENVELOPED, '{"seat":1}', "e-1")),
        (SNS, notification("hello"), ("hello", None, None)),
        (TEXT, ENVELOPED, (ENVELOPED, None, None)),
        (TEXT, notification("hello"), (notification("hello"), None, None)),
    ],
    ids=range(7),
)
def test_a_fixed_codec_reads_one_thing_only(
    codec: Codec, body: str, found: tuple[str, str | None, str | None]
) -> None:
    assert read(codec, body) == found


@pytest.mark.parametrize(
    ("codec", "body", "problem"),
    [
        (ENVELOPE, '{"seat": 1}', "The body is not an envelope: .*`id`"),
        (ENVELOPE, notification(ENVELOPED), "The body is not an envelope"),
        (JSON, "hello", "The body is not JSON"),
        (SNS, ENVELOPED, "not an SNS notification.*raw message delivery.*ENVELOPE_OR_RAW"),
        (SNS, "hello", "not an SNS notification"),
    ],
)
def test_a_fixed_codec_says_what_it_cannot_read(codec: Codec, body: str, problem: str) -> None:
    with pytest.raises(Unreadable, match=problem):
        codec(message(body=body))


def test_the_attributes_of_a_notification_are_in_its_body() -> None:
    body = notification(
        "hello",
        city={"Type": "String", "Value": "Basel"},
        tries={"Type": "Number", "Value": "3"},
        tags={"Type": "String.Array", "Value": '["a", "b"]'},
        blob={"Type": "Binary", "Value": "AAEC"},
        broken={"Type": "Binary", "Value": "A$"},
    )
    assert ENVELOPE_OR_RAW(message(body=body)).attributes == {
        "city": MessageAttributeValue(data_type="String", string_value="Basel"),
        "tries": MessageAttributeValue(data_type="Number", string_value="3"),
        "tags": MessageAttributeValue(data_type="String.Array", string_value='["a", "b"]'),
        "blob": MessageAttributeValue(data_type="Binary", binary_value=b"\x00\x01\x02"),
        "broken": MessageAttributeValue(data_type="Binary", string_value="A$"),
    }
    assert ENVELOPE_OR_RAW(message(body=notification("hello"))).attributes is None


@given(st.text(min_size=1) | st.recursive(st.none(), st.lists).map(json.dumps))
def test_no_body_is_too_strange_for_the_default(body: str) -> None:
    assert ENVELOPE_OR_RAW(message(body=body)).text == body
