"""The acknowledged face, and the order inside a message group, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from forebay.client.retry import NO_RETRY
from forebay.errors import BufferFull, Closed, ForebayError, ServiceUnreachable
from forebay.messages.envelope import EnvelopeError, decode_envelope
from forebay.producer.producer import Published
from forebay.producer.settings import ProducerSettings
from forebay.protocol.actions import SendMessageBatchRequest, SendMessageBatchResult
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SERVICE_UNAVAILABLE, SqsError
from tests.runtime.producer_queue import (
    FIFO,
    Sqs,
    account,
    acknowledge,
    after,
    first,
    producer,
    raises,
    says_nothing,
    works,
)
from tests.runtime.virtual_time import run


def test_a_published_message_is_acknowledged_without_waiting_for_the_timer() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sqs = Sqs()
        async with producer(sqs) as it:
            began_s = loop.time()
            published = await it.publish("order", {"seat": "A-1"})
            assert loop.time() == began_s
        body = sqs.batches[0][0].message_body
        assert published == Published(decode_envelope(body).id, f"m-{body}", None)
        assert account(it.ledger) == (1, 1, 0, 0, 0)

    run(main())


def test_publishers_at_the_same_moment_share_batches() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs) as it:
            await asyncio.gather(*[it.publish("order", n) for n in range(25)])
        assert [len(batch) for batch in sqs.batches] == [10, 10, 5]

    run(main())


def test_batches_fill_while_every_call_is_taken() -> None:
    async def main() -> None:
        sqs = Sqs(after(1.0))
        async with producer(sqs, settings=ProducerSettings(concurrency=1)) as it:
            publishing = []
            for n in range(8):
                publishing.append(asyncio.create_task(it.publish("order", n)))
                await asyncio.sleep(0.01)
            await asyncio.gather(*publishing)
        assert [len(batch) for batch in sqs.batches] == [1, 7]

    run(main())


def test_a_publisher_hears_why_sqs_refused() -> None:
    async def main() -> None:
        async with producer(Sqs(raises(SqsError(QUEUE_DOES_NOT_EXIST)))) as it:
            with pytest.raises(SqsError, match="NonExistentQueue"):
                await it.publish("order", 1)
        assert account(it.ledger) == (1, 0, 0, 1, 0)

    run(main())


AWAY = ServiceUnreachable("It is away.")
UNAVAILABLE = SqsError(SERVICE_UNAVAILABLE, "It is away.")


def test_a_publisher_hears_that_sqs_is_away_while_the_others_wait_on() -> None:
    async def main() -> None:
        sqs = Sqs(raises(AWAY))
        async with producer(sqs) as it:
            it.send("usage_log", "patient")
            with pytest.raises(ServiceUnreachable):
                await it.publish("usage_log", "urgent")
            sqs.script(works)
        assert sqs.payloads()[0] == ['"patient"', '"urgent"']
        assert sqs.payloads()[-1] == ['"patient"']
        assert account(it.ledger) == (2, 1, 0, 1, 0)

    run(main())


@pytest.mark.parametrize("error", [AWAY, UNAVAILABLE], ids=repr)
def test_a_publisher_waits_out_a_short_failure(error: ForebayError) -> None:
    async def main() -> None:
        sqs = Sqs(first(*[raises(error)] * 3))
        async with producer(sqs) as it:
            await it.publish("order", 1)
        assert len(sqs.batches) == 4

    run(main())


@pytest.mark.parametrize("error", [AWAY, UNAVAILABLE], ids=repr)
def test_a_publisher_gives_up_after_the_deadline_of_the_policy(error: ForebayError) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with producer(Sqs(raises(error))) as it:
            began_s = loop.time()
            with pytest.raises(type(error), match="It is away"):
                await it.publish("order", 1)
            assert 5 <= loop.time() - began_s < 6

    run(main())


def test_the_producer_tries_again_itself_and_lets_the_client_try_once() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs) as it:
            await it.publish("order", 1)
        assert sqs.retries == [NO_RETRY]

    run(main())


def test_a_publisher_is_told_at_once_what_cannot_be_accepted() -> None:
    async def main() -> None:
        async with producer(
            Sqs(says_nothing), FIFO, settings=ProducerSettings(buffer_size=1)
        ) as it:
            with pytest.raises(EnvelopeError):
                await it.publish("order", object(), group_id="A")
            with pytest.raises(SqsError, match="MissingParameter"):
                await it.publish("order", 1)
            it.send("order", 1, group_id="A")
            with pytest.raises(BufferFull):
                await it.publish("order", 2, group_id="A")
            assert account(it.ledger) == (4, 0, 3, 0, 1)

    run(main())


def test_publishing_needs_a_started_producer() -> None:
    async def main() -> None:
        with pytest.raises(Closed, match="not started"):
            await producer(Sqs()).publish("order", 1)

    run(main())


def test_a_cancelled_publisher_leaves_its_message_to_the_producer() -> None:
    async def main() -> None:
        sqs = Sqs(after(1.0))
        async with producer(sqs) as it:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await it.publish("order", 1)
            assert account(it.ledger) == (1, 0, 0, 0, 1)
        assert account(it.ledger) == (1, 1, 0, 0, 0)

    run(main())


def test_a_group_has_one_batch_under_way_and_keeps_its_order() -> None:
    async def main() -> None:
        sqs = Sqs(after(1.0))
        async with producer(sqs, FIFO, ProducerSettings(batch_size=2)) as it:
            for n in range(1, 6):
                it.send("order", f"A{n}", group_id="A")
            it.send("order", "B1", group_id="B")
            await asyncio.sleep(0.5)
            assert sqs.payloads() == [['"A1"', '"A2"'], ['"B1"']]
            await asyncio.sleep(1)
            assert sqs.payloads()[2:] == [['"A3"', '"A4"']]

    run(main())


def test_a_group_waits_while_its_batch_is_sent_again_and_others_go_on() -> None:
    async def fails_in_part(request: SendMessageBatchRequest) -> SendMessageBatchResult:
        return acknowledge(request, failed={0: False})

    async def main() -> None:
        sqs = Sqs(first(fails_in_part))
        async with producer(sqs, FIFO) as it:
            it.send("order", "A1", group_id="A")
            it.send("order", "B1", group_id="B")
            await asyncio.sleep(0.11)
            it.send("order", "A2", group_id="A")
            await it.publish("order", "B2", group_id="B")
            assert sqs.payloads() == [['"A1"', '"B1"'], ['"B2"']]
        assert sqs.payloads()[2:] == [['"A1"'], ['"A2"']]

    run(main())


def test_a_deduplication_id_of_the_caller_is_kept() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, FIFO) as it:
            await it.publish("order", 1, group_id="A", deduplication_id="order-1")
        entry = sqs.batches[0][0]
        assert (entry.message_group_id, entry.message_deduplication_id) == ("A", "order-1")

    run(main())


def test_a_body_is_sent_as_it_is_with_the_messages_of_the_same_moment() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs) as it:
            _, published = await asyncio.gather(
                it.publish("order", 1),
                it.publish_body('{"id":"a"}', delay_s=5, attributes={"kind": "vip"}),
            )
        (batch,) = sqs.batches
        assert batch[1].message_body == '{"id":"a"}'
        assert batch[1].delay_seconds == 5
        assert list(batch[1].message_attributes or ()) == ["kind"]
        assert published.message_id == 'm-{"id":"a"}'
        assert account(it.ledger) == (2, 2, 0, 0, 0)

    run(main())


@pytest.mark.parametrize("given", [None, "mine"])
def test_a_body_to_a_fifo_queue_has_a_deduplication_id(given: str | None) -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, FIFO) as it:
            published = await it.publish_body("a", group_id="g", deduplication_id=given)
        (entry,) = sqs.batches[0]
        assert entry.message_deduplication_id == (given or published.envelope_id)
        assert entry.message_group_id == "g"

    run(main())


@pytest.mark.parametrize(
    ("body", "says"),
    [("", "The body is empty"), ("\ud800", "no text in UTF-8"), ("x" * 2**21, "must be shorter")],
)
def test_a_body_that_sqs_would_refuse_is_refused(body: str, says: str) -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs) as it:
            with pytest.raises(SqsError, match=says):
                await it.publish_body(body)
        assert sqs.batches == []
        assert it.ledger.offered == sum(it.ledger.dropped.values()) == 1

    run(main())
