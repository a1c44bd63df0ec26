"""What no message should be is refused by name, and takes nothing else with it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import Raw

from forebay import BackgroundProducer
from forebay.errors import ServiceUnreachable, SettingsError
from forebay.messages.envelope import EnvelopeError
from forebay.producer import Producer, ProducerSettings, WhenFull
from forebay.producer.entry import Entry, decode_entry, encode_entry
from forebay.protocol.actions import SendMessageBatchRequest, SendMessageBatchResult
from forebay.protocol.errors import (
    BATCH_REQUEST_TOO_LONG,
    INVALID_PARAMETER_VALUE,
    MALFORMED_INPUT,
    Fault,
    SqsError,
)
from tests.runtime.producer_queue import FIFO, Answer, Sqs, account, acknowledge, producer
from tests.runtime.virtual_time import run


def refuses_whole(fault: Fault, word: str = "bad") -> Answer:
    """A queue that refuses every batch in which one message has the word."""

    async def answer(request: SendMessageBatchRequest) -> SendMessageBatchResult:
        if any(word in entry.message_body for entry in request.entries):
            raise SqsError(fault, "One of them is bad.")
        return acknowledge(request)

    return answer


@pytest.mark.parametrize("spilling", [False, True])
@pytest.mark.parametrize(
    "fault", [INVALID_PARAMETER_VALUE, MALFORMED_INPUT, BATCH_REQUEST_TOO_LONG]
)
def test_a_batch_that_is_refused_for_one_message_loses_that_one_alone(
    tmp_path: Path, fault: Fault, *, spilling: bool
) -> None:
    async def main() -> None:
        sqs = Sqs(refuses_whole(fault))
        settings = ProducerSettings(when_full=WhenFull.SPILL if spilling else WhenFull.DROP)
        async with producer(sqs, settings=settings, spill=tmp_path if spilling else None) as it:
            for payload in (1, 2, "bad", 3):
                assert it.send("click", payload)
            assert await it.flush(5)
            assert account(it.ledger) == (4, 3, 0, 1, 0)
            assert it.ledger.spilled == 0
        assert len(sqs.batches) == 5

    run(main())


def test_a_batch_that_is_sent_one_by_one_keeps_the_order_of_its_group() -> None:
    async def main() -> None:
        bad = refuses_whole(INVALID_PARAMETER_VALUE)
        away = ["2"]

        async def answer(request: SendMessageBatchRequest) -> SendMessageBatchResult:
            result = await bad(request)
            if any('"payload":2' in entry.message_body for entry in request.entries) and away:
                away.pop()
                raise ServiceUnreachable
            return result

        sqs = Sqs(answer)
        async with producer(sqs, FIFO) as it:
            for payload in (1, "bad", 2, 3):
                it.send("click", payload, group_id="g")
            assert await it.flush(5)
            assert account(it.ledger) == (4, 3, 0, 1, 0)
        assert [each for each in sqs.payloads() if '"bad"' not in each] == [
            ["1"],
            ["2"],
            ["2", "3"],
        ]

    run(main())


@pytest.mark.parametrize("raw", [b'"\xff"', b"{", b"", b"1],[5,2", b'"\x00"'])
@pytest.mark.parametrize("packed", [(), ("click",)])
def test_a_raw_that_is_no_json_is_dropped_and_nothing_beside_it(
    raw: bytes, packed: tuple[str, ...]
) -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, packed=packed) as it:
            for payload in (1, Raw(raw), 3):
                it.send("click", payload)
            await it.flush(5)
            assert it.ledger.dropped["unencodable"] == 1
            assert account(it.ledger) == (3, 2, 1, 0, 0)
            with pytest.raises(EnvelopeError, match="cannot be written as JSON"):
                await it.publish("click", Raw(raw))
        assert sqs.events() == [1, 3]

    run(main())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"delay_s": 1.5}, r"The delay_s is 1\.5; it must be a whole number from 0 to 900"),
        ({"delay_s": True}, "The delay_s is True; it must be a whole number"),
        ({"delay_s": "5"}, "The delay_s is '5'; it must be a whole number"),
        ({"delay_s": 901}, "The delay_s is 901; it must be a whole number from 0 to 900"),
        ({"attributes": {"a": None}}, "The attribute 'a' is None; it must be a text, a number or"),
        ({"attributes": {"a": True}}, "The attribute 'a' is True; it must be a text, a number or"),
        ({"attributes": {"a": float("nan")}}, "The attribute 'a' is nan; it must be"),
        ({"attributes": {"a": "\ud800"}}, "The attribute 'a' is .*; it must be"),
        ({"attributes": {5: "a"}}, "The name of an attribute is 5; it must be a text"),
        ({"attributes": [1]}, r"The attributes are \[1\]; they must be a mapping"),
        ({"attributes": {"forebay.pack": b"a"}}, "makes a message a pack; give it another name"),
    ],
)
def test_what_publish_is_given_beside_the_payload_is_refused_by_name(
    given: dict[str, Any], said: str
) -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs) as it:
            with pytest.raises(SqsError, match=said):
                await it.publish("order", 1, **given)
            assert it.ledger.dropped["invalid"] == 1
            assert account(it.ledger) == (1, 0, 1, 0, 0)
        assert sqs.batches == []

    run(main())


@pytest.mark.parametrize("type_", ["", "x" * 257, "a\0b", "\ud800", "\uffff", 5, None, ["x"]])
def test_a_type_is_a_short_printable_text(type_: Any) -> None:
    async def main() -> None:
        async with producer(Sqs()) as it:
            assert not it.send(type_, 1)
            with pytest.raises(EnvelopeError, match=r"The type .* 1 to 256 printable characters"):
                await it.publish(type_, 1)
            assert it.send("x" * 256, 1)
            assert it.ledger.dropped["unencodable"] == 2

    run(main())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"node": "n" * 257}, "The node .* 1 to 256 printable characters"),
        ({"node": ""}, "The node .* is ''; it must be a text of 1 to 256 printable characters"),
        ({"node": 5}, "The node .* is 5"),
        ({"packed": ("x" * 257,)}, "The type .* 1 to 256 printable characters"),
        ({"packed": ("",)}, "The type .* is ''"),
        (
            {"packed": "usage_log"},
            r'are \'usage_log\'; name them in a tuple, as in packed=\("usage',
        ),
        ({"packed": None}, r"are None; name them in a tuple, .* or none with packed=\(\)"),
        (
            {"queue": ""},
            "The queue of a producer is ''; it must be a URL, an ARN, or a name of 1 to",
        ),
        ({"queue": None}, "The queue of a producer is None"),
        ({"queue": "two words"}, "The queue of a producer is 'two words'"),
        ({"queue": "x" * 81}, "a name of 1 to 80 letters"),
        ({"settings": {"batch_size": 1}}, r"The settings .* are .*; they must be ProducerSettings"),
        ({"settings": 0}, "The settings .* are 0; they must be ProducerSettings"),
        ({"on_lost": 5}, "on_lost is 5; it must be a function"),
        ({"on_lost": asyncio.sleep}, "on_lost is <function sleep .*; .* that is not async"),
        ({"spill": ""}, "The spill of a producer is ''; it must be the path of a directory"),
        ({"spill": "a\0b"}, "The spill of a producer is .*; it must be the path"),
        ({"spill": 5}, "The spill of a producer is 5; it must be the path"),
        ({"queue": "arn:aws:sqs"}, "The queue of a producer is 'arn:aws:sqs'"),
    ],
)
def test_a_producer_is_not_made_with_names_that_nothing_has(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        Producer(Sqs(), **{"queue": "clicks", **given})


def test_what_is_no_number_is_no_time_to_close() -> None:
    with pytest.raises(SettingsError, match="close_timeout_s is '5'; it must be a number"):
        BackgroundProducer("clicks", close_timeout_s=cast("Any", "5"))

    async def main() -> None:
        five: Any = "5"
        async with producer(Sqs()) as it:
            assert it.send("click", 1)
            with pytest.raises(SettingsError, match="timeout_s is '5'; it must be a number"):
                await it.flush(five)
            with pytest.raises(SettingsError, match="timeout_s is '5'; it must be a number"):
                await it.close(five)
        assert account(it.ledger) == (1, 1, 0, 0, 0)

    run(main())


def test_a_spilled_message_that_is_no_text_is_told_from_one() -> None:
    with pytest.raises(EnvelopeError, match="A spilled message cannot be read"):
        decode_entry(encode_entry(Entry("1", b"\xff")))
