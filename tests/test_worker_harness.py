"""The harness for handlers: it runs them as a worker does, and shows what came of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest

from forebay import App, Pack, Producer, Queue, Received, Reject, Retry, Router, WorkerSettings
from forebay.errors import SettingsError
from forebay.messages.packing import PACK_ATTRIBUTE
from forebay.testing import Drained, NotDrained, WorkerHarness
from forebay.worker.middleware import CallNext


class Order(msgspec.Struct):
    seat: int
    note: str = ""


@dataclass
class Mail:
    to: str


class Model(pydantic.BaseModel):
    seat: int


async def test_a_handler_is_run_on_a_payload_with_all_that_a_message_has() -> None:
    router = Router()
    seen = []

    @router.handler("order", Order)
    async def decide(received: Received[Order]) -> None:
        seen.append(received)

    harness = WorkerHarness(router)
    ended = await harness.perform(
        "order",
        Order(12),
        queue="orders.fifo",
        key="order-7",
        receive_count=3,
        group_id="gate-1",
        attributes={"tries": 3, "blob": b"\x00"},
    )
    assert (ended.is_done, ended.reason, ended.delay_s) == (True, None, None)
    [received] = seen
    assert (received.payload, received.type, received.key) == (Order(12), "order", "order-7")
    assert (received.receive_count, received.group_id) == (3, "gate-1")
    assert (received.queue, received.lease.group_id) == ("orders.fifo", "gate-1")
    assert (received.attribute("tries"), received.attribute("blob")) == (3, b"\x00")
    assert received.sent_at_ms == harness.clock.wall_ms()
    strange: Any
    for strange in (0, "3"):
        with pytest.raises(SettingsError, match="receive_count is"):
            await harness.perform("order", Order(12), receive_count=strange)


@pytest.mark.parametrize("plain", [False, True])
async def test_what_a_handler_says_is_told(plain: bool) -> None:
    router = Router()
    said: dict[int, Exception] = {1: Retry(6.5), 2: Reject("no such seat"), 3: ValueError("oops")}

    def answer(received: Received[int]) -> None:
        if received.payload in said:
            raise said[received.payload]

    async def answer_in_the_loop(received: Received[int]) -> None:
        answer(received)

    router.raw(int)(answer if plain else answer_in_the_loop)
    harness = WorkerHarness(router)
    done, retried, rejected, failed = [await harness.perform(None, each) for each in range(4)]
    assert done.is_done
    assert (retried.is_retried, retried.delay_s) == (True, 6.5)
    assert (rejected.is_rejected, rejected.reason) == (True, "no such seat")
    assert (failed.is_failed, failed.error, failed.reason) == (True, said[3], "oops")
    await harness.close()


async def test_nobody_takes_a_message_as_with_the_worker() -> None:
    ended = await WorkerHarness(Router()).perform("order", {"seat": 1})
    assert ended.is_rejected
    assert "No handler is registered for messages of type 'order'" in str(ended.reason)


@pytest.mark.parametrize("payload", [{"seat": 1}, Order(1), Model(seat=1)])
async def test_a_payload_may_be_anything_that_is_json(payload: object) -> None:
    router = Router()

    @router.every(Order)
    async def decide(received: Received[Order]) -> None:
        assert received.payload == Order(1)

    harness = WorkerHarness(router)
    assert (await harness.perform("order", payload)).is_done
    assert (await harness.perform(None, payload)).is_done


async def test_the_clock_stands_still_until_it_is_put_forward() -> None:
    router = Router()

    @router.default
    async def slow(received: Received[str]) -> None:
        assert received.remaining_s == 30
        harness.clock.advance(20_000)
        assert (received.remaining_s, received.lease_lost) == (10, False)
        assert await received.extend(60)
        assert received.remaining_s == 60
        harness.clock.advance(60_000)
        assert received.lease_lost

    harness = WorkerHarness(router)
    assert (await harness.perform(None, "text")).is_done


async def test_a_handler_may_be_seen_to_time_out() -> None:
    router = Router()
    begun = asyncio.Event()

    @router.handler("order", Order, timeout_s=30)
    async def waits(received: Received[Order]) -> None:
        begun.set()
        await asyncio.sleep(3600)

    harness = WorkerHarness(router)
    performing = asyncio.create_task(harness.perform("order", Order(1)))
    await begun.wait()
    harness.clock.advance(30_000)
    ended = await performing
    assert ended.is_failed
    assert "has not ended within its 30 s" in str(ended.reason)


async def test_a_batch_is_one_call() -> None:
    router = Router()
    calls = []

    @router.handler("log", int, batch=500)
    async def write(batch: list[Received[int]]) -> dict[Received[int], Exception]:
        calls.append(len(batch))
        return {each: Retry(1) for each in batch if each.payload == 7}

    harness = WorkerHarness(router)
    ended = await harness.perform_batch("log", range(25), group_id="g", queue="logs.fifo")
    assert calls == [25]
    assert [each.is_done for each in ended[:8]] == [True] * 7 + [False]
    assert ended[7].is_retried
    assert all(each.is_given_back for each in ended[8:])


async def test_middleware_and_executor_are_as_with_the_worker() -> None:
    router = Router()
    seen: list[object] = []

    @router.default
    def plain(received: Received[str]) -> None:
        seen.append(threading.current_thread() is threading.main_thread())

    async def counts(received: Any, call_next: CallNext) -> None:
        seen.append("begins")
        await call_next(received)
        seen.append("ends")

    harness = WorkerHarness(router, middleware=[counts])
    assert (await harness.perform(None, "text")).is_done
    assert seen == ["begins", False, "ends"]
    await harness.close()


@pytest.mark.parametrize("queue", ["orders", "orders.fifo"])
async def test_draining_a_queue_tells_what_became_of_its_messages(queue: str) -> None:
    router = Router()
    attempts: list[tuple[int, int]] = []

    @router.handler("order", Order)
    async def decide(received: Received[Order]) -> None:
        attempts.append((received.payload.seat, received.receive_count))
        match received.payload.seat:
            case 1:
                raise Reject("no such seat")
            case 2 if received.receive_count == 1:
                raise Retry(60)
            case 3 if received.receive_count < 3:
                raise ValueError("passes")
            case 4:
                raise ValueError("never passes")

    harness = WorkerHarness(router, max_receive_count=3)
    for seat in range(5):
        harness.enqueue(queue, "order", Order(seat), group_id=f"g{seat}")
    harness.enqueue(queue, "unheard-of", 1)
    began_ms = harness.clock.wall_ms()
    assert await harness.drain(queue) == Drained(done=3, failed=1, retried=6, rejected=2)
    assert sorted(attempts) == [
        *((0, 1), (1, 1), (2, 1), (2, 2)),
        *((3, 1), (3, 2), (3, 3), (4, 1), (4, 2), (4, 3)),
    ]
    assert harness.clock.wall_ms() - began_ms >= 60_000
    assert await harness.drain(queue) == Drained()


async def test_a_failure_keeps_back_its_own_group_only() -> None:
    router = Router()
    handled = []

    @router.raw(str)
    async def decide(received: Received[str]) -> None:
        handled.append(received.payload)
        if received.payload == "a1" and received.receive_count == 1:
            raise ValueError("oops")

    harness = WorkerHarness(router)
    for body in ("a1", "b1", "a2", "b2", "a3"):
        harness.enqueue("orders.fifo", None, body, group_id=body[0])
    assert await harness.drain("orders.fifo") == Drained(done=5, retried=1)
    assert [each for each in handled if each[0] == "a"] == ["a1", "a1", "a2", "a3"]
    assert [each for each in handled if each[0] == "b"] == ["b1", "b2"]


async def test_batches_are_drained_in_calls_of_their_size() -> None:
    router = Router()
    calls = []

    @router.raw(int, batch=10)
    async def write(batch: list[Received[int]]) -> dict[Received[int], Exception]:
        calls.append(len(batch))
        return {each: OSError() for each in batch if each.payload == 3 and each.receive_count == 1}

    harness = WorkerHarness(router)
    for number in range(23):
        harness.enqueue("logs", None, number)
    assert await harness.drain("logs") == Drained(done=23, retried=1)
    assert calls == [10, 10, 3, 1]


async def test_what_handlers_enqueue_is_handled_too_but_not_for_ever() -> None:
    router = Router()
    harness = WorkerHarness(router)

    @router.raw(int)
    async def count_down(received: Received[int]) -> None:
        if received.payload:
            await harness.client.send("numbers", str(received.payload - 1))

    harness.enqueue("numbers", None, 5)
    assert await harness.drain("numbers") == Drained(done=6)
    harness.enqueue("numbers", None, -1)
    with pytest.raises(NotDrained, match="numbers is not empty after 100 receives"):
        await harness.drain("numbers", messages_max=100)


async def test_a_delayed_message_comes_when_its_time_has_come() -> None:
    router = Router()
    at_ms = []

    @router.default
    async def take(received: Received[str]) -> None:
        at_ms.append(harness.clock.wall_ms() - began_ms)

    harness = WorkerHarness(router)
    began_ms = harness.clock.wall_ms()
    harness.enqueue("later", None, "text", delay_s=600)
    assert await harness.drain("later") == Drained(done=1)
    assert 600_000 <= at_ms[0] < 601_000


async def test_what_handlers_sent_is_found_whichever_way_they_sent_it() -> None:
    router = Router()
    harness = WorkerHarness(router)

    @router.handler("order", Order)
    async def decide(received: Received[Order]) -> None:
        url = await harness.client.queue_url("mails")
        async with Producer(harness.client, url, node="test") as producer:
            await producer.publish("mail", Mail("ann@example.org"), key="order-1")
        await harness.client.send("raws", {"seat": 1, "row": {"name": "A", "side": "left"}})

    assert (await harness.perform("order", Order(1))).is_done
    [mail] = harness.assert_enqueued("mail", {"to": "ann@example.org"}, queue="mails")
    assert (mail.queue, mail.type, mail.key) == ("mails", "mail", "order-1")
    harness.assert_enqueued("mail", Mail("ann@example.org"), key="order-1", count=1)
    harness.assert_enqueued("mail")
    harness.assert_enqueued(None, {"row": {"name": "A"}}, queue="raws")
    harness.assert_enqueued("receipt", count=0)


async def test_packs_go_from_a_producer_to_a_consumer_of_packs() -> None:
    app = App()
    seats: list[tuple[str, int]] = []

    @app.consume("orders", Pack[Order], batch=10)
    async def take(batch: list[Received[Pack[Order]]]) -> None:
        for received in batch:
            pack = received.payload
            seats.extend((record.id, record.payload.seat) for record in pack.records)
            assert [bad.index for bad in pack.bad] == [2]

    harness = WorkerHarness(app)
    url = await harness.client.queue_url("orders")
    async with Producer(harness.client, url, node="test", packed=("order",)) as producer:
        for payload in (Order(1), Order(2), {"seat": "none"}):
            producer.send("order", payload)
    [pack] = harness.assert_enqueued("order", queue="orders")
    assert [payload["seat"] for payload in pack.payload] == [1, 2, "none"]
    assert await harness.drain("orders") == Drained(done=1)
    assert [seat for _, seat in seats] == [1, 2]
    assert [identifier.rpartition("-")[2] for identifier, _ in seats] == ["0", "1"]


async def test_a_damaged_pack_is_rejected_and_shown_as_its_header() -> None:
    router = Router()

    @router.default
    async def rest(received: Received[str]) -> None: ...

    harness = WorkerHarness(router)
    body, attributes = {"pack": "p-1"}, {PACK_ATTRIBUTE: b"no pack"}
    await harness.client.send("orders", body, attributes=attributes)
    harness.assert_enqueued(None, body, queue="orders")
    assert await harness.drain("orders") == Drained(rejected=1)


async def test_what_was_not_sent_is_shown_beside_what_was() -> None:
    router = Router()
    harness = WorkerHarness(router)
    with pytest.raises(AssertionError, match="No 'mail' was enqueued, but nothing was enqueued"):
        harness.assert_enqueued("mail")
    await harness.client.send("raws", {"to": "ann@example.org", "tries": 1})
    with pytest.raises(AssertionError) as raised:
        harness.assert_enqueued(None, {"to": "bob@example.org"}, queue="raws")
    assert (
        str(raised.value)
        == """\
No message without an envelope to raws with {"to": "bob@example.org"} was enqueued. \
What was enqueued:
  without an envelope to raws: {"to": "ann@example.org", "tries": 1}
The nearest payload differs so:
--- expected
+++ enqueued
@@ -1,3 +1,4 @@
 {
-  "to": "bob@example.org"
+  "to": "ann@example.org",
+  "tries": 1
 }"""
    )
    with pytest.raises(AssertionError, match="Not 2 times but 1 times a message without"):
        harness.assert_enqueued(None, count=2)
    with pytest.raises(AssertionError, match="with the key 'k'"):
        harness.assert_enqueued(None, key="k")
    with pytest.raises(AssertionError) as raised:
        harness.assert_enqueued("mail", {"to": "ann@example.org", "tries": 1})
    assert "differs" not in str(raised.value)
    for strange in ({"tries": True}, {"tries": [1]}, {"more": 1}):
        with pytest.raises(AssertionError):
            harness.assert_enqueued(None, strange)


async def test_an_app_is_run_with_the_harness_s_client_and_its_own_middleware() -> None:
    seen = []

    async def tell(received: Any, call_next: CallNext) -> None:
        seen.append(received.queue)
        await call_next(received)

    app = App(middleware=[tell], settings=WorkerSettings(backoff_base_s=5))

    @app.consume("orders", Order)
    async def take(received: Received[Order]) -> None:
        await app.publish("mails", "mail", {"to": received.payload.note})

    @app.consume("mails", Mail)
    async def send(received: Received[Mail]) -> None:
        if received.receive_count == 1:
            raise ConnectionError

    harness = WorkerHarness(app)
    assert (await harness.perform(None, {"seat": 1, "note": "ann"})).is_done
    harness.assert_enqueued("mail", {"to": "ann"}, queue="mails")
    assert await harness.drain("mails") == Drained(done=1, retried=1)
    assert seen == ["orders", "mails", "mails"]
    await app.close()


async def test_a_queue_may_be_given_by_its_url_and_have_settings_of_its_own() -> None:
    app = App()
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"

    @app.consume(Queue(url, failures_max=2, dead_letter_queue="rejected"), Order)
    async def take(received: Received[Order]) -> None:
        raise Retry(1) if received.payload.seat else ValueError

    harness = WorkerHarness(app)
    with pytest.raises(SettingsError, match="consumes no queue mails"):
        await harness.perform(None, "text", queue="mails")
    with pytest.raises(SettingsError, match="consumes no queue oders"):
        await harness.drain("oders")
    with pytest.raises(TypeError, match="type object cannot be written as JSON"):
        harness.enqueue(url, None, object())
    harness.enqueue(url, None, Order(0))
    harness.enqueue("orders", None, Order(1))
    assert await harness.drain(url) == Drained(failed=1, retried=4, rejected=1)
    harness.assert_enqueued(None, {"seat": 0}, queue="rejected", count=1)


def test_an_app_of_a_module_has_a_harness_in_each_of_its_tests() -> None:
    app = App()

    @app.consume("orders", Order)
    async def take(received: Received[Order]) -> None:
        await app.publish("mails", "mail", {"seat": received.payload.seat})

    for seat in range(3):
        harness = WorkerHarness(app)
        assert asyncio.run(harness.perform(None, Order(seat))).is_done
        [mail] = harness.assert_enqueued("mail")
        assert mail.payload == {"seat": seat}


def test_a_test_without_an_event_loop_runs_it_with_asyncio() -> None:
    router = Router()

    @router.default
    async def take(received: Received[str]) -> None: ...

    harness = WorkerHarness(router)
    assert asyncio.run(harness.perform(None, "text")).is_done
    harness.enqueue("texts", None, "text")
    assert asyncio.run(harness.drain("texts")) == Drained(done=1)


def test_the_harness_needs_no_server() -> None:
    program = """
import sys
from forebay import Router
from forebay.testing import WorkerHarness
WorkerHarness(Router())
print(sorted(sys.modules.keys() & {"aiohttp", "apsw", "forebay.broker.server", "uvloop"}))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "[]\n"
