"""Consumers in few lines."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from typing import Any

import msgspec
import pytest

from forebay import (
    HIGH,
    LOW,
    App,
    Document002,
    PoolPermit,
    ProducerSettings,
    Queue,
    Received,
    Router,
    WorkerSettings,
)
from forebay.client.fake import ScriptedSqsClient
from forebay.errors import ServiceUnreachable, SettingsError
from forebay.protocol.actions import AnyRequest, AnyResult
from forebay.testing import BrokerForTests
from forebay.worker.codecs import JSON, TEXT


class Order(msgspec.Struct):
    seat: int


async def take(received: Received[Any]) -> None: ...


async def take_all(batch: list[Received[Any]]) -> None: ...


async def unanswered(request: AnyRequest) -> AnyResult:
    raise ServiceUnreachable


def test_an_app_knows_its_queues_and_their_handlers() -> None:
    app = App()
    app.consume("orders", Order, priority=HIGH, concurrency=3, timeout_s=5)(take)
    app.consume("orders", int, message_type="count")(take)
    app.consume(Queue("mails", priority=LOW, weight=0.5), str, codec=TEXT)(take)
    app.consume("logs", dict, batch=500, within_ms=100)(take_all)
    orders, mails, logs = app.queues
    assert (orders.name, orders.priority) == ("orders", HIGH)
    assert (mails.name, mails.priority, mails.weight) == ("mails", LOW, 0.5)
    assert orders.router is not None
    assert logs.router is not None
    every, counts = orders.router.routes
    assert (every.timeout_s, every.limits[0].running) == (5, 3)
    assert (counts.name, counts.timeout_s, counts.limits) == ("count", None, ())
    assert (logs.router.routes[0].batch, logs.router.routes[0].within_ms) == (500, 100)


def test_a_queue_is_set_once_and_a_message_has_one_handler() -> None:
    app = App()
    app.consume("orders", Order, priority=HIGH, codec=JSON)(take)
    for options in ({"priority": LOW}, {"codec": TEXT}):
        with pytest.raises(SettingsError, match="orders is consumed already with other settings"):
            app.consume("orders", Order, message_type="a", **options)(take)
    with pytest.raises(SettingsError, match="orders is consumed already with other settings"):
        app.consume(Queue("orders", weight=0.5), Order, message_type="a")(take)
    with pytest.raises(SettingsError, match="Two handlers are registered for plain JSON"):
        app.consume("orders", Order)(take)
    app.consume("orders", Order, message_type="a", priority=HIGH, codec=JSON)(take)


async def test_an_app_has_one_worker_and_tells_what_comes_too_late() -> None:
    app = App(client=ScriptedSqsClient(unanswered), settings=WorkerSettings(concurrency=7))
    with pytest.raises(SettingsError, match="consumes no queue"):
        app.worker()
    app.consume("orders", Order)(take)
    worker = app.worker()
    assert app.worker() is worker
    assert worker.settings.concurrency == 7
    assert [queue.name for queue in worker.queues] == ["orders"]
    app.consume("orders", int, message_type="late")(take)
    with pytest.raises(SettingsError, match="which does not serve mails"):
        app.consume("mails", Order)(take)
    with pytest.raises(SettingsError, match="has its client already"):
        app.client = ScriptedSqsClient(unanswered)
    await app.close()
    assert app.worker() is not worker


def test_an_app_hands_all_that_is_its_worker_s_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr("forebay.app.Worker", lambda *_, **options: made.update(options))
    permit, scaling = PoolPermit("database", lambda: 0), Document002()
    settings = WorkerSettings(concurrency=3)
    app = App("http://sqs.test", permits=[permit], scaling=scaling, settings=settings)
    app.consume("orders", Order)(take)
    app.worker()
    assert (made["permits"], made["scaling"], made["settings"]) == ((permit,), scaling, settings)
    assert made.keys() == {"settings", "middleware", "permits", "scaling", "executor"}


def test_an_app_has_an_endpoint_or_a_client() -> None:
    with pytest.raises(SettingsError, match="either"):
        App("http://127.0.0.1:9324", client=ScriptedSqsClient(unanswered))


async def test_a_router_that_a_queue_has_is_the_one_that_is_filled() -> None:
    app, router = App(), Router()
    app.consume(Queue("orders", router=router), Order)(take)
    assert len(router.routes) == 1


async def test_what_an_app_publishes_its_worker_handles() -> None:
    with BrokerForTests() as broker:
        broker.create_queue("orders")
        seen: list[object] = []
        async with App(client=broker.client(), settings=WorkerSettings(wait_s=1)) as app:

            @app.consume("orders", Order)
            async def decide(received: Received[Order]) -> None:
                seen.append((received.type, received.key, received.payload))
                if len(seen) == 2:
                    app.worker().stop()

            running = asyncio.create_task(app.worker().run())
            published = await app.publish("orders", "order", Order(12), key="order-7")
            assert published.message_id
            await app.client.send("orders", {"seat": 13})
            ledger = await running
            await app.client.close()
        assert ledger.acked == 2
        assert sorted(seen, key=str) == [("order", "order-7", Order(12)), (None, None, Order(13))]


async def test_an_app_has_one_producer_to_a_queue_which_sends_while_it_is_entered() -> None:
    with BrokerForTests() as broker:
        broker.create_queue("orders")
        app = App(client=broker.client())
        orders = app.producer("orders", packed=(), settings=ProducerSettings(flush_ms=60_000))
        assert orders.send("order", 1)
        async with app:
            assert app.producer("orders") is orders
            assert await asyncio.to_thread(app.producer, "orders") is orders
            with pytest.raises(SettingsError, match="orders is there already with other options"):
                app.producer("orders", packed=("order",))
            mails = await asyncio.to_thread(app.producer, "orders.fifo")
            assert not mails.send("mail", 1)
            await app.publish("orders", "order", 2)
            assert orders.ledger.delivered == 2
            assert orders.send("order", 3)
        assert orders.ledger.delivered == 3
        assert not orders.send("order", 4)
        assert app.producer("orders") is not orders
        await app.close()
        await app.client.close()


async def test_a_producer_uses_the_client_that_an_app_is_given_later() -> None:
    with BrokerForTests() as broker:
        broker.create_queue("orders")
        app = App("http://127.0.0.1:1")
        app.producer("orders").send("order", 1)
        client = broker.client()
        app.client = client
        async with app:
            await app.publish("orders", "order", 2)
        await client.close()
        assert len(broker.messages("orders")) == 2


def test_a_producer_whose_loop_has_ended_without_close_is_left_and_it_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App(client=ScriptedSqsClient(unanswered))

    async def send() -> object:
        producer = app.producer("orders")
        assert producer.send("order", 1)
        return producer

    first = asyncio.run(send())
    assert asyncio.run(send()) is not first
    assert "1 envelopes for orders are lost" in caplog.text


def test_an_app_runs_as_a_script_until_it_is_asked_to_stop() -> None:
    script = textwrap.dedent(
        """
        import os, signal
        from forebay import App, Received

        app = App()

        @app.consume("orders", dict)
        async def take(received: Received[dict]) -> None:
            print(received.payload, flush=True)
            os.kill(os.getpid(), signal.SIGTERM)

        print(app.run().acked)
        """
    )
    with BrokerForTests() as broker:
        broker.send(broker.create_queue("orders"), {"seat": 1})
        ended = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **broker.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (ended.returncode, ended.stdout) == (0, "{'seat': 1}\n1\n"), ended.stderr
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
