"""Fire and forget, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest

from forebay.errors import ServiceUnreachable
from forebay.messages.envelope import EnvelopeError, decode_envelope, envelope_timestamp
from forebay.producer.producer import Producer
from forebay.producer.settings import ProducerSettings
from forebay.protocol import limits
from forebay.protocol.actions import SendMessageBatchRequest, SendMessageBatchResult
from forebay.protocol.errors import ACCESS_DENIED, QUEUE_DOES_NOT_EXIST, REQUEST_THROTTLED, SqsError
from tests.runtime.producer_queue import (
    FIFO,
    STANDARD,
    Sqs,
    account,
    acknowledge,
    after,
    first,
    producer,
    raises,
    says_nothing,
)
from tests.runtime.virtual_time import LoopClock, run


def test_a_sent_message_is_an_envelope() -> None:
    async def main() -> None:
        sqs = Sqs()
        now_ms = LoopClock().wall_ms()
        async with producer(sqs) as it:
            assert it.send("usage_log", {"asset": "BTC"}, key="request-1")
        envelope = decode_envelope(sqs.batches[0][0].message_body)
        assert (envelope.type, envelope.node, envelope.key) == ("usage_log", "node-1", "request-1")
        assert envelope.timestamp == envelope_timestamp(now_ms)
        assert bytes(envelope.payload) == b'{"asset":"BTC"}'
        assert account(it.ledger) == (1, 1, 0, 0, 0)

    run(main())


def test_every_envelope_has_an_id_of_its_own() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs) as it:
            for _ in range(100):
                it.send("usage_log", None)
        ids = {decode_envelope(e.message_body).id for batch in sqs.batches for e in batch}
        assert len(ids) == 100

    run(main())


def test_a_full_batch_leaves_without_waiting_for_the_timer() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, settings=ProducerSettings(batch_size=3)) as it:
            for n in range(4):
                it.send("usage_log", n)
            await asyncio.sleep(0.001)
            assert sqs.payloads() == [["0", "1", "2"]]
            await asyncio.sleep(0.1)
            assert sqs.payloads() == [["0", "1", "2"], ["3"]]

    run(main())


def test_one_tick_drains_many_batches_at_once() -> None:
    async def main() -> None:
        sqs = Sqs(after(1.0))
        settings = ProducerSettings(concurrency=8)
        async with producer(sqs, settings=settings) as it:
            for n in range(200):
                it.send("usage_log", n)
            await asyncio.sleep(0.1)
            assert len(sqs.batches) == 8
            await asyncio.sleep(1.0)
            assert len(sqs.batches) == 16

    run(main())


def test_sending_into_a_black_hole_never_waits_and_counts_what_it_drops() -> None:
    async def main() -> None:
        it = producer(Sqs(says_nothing), settings=ProducerSettings(buffer_size=1_000))
        await it.start()
        accepted = [it.send("usage_log", n) for n in range(1_500)]
        assert accepted == [True] * 1_000 + [False] * 500
        await asyncio.sleep(60)
        assert account(it.ledger) == (1_500, 0, 500, 0, 1_000)
        assert it.ledger.dropped["full"] == 500
        assert account(await it.close(drain_timeout_s=1)) == (1_500, 0, 500, 1_000, 0)

    run(main())


def test_what_was_accepted_is_sent_however_long_sqs_is_away() -> None:
    async def main() -> None:
        sqs = Sqs(first(*[raises(ServiceUnreachable())] * 30))
        async with producer(sqs) as it:
            it.send("usage_log", "patient")
            await asyncio.sleep(60)
            assert account(it.ledger) == (1, 1, 0, 0, 0)
        assert len(sqs.batches) == 31

    run(main())


def test_a_repeated_send_is_the_same_message() -> None:
    async def main() -> None:
        sqs = Sqs(first(raises(ServiceUnreachable())))
        async with producer(sqs, FIFO) as it:
            it.send("order", 1, group_id="A")
        lost, repeated = sqs.batches
        assert lost == repeated
        assert lost[0].message_deduplication_id == decode_envelope(lost[0].message_body).id

    run(main())


def test_only_the_failed_part_of_a_batch_is_sent_again() -> None:
    async def fails_in_part(request: SendMessageBatchRequest) -> SendMessageBatchResult:
        return acknowledge(request, failed={1: False, 2: True})

    async def main() -> None:
        sqs = Sqs(first(fails_in_part))
        async with producer(sqs) as it:
            for n in range(4):
                it.send("usage_log", n)
        assert sqs.payloads() == [["0", "1", "2", "3"], ["1"]]
        assert account(it.ledger) == (4, 3, 0, 1, 0)

    run(main())


def test_a_batch_that_sqs_refuses_is_counted_as_failed() -> None:
    async def main() -> None:
        sqs = Sqs(raises(SqsError(QUEUE_DOES_NOT_EXIST)))
        async with producer(sqs) as it:
            it.send("usage_log", 1)
            it.send("usage_log", 2)
        assert account(it.ledger) == (2, 0, 0, 2, 0)
        assert len(sqs.batches) == 1

    run(main())


def test_an_unexpected_error_is_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with producer(Sqs(raises(KeyError("bug")))) as it:
            it.send("usage_log", 1)
        assert account(it.ledger) == (1, 0, 0, 1, 0)

    run(main())
    assert "unexpected error" in caplog.text


@pytest.mark.parametrize(
    ("queue_url", "payload", "group_id", "reason"),
    [
        (STANDARD, object(), None, "unencodable"),
        (STANDARD, "x" * limits.MESSAGE_BYTES_MAX, None, "too_large"),
        (STANDARD, 1, "two words", "invalid"),
        (FIFO, 1, None, "invalid"),
    ],
)
def test_what_cannot_be_sent_is_dropped_and_counted(
    queue_url: str, payload: object, group_id: str | None, reason: str
) -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, queue_url) as it:
            assert not it.send("usage_log", payload, group_id=group_id)
        assert account(it.ledger) == (1, 0, 1, 0, 0)
        assert it.ledger.dropped[reason] == 1
        assert sqs.batches == []

    run(main())


def test_what_is_sent_before_the_start_waits_for_it() -> None:
    async def main() -> None:
        sqs = Sqs()
        it = producer(sqs)
        assert it.send("usage_log", 1)
        assert account(it.ledger) == (1, 0, 0, 0, 1)
        async with it:
            pass
        assert account(it.ledger) == (1, 1, 0, 0, 0)

    run(main())


async def test_any_thread_may_send() -> None:
    sqs = Sqs()
    async with Producer(sqs, STANDARD, node="node-1", packed=()) as it:

        def send_many() -> int:
            accepted = 0
            for n in range(500):
                accepted += it.send("usage_log", n)
                account(it.ledger)
            return accepted

        assert await asyncio.gather(*[asyncio.to_thread(send_many) for _ in range(4)]) == [500] * 4
    assert account(it.ledger) == (2_000, 2_000, 0, 0, 0)
    assert sum(map(len, sqs.batches)) == 2_000


def test_a_shorter_tick_does_not_wait_for_the_longer_one_to_pass() -> None:
    async def main() -> None:
        async with producer(Sqs(), settings=ProducerSettings(flush_ms=60_000)) as it:
            it.send("usage_log", 1)
            await asyncio.sleep(1)
            assert it.ledger.delivered == 0
            it.settings = ProducerSettings(flush_ms=50)
            await asyncio.sleep(0.6)
            assert it.ledger.delivered == 1

    run(main())


def test_settings_change_live() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, settings=ProducerSettings(flush_ms=1_000, buffer_size=1)) as it:
            assert it.send("usage_log", 1)
            assert not it.send("usage_log", 2)
            it.settings = ProducerSettings(batch_size=2, flush_ms=50, buffer_size=100)
            for n in range(3, 7):
                assert it.send("usage_log", n)
            await asyncio.sleep(1)
            assert sqs.payloads() == [["1", "3"], ["4", "5"], ["6"]]
            it.send("usage_log", 7)
            await asyncio.sleep(0.06)
            assert sqs.payloads()[-1] == ["7"]
        assert it.ledger.dropped["full"] == 1

    run(main())


def test_a_missing_queue_is_told_once_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        sqs = Sqs(raises(SqsError(QUEUE_DOES_NOT_EXIST)))
        async with producer(sqs) as it:
            for n in range(5):
                assert it.send("usage_log", n)
                await asyncio.sleep(1)
            assert account(it.ledger) == (5, 0, 0, 5, 0)

    run(main())
    record, closing = caplog.records
    assert "is closed and has lost envelopes" in closing.getMessage()
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith(
        f"There is no queue {STANDARD}: what is sent to it is lost."
        f" Create it with `forebay create {STANDARD.rpartition('/')[2]}`"
    )


def test_what_is_refused_for_good_is_told_once_unless_somebody_awaits_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    denied = SqsError(ACCESS_DENIED, "Not you.")

    async def main() -> None:
        async with producer(Sqs(raises(denied))) as it:
            with pytest.raises(SqsError):
                await it.publish("usage_log", 1)
            assert caplog.records == []
            for n in range(3):
                it.send("usage_log", n)
                await asyncio.sleep(1)

    run(main())
    record, closing = caplog.records
    assert "is closed and has lost envelopes" in closing.getMessage()
    assert record.getMessage() == f"Messages to {STANDARD} are refused and lost: {denied}"


def test_an_outage_and_its_end_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        sqs = Sqs(first(*[raises(ServiceUnreachable("It is away."))] * 6))
        async with producer(sqs) as it:
            it.send("usage_log", "patient")
            await asyncio.sleep(30)
            it.send("usage_log", "later")

    with caplog.at_level(logging.INFO, "forebay.producer"):
        run(main())
    assert [record.getMessage() for record in caplog.records] == [
        f"Sending to {STANDARD} fails, will go on trying: It is away.",
        f"Sending to {STANDARD} works again.",
    ]


def test_troubles_that_take_turns_are_told_once_each(caplog: pytest.LogCaptureFixture) -> None:
    away = raises(ServiceUnreachable("It is away."))
    throttled = raises(SqsError(REQUEST_THROTTLED, "Slow down."))

    async def main() -> None:
        async with producer(Sqs(first(*[away, throttled] * 5))) as it:
            it.send("usage_log", 1)
            await asyncio.sleep(30)

    run(main())
    assert len(caplog.records) == 2


@pytest.mark.parametrize(("type_", "key"), [("", None), ("order", ""), (None, None), ("order", 5)])
def test_what_a_worker_would_refuse_is_refused_at_once(type_: Any, key: Any) -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs) as it:
            assert not it.send(type_, 1, key=key)
            member = "key" if key is not None else "type"
            with pytest.raises(
                EnvelopeError, match=f"The {member} of a message is .*; it must be a text"
            ):
                await it.publish(type_, 1, key=key)
            assert it.ledger.dropped["unencodable"] == 2
            assert account(it.ledger) == (2, 0, 2, 0, 0)
        assert sqs.batches == []

    run(main())


@pytest.mark.parametrize("payload", [7, "é\n", {"a": [1, None]}, [], "x" * 5_000])
def test_a_message_that_is_made_by_the_loop_is_the_envelope_that_would_be_made_at_once(
    payload: object,
) -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs) as it:
            assert it.send("click \N{SNOWMAN}", payload)
            assert it.send("click \N{SNOWMAN}", payload, group_id="made-at-once")
        [batch] = sqs.batches
        made, at_once = (decode_envelope(entry.message_body) for entry in batch)
        assert msgspec.structs.replace(made, id="") == msgspec.structs.replace(at_once, id="")
        assert made.id != at_once.id

    run(main())


def test_more_types_than_are_made_from_records_are_sent_all_the_same() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs) as it:
            for n in range(150):
                assert it.send(f"type-{n}", n)
                assert it.send(f"type-{n}", n)
        assert sorted(sqs.events(), key=str) == sorted([*range(150)] * 2, key=str)
        assert account(it.ledger) == (300, 300, 0, 0, 0)

    run(main())
