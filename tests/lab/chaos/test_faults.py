"""What the proxy does to its clients, over the wire, and what its ledger says of it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from forebay.clock import ManualClock
from forebay.errors import ServiceUnreachable
from forebay.fault_injection import FaultRates, SeededFaults
from forebay.lab.chaos.ledger import QueueFigures
from forebay.protocol.actions import ListQueuesRequest, PurgeQueueRequest
from forebay.protocol.errors import REQUEST_THROTTLED, SqsError
from tests.lab.chaos.proxied import Proxied, apart, proxied

#: Faults that let a client go on.
BEARABLE = FaultRates(seed=3, duplicate=0.3, reorder=0.5, latency_ms=0.1, late=0.2)


async def work_off(chaos: Proxied, url: str) -> list[str]:
    """Receive until nothing comes, deleting what came; the bodies in that order."""
    bodies: list[str] = []
    while messages := await chaos.sqs.receive(url):
        for message in messages:
            bodies.append(message.body)
            await chaos.sqs.delete(url, message)
    return bodies


async def test_a_message_comes_twice_although_it_was_deleted() -> None:
    async with proxied(FaultRates(duplicate=1)) as chaos:
        url = (await chaos.sqs.create_queue("jobs")).queue_url
        await chaos.sqs.send(url, "a")
        assert await work_off(chaos, url) == ["a", "a"]
        figures = chaos.figures
        assert (figures.sent, figures.delivered, figures.deliveries) == (1, 1, 2)
        assert (figures.doubled, figures.deleted) == (1, 1)
        assert len(figures.deleted_twice) == len(figures.came_after_deletion) == 1
        assert figures.never_deleted == []


async def test_boto3_tries_again_when_a_reply_was_lost() -> None:
    async with proxied(FaultRates(seed=4, lose_reply=0.4)) as chaos:
        await chaos.behind.create_queue("jobs")
        sqs = chaos.boto3(attempts=10)
        for number in range(10):
            await apart(sqs.send_message, QueueUrl="jobs", MessageBody=str(number))
        sqs.close()
        # A send whose reply was lost was carried out, and so was the one after it.
        lost = chaos.figures.send_replies_lost
        assert lost > 0
        assert chaos.figures.sent == 10 + lost
        assert len(chaos.figures.never_delivered) == 10 + lost


async def test_a_lost_reply_to_a_receive_is_no_delivery() -> None:
    async with proxied(FaultRates(lose_reply=1)) as chaos:
        await chaos.behind.create_queue("jobs")
        await chaos.behind.send("jobs", "a")
        with pytest.raises(ServiceUnreachable):
            await chaos.sqs.receive(f"{chaos.url}/000000000000/jobs")
        assert chaos.figures.receive_replies_lost == 1
        assert chaos.figures.delivered == 0
        assert await chaos.behind.receive("jobs") == []


async def test_throttled_calls_are_counted_and_not_carried_out() -> None:
    async with proxied(FaultRates(calls_per_second=1), ManualClock()) as chaos:
        url = f"{chaos.url}/000000000000/jobs"
        await chaos.behind.create_queue("jobs")
        await chaos.sqs.send(url, "a")
        for _ in range(2):
            with pytest.raises(SqsError) as refused:
                await chaos.sqs.send(url, "b")
            assert refused.value.fault == REQUEST_THROTTLED
        assert (chaos.figures.sent, chaos.figures.throttled) == (1, 2)
        assert [message.body for message in await chaos.behind.receive("jobs")] == ["a"]


async def test_a_fifo_queue_stays_in_order_and_delivers_once() -> None:
    async with proxied(FaultRates(duplicate=1, reorder=1)) as chaos:
        created = await chaos.sqs.create_queue("orders.fifo", ContentBasedDeduplication=True)
        for number in range(10):
            await chaos.sqs.send(created.queue_url, str(number), group_id="g")
        assert await work_off(chaos, created.queue_url) == [str(number) for number in range(10)]


async def test_a_purge_takes_what_comes_soon_after_it() -> None:
    async with proxied(FaultRates(purge_loses=1)) as chaos:
        url = (await chaos.sqs.create_queue("jobs")).queue_url
        await chaos.sqs.purge_queue(PurgeQueueRequest(queue_url=url))
        lost = await chaos.sqs.send(url, "a")
        assert await work_off(chaos, url) == []
        assert chaos.figures.purged == [lost]
        assert chaos.figures.never_delivered == []
        attributes = await chaos.behind.receive("jobs")
        assert attributes == []


async def test_a_partition_resets_what_is_under_way_and_what_comes() -> None:
    rates = FaultRates(partition_every_s=60, partition_for_s=10)
    clock = ManualClock()
    begins_ms, ends_ms = SeededFaults(rates).partition(0) or (0, 0)
    async with proxied(rates, clock) as chaos:
        url = (await chaos.sqs.create_queue("jobs")).queue_url
        poll = asyncio.create_task(chaos.sqs.receive(url, wait_s=20))
        while not chaos.polls:  # noqa: ASYNC110 - the broker tells nobody that a poll waits
            await asyncio.sleep(0)
        clock.advance(begins_ms)
        with pytest.raises(ServiceUnreachable):
            await poll
        with pytest.raises(ServiceUnreachable):
            await chaos.sqs.send(url, "a")
        assert chaos.figures.cut > 0
        clock.advance(ends_ms - begins_ms)
        await chaos.sqs.send(url, "a")
        assert [message.body for message in await chaos.sqs.receive(url)] == ["a"]
        assert chaos.figures.sent == 1


@pytest.mark.parametrize(
    ("rates", "as_before"),
    [(BEARABLE, True), (msgspec.structs.replace(BEARABLE, seed=4), False)],
)
async def test_a_seed_replays(rates: FaultRates, as_before: bool) -> None:
    async def run(rates: FaultRates) -> tuple[list[str], dict[str, Any]]:
        async with proxied(rates) as chaos:
            url = (await chaos.sqs.create_queue("jobs")).queue_url
            for number in range(50):
                await chaos.sqs.send(url, str(number))
            bodies = await work_off(chaos, url)
            counts = {
                name: len(value) if isinstance(value, list) else value
                for name, value in msgspec.to_builtins(chaos.figures).items()
            }
            return bodies, counts | dict(chaos.ledger.deeds)

    first = await run(BEARABLE)
    assert sorted(set(first[0]), key=int) == [str(number) for number in range(50)]
    assert len(first[0]) == 50 + first[1]["doubled"] > 50
    assert (await run(rates) == first) is as_before


async def test_calls_that_name_no_queue_are_counted_as_well() -> None:
    async with proxied(FaultRates(throttle=1)) as chaos:
        with pytest.raises(SqsError):
            await chaos.sqs.list_queues(ListQueuesRequest())
        assert chaos.ledger.figures() == {}
        assert dict(chaos.ledger.fates) == {"throttled": 1}


async def test_queues_of_one_name_have_books_of_their_own() -> None:
    async with proxied() as chaos:
        for region in ("eu-west-1", "us-west-2"):
            sqs = chaos.boto3(region)
            url = (await apart(sqs.create_queue, QueueName="jobs"))["QueueUrl"]
            await apart(sqs.send_message, QueueUrl=url, MessageBody="a")
            sqs.close()
        books = chaos.ledger.figures()
        assert list(books) == ["eu-west-1/000000000000/jobs", "us-west-2/000000000000/jobs"]
        assert all(isinstance(figures, QueueFigures) for figures in books.values())
        assert [figures.sent for figures in books.values()] == [1, 1]
