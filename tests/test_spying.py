"""Waiting in a test for what happens to messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from forebay import Received, Reject, Router, Worker, WorkerSettings
from forebay.broker.broker import Broker
from forebay.errors import Closed, SettingsError
from forebay.protocol.actions import (
    ChangeMessageVisibilityRequest,
    CreateQueueRequest,
    DeleteMessageRequest,
    DeleteQueueRequest,
    Message,
    PurgeQueueRequest,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageRequest,
    StartMessageMoveTaskRequest,
)
from forebay.testing import BrokerForTests, NotAsExpected, Pending, SeenMessage


@pytest.fixture
def broker() -> Iterator[BrokerForTests]:
    with BrokerForTests(virtual_clock=True) as broker:
        yield broker


def receive(broker: BrokerForTests, url: str, timeout_s: int | None = None) -> Message:
    request = ReceiveMessageRequest(queue_url=url, visibility_timeout=timeout_s)
    (message,) = cast("ReceiveMessageResult", broker.call(request)).messages or []
    return message


def take(broker: BrokerForTests, url: str) -> None:
    """Receive a message and delete it."""
    handle = receive(broker, url).receipt_handle
    assert handle is not None
    broker.call(DeleteMessageRequest(queue_url=url, receipt_handle=handle))


def refusal(pending: Pending[Any]) -> str:
    with pytest.raises(NotAsExpected) as raised:
        pending.result()
    return str(raised.value)


def test_what_happened_before_is_seen_at_once(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    sent = broker.send(url, "A-12")
    take(broker, url)
    seen = broker.wait_for(url, status="deleted", body="A-12", within_s=0).result()
    assert seen == SeenMessage("orders", "deleted", sent, "A-12", 1)


def test_what_happens_later_ends_the_wait(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    deleted = broker.wait_for("orders", status="deleted", within_s=60)
    assert not deleted.future.done()
    sent = broker.send("orders", "A-12")
    with ThreadPoolExecutor() as threads:
        threads.submit(take, broker, url)
        assert deleted.result().message_id == sent


async def test_coroutines_await_it_and_go_on_meanwhile(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    first = asyncio.ensure_future(_wait(broker, "first"))
    both = asyncio.gather(first, broker.wait_for(url, status="sent", body="second", within_s=60))
    await asyncio.sleep(0)
    broker.send(url, "second")
    broker.send(url, "first")
    assert [seen.body for seen in await both] == ["first", "second"]


async def _wait(broker: BrokerForTests, body: str) -> SeenMessage:
    return await broker.wait_for("orders", status="sent", body=body, within_s=60)


async def test_a_coroutine_that_would_stop_its_loop_is_told_so(broker: BrokerForTests) -> None:
    broker.create_queue("orders")
    with pytest.raises(SettingsError, match="Await it"):
        broker.wait_for("orders", status="sent", within_s=60).result()


async def test_a_wait_that_is_cancelled_troubles_nobody(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(broker.wait_for(url, status="sent", within_s=60), 0)
    broker.send(url, "A-12")
    assert (await broker.wait_for(url, status="sent")).body == "A-12"


def test_receives_are_counted_and_changes_of_visibility_are_none(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    broker.send(url, "A-12")
    handle = receive(broker, url, timeout_s=30).receipt_handle
    assert handle is not None
    broker.call(
        ChangeMessageVisibilityRequest(queue_url=url, receipt_handle=handle, visibility_timeout=0)
    )
    receive(broker, url)
    assert "sent, received 2 times" in refusal(broker.wait_for(url, status="deleted", within_s=0))


def test_a_dead_letter_leaves_one_queue_and_comes_into_the_other(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders", dead_letter_queue="dead", max_receive_count=2)
    sent = broker.send(url, "A-12")
    for _ in range(2):
        receive(broker, url, timeout_s=0)
    broker.call(ReceiveMessageRequest(queue_url=url))
    left = broker.wait_for(url, status="dead_lettered").result()
    came = broker.wait_for("dead", status="sent").result()
    assert (left.message_id, left.receive_count) == (sent, 2)
    assert came.message_id == sent
    broker.expect_none(url, status="deleted", within_s=0).result()


async def test_a_message_that_a_worker_rejects_is_a_dead_letter(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders", dead_letter_queue="dead")
    router = Router()

    @router.default
    async def refuse(received: Received[str]) -> None:
        raise Reject("sold out")

    async with broker.client() as sqs:
        worker = Worker(sqs, url, router, settings=WorkerSettings(wait_s=0))
        running = asyncio.create_task(worker.run())
        rejected = broker.send(url, "A-12")
        seen = await broker.wait_for(url, status="dead_lettered")
        worker.stop()
        await running
    assert seen.message_id == rejected
    assert (await broker.wait_for("dead", status="sent")).body == "A-12"


def test_a_move_task_moves(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders", dead_letter_queue="dead", max_receive_count=1)
    broker.send(url, "A-12")
    receive(broker, url, timeout_s=0)
    broker.call(ReceiveMessageRequest(queue_url=url))
    broker.call(StartMessageMoveTaskRequest(source_arn=broker.arn("dead")))
    assert broker.wait_for("dead", status="moved").result().body == "A-12"
    broker.wait_for(url, status="sent", body="A-12").result()


def test_what_is_kept_too_long_expires(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders", MessageRetentionPeriod=60)
    broker.send(url, "A-12")
    expired = broker.wait_for(url, status="expired", within_s=60)
    broker.clock.advance(seconds=61)
    assert expired.result().body == "A-12"


def test_a_purge_and_the_end_of_the_queue_purge(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    broker.send(url, "A-12")
    broker.call(PurgeQueueRequest(queue_url=url))
    broker.wait_for(url, status="purged", body="A-12").result()
    broker.send(url, "A-13")
    broker.call(DeleteQueueRequest(queue_url=url))
    broker.wait_for(url, status="purged", body="A-13").result()


def test_a_queue_that_comes_and_goes_in_one_commit_leaves_nothing_to_tell(
    broker: BrokerForTests,
) -> None:
    async def at_once(inner: Broker) -> None:
        await asyncio.gather(
            inner.call(CreateQueueRequest(queue_name="orders")),
            inner.call(SendMessageRequest(queue_url="orders", message_body="A-12")),
            inner.call(DeleteQueueRequest(queue_url="orders")),
        )

    broker._ask(at_once)
    broker.expect_none("orders", within_s=0).result()
    broker.create_queue("orders")
    broker.send("orders", "A-13")
    broker.wait_for("orders", status="sent", body="A-13").result()


def test_a_json_body_is_found_by_some_of_its_members(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    broker.send(url, "no JSON")
    broker.send(url, {"id": 1, "payload": {"seat": "A-12", "price": 30}})
    broker.wait_for(url, status="sent", body={"payload": {"seat": "A-12"}}).result()
    broker.expect_none(url, body={"payload": {"seat": "A-13"}}, within_s=0).result()
    broker.expect_none(url, body={"payload": "A-12"}, within_s=0).result()


def test_one_message_is_told_from_its_twins(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    first, second = broker.send(url, "A-12"), broker.send(url, "A-12")
    take(broker, url)
    broker.wait_for(url, status="deleted", message_id=first).result()
    broker.expect_none(url, status="deleted", message_id=second, within_s=0).result()


def test_queues_of_one_name_in_two_regions_are_told_apart(broker: BrokerForTests) -> None:
    broker.create_queue("orders")
    elsewhere = broker.boto3_client(region_name="eu-west-1")
    url = elsewhere.create_queue(QueueName="orders")["QueueUrl"]
    elsewhere.send_message(QueueUrl=url, MessageBody="A-12")
    broker.expect_none("orders", within_s=0).result()


def test_a_wait_in_vain_shows_what_was_seen(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    sent = broker.send(url, "A-12")
    receive(broker, url)
    assert refusal(broker.wait_for(url, status="deleted", body="A-12", within_s=0.01)) == (
        "No message with body 'A-12' was deleted in orders within 0.01 s.\n"
        "Seen in orders:\n"
        f"  'A-12' ({sent}): sent, received"
    )


def test_a_wait_at_the_wrong_queue_shows_where_there_was_something(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    assert refusal(broker.wait_for("order", status="sent", within_s=0)) == (
        "No message was sent in order within 0 s.\nNothing was seen in order."
    )
    broker.send(url, "A-12")
    assert refusal(broker.wait_for("order", status="sent", within_s=0)).endswith(
        "Nothing was seen in order. Messages were seen in orders."
    )


def test_a_failure_shows_no_more_than_a_person_reads(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    for number in range(25):
        broker.send(url, f"{number}" + "x" * 1_000)
    shown = refusal(broker.wait_for(url, status="deleted", within_s=0))
    assert "and 5 more" in shown
    assert len(shown) < 5_000


def test_nothing_expected_and_something_seen_is_a_failure_at_once(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    never = broker.expect_none(url, status="received", within_s=60)
    sent = broker.send(url, "A-12")
    receive(broker, url)
    assert refusal(never) == (
        f"A message was received in orders.\nSeen in orders:\n  'A-12' ({sent}): sent, received"
    )
    assert "'A-12'" in refusal(broker.expect_none(url, within_s=60))


def test_any_queue_will_do_when_none_is_named(broker: BrokerForTests) -> None:
    broker.expect_none(within_s=0).result()
    url = broker.create_queue("orders")
    sent = broker.send(url, "A-12")
    assert broker.wait_for(status="sent").result().queue == "orders"
    assert refusal(broker.expect_none(within_s=60)) == (
        f"A message was sent in any queue.\nSeen in any queue:\n  orders: 'A-12' ({sent}): sent"
    )
    broker.call(PurgeQueueRequest(queue_url=url))


def test_cleaning_up_forgets_what_happened(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    broker.send(url, "A-12")
    with broker.cleaned_up():
        broker.expect_none(url, within_s=0).result()
        broker.send(url, "A-13")
        broker.wait_for(url, status="sent", body="A-13").result()


def test_a_status_that_there_is_not_is_named(broker: BrokerForTests) -> None:
    with pytest.raises(SettingsError, match="'done' is not a status"):
        broker.wait_for("orders", status="done")  # type: ignore[arg-type]


def test_a_broker_that_stops_ends_the_waits() -> None:
    with BrokerForTests() as broker:
        waiting = broker.wait_for("orders", status="sent", within_s=60)
    with pytest.raises(Closed, match="stopped"):
        waiting.result()
    with pytest.raises(Closed, match="Call start"):
        broker.wait_for("orders", status="sent")
