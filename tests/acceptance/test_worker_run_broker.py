"""`forebay worker run` with a real worker on a real broker."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.broker.embedded import EmbeddedBroker
from forebay.stop_signals import SAME_REQUEST_S
from tests.acceptance.serve_process import ServeProcess
from tests.acceptance.test_broker_serve import ask
from tests.acceptance.worker_run_process import WorkerRun, get, until

SHOP = """
import asyncio, logging, time
from forebay import App, HttpSqsClient, Received, Router, Worker, WorkerSettings
from forebay.worker.queue import HIGH, LOW, Queue

router = Router()

@router.default
async def take(received: Received[str]) -> None:
    logging.getLogger("shop").info("takes %s", received.payload)
    if received.payload == "long":
        await asyncio.sleep(60)
    if received.payload == "blocking":
        time.sleep(8)
    await asyncio.sleep(0.05)

def worker() -> Worker:
    queues = [Queue("orders", priority=HIGH), Queue("mail", priority=LOW)]
    return Worker(HttpSqsClient(), queues, router, settings=WorkerSettings(wait_s=1))

app = App()

@app.consume("orders", str)
async def consume(received: Received[str]) -> None:
    logging.getLogger("shop").info("consumes %s", received.payload)
    await app.publish("mail", "welcome", {"to": received.payload})

stubborn_router = Router()

@stubborn_router.default
def stubborn(received: Received[str]) -> None:
    time.sleep(60)

def stubborn_worker() -> Worker:
    settings = WorkerSettings(wait_s=1, drain_timeout_s=1, thread_timeout_s=1)
    return Worker(HttpSqsClient(), "orders", stubborn_router, settings=settings)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        for name in ("orders", "mail"):
            ask(broker.endpoint_url, "CreateQueue", QueueName=name)
        yield broker


def send(url: str, queue: str, *bodies: str) -> None:
    for body in bodies:
        ask(url, "SendMessage", QueueUrl=f"{url}/000000000000/{queue}", MessageBody=body)


def counts(url: str, queue: str) -> tuple[int, int]:
    """Visible and hidden messages."""
    answer: dict[str, Any] = ask(
        url,
        "GetQueueAttributes",
        QueueUrl=f"{url}/000000000000/{queue}",
        AttributeNames=["All"],
    )
    found = answer["Attributes"]
    return (
        int(found["ApproximateNumberOfMessages"]),
        int(found["ApproximateNumberOfMessagesNotVisible"]),
    )


def run(broker: EmbeddedBroker, shop: Path, *arguments: str, target: str = "worker") -> WorkerRun:
    place = ("--port", "0", "--endpoint-url", broker.endpoint_url)
    return WorkerRun(f"shop:{target}", *place, *arguments, directory=shop)


def test_a_stop_under_load_leaves_nothing_hidden(broker: EmbeddedBroker, shop: Path) -> None:
    url = broker.endpoint_url
    with run(broker, shop, "--processes", "2", "--log-level", "info") as workers:
        workers.working(2)
        send(url, "orders", *map(str, range(300)))
        send(url, "mail", *map(str, range(100)))
        until(lambda: workers.errors().count(" takes ") > 50)
        workers.signal(signal.SIGTERM)
        code, errors = workers.end()
    assert code == 0, errors
    handled = [line for line in errors.splitlines() if " takes " in line]
    assert {line.partition("[process ")[2][0] for line in handled} == {"1", "2"}
    assert all(", message " in line and line.endswith("receive 1]") for line in handled)
    orders, mail = counts(url, "orders"), counts(url, "mail")
    assert orders[1] == mail[1] == 0
    assert orders[0] + mail[0] == 400 - len(handled)


def test_a_second_signal_gives_back_what_runs(broker: EmbeddedBroker, shop: Path) -> None:
    send(broker.endpoint_url, "orders", *["long"] * 5)
    with run(broker, shop) as workers:
        until(lambda: workers.errors().count("takes long") == 5)
        workers.signal(signal.SIGTERM)
        until(lambda: "running messages finish" in workers.errors())
        time.sleep(2 * SAME_REQUEST_S)
        workers.signal(signal.SIGTERM)
        begun = time.monotonic()
        code, errors = workers.end()
    assert code == 0, errors
    assert time.monotonic() - begun < 10
    assert "5 released, 0 lost" in errors
    assert counts(broker.endpoint_url, "orders") == (5, 0)


def test_a_plain_function_that_cannot_be_stopped_is_lost_and_said(
    broker: EmbeddedBroker, shop: Path
) -> None:
    send(broker.endpoint_url, "orders", "one")
    with run(broker, shop, target="stubborn_worker") as workers:
        until(lambda: counts(broker.endpoint_url, "orders") == (0, 1))
        workers.signal(signal.SIGTERM)
        begun = time.monotonic()
        code, errors = workers.end()
    assert code == 1
    assert time.monotonic() - begun < 15, "nobody waits for the thread"
    assert "Error: Process 1 lost 1 message" in errors


def test_an_app_is_run_and_what_it_publishes_is_sent(broker: EmbeddedBroker, shop: Path) -> None:
    with run(broker, shop, target="app") as workers:
        url, _ = workers.working()
        send(broker.endpoint_url, "orders", *['"a"', '"b"', '"c"'])
        until(lambda: counts(broker.endpoint_url, "mail") == (3, 0))
        delivered = 'forebay_producer_delivered_total{process="1",producer="0",queue="mail"} 3.0'
        until(lambda: delivered in get(f"{url}/metrics")[1])
        workers.signal(signal.SIGTERM)
        code, errors = workers.end()
    assert code == 0, errors
    assert "Unclosed" not in errors
    assert counts(broker.endpoint_url, "orders") == (0, 0)


def test_mistakes_are_warnings_at_the_start(broker: EmbeddedBroker, shop: Path) -> None:
    with run(broker, shop, "--processes", "2") as workers:
        until(lambda: "mail: it has no dead-letter queue" in workers.errors())
        workers.signal(signal.SIGTERM)
        code, errors = workers.end()
    assert code == 0, errors
    assert errors.count("orders: it has no dead-letter queue") == 1, "one process says it"


def test_a_queue_that_is_missing_is_one_line_and_is_served_once_it_is_there(shop: Path) -> None:
    with EmbeddedBroker() as broker, run(broker, shop) as workers:
        until(lambda: "There is no queue orders at" in workers.errors())
        assert "Traceback" not in workers.errors()
        for name in ("orders", "mail"):
            ask(broker.endpoint_url, "CreateQueue", QueueName=name)
        workers.working()
        workers.signal(signal.SIGTERM)
        code, errors = workers.end()
    assert code == 0, errors


def test_health_fails_when_no_receive_comes_back(shop: Path) -> None:
    with ServeProcess("--port", "0", "--durability", "memory") as serving:
        url = serving.endpoint_url
        for name in ("orders", "mail"):
            ask(url, "CreateQueue", QueueName=name)
        place = ("--port", "0", "--endpoint-url", url)
        with WorkerRun("shop:worker", *place, directory=shop) as workers:
            port, _ = workers.working()
            until(lambda: get(f"{port}/health")[0] == 200)
            serving.signal(signal.SIGSTOP)
            begun = time.monotonic()
            _, health = until(lambda: ill(f"{port}/health"))
            assert time.monotonic() - begun < 20
            assert "orders" in json.loads(health)["reasons"][0]
            serving.signal(signal.SIGCONT)
            until(lambda: get(f"{port}/health")[0] == 200)
            workers.signal(signal.SIGTERM)
            code, errors = workers.end()
        assert code == 0, errors


def test_health_fails_while_a_handler_holds_up_the_event_loop(
    broker: EmbeddedBroker, shop: Path
) -> None:
    with run(broker, shop) as workers:
        port, _ = workers.working()
        until(lambda: get(f"{port}/health")[0] == 200)
        send(broker.endpoint_url, "orders", "blocking")
        _, health = until(lambda: ill(f"{port}/health"))
        assert "event loop" in json.loads(health)["reasons"][0]
        workers.signal(signal.SIGTERM)
        code, errors = workers.end()
    assert code == 0, errors


def ill(url: str) -> tuple[int, str] | None:
    answer = get(url)
    return answer if answer[0] == 503 else None


def test_a_broker_that_is_away_at_the_start_is_waited_for_and_holds_up_no_stop(shop: Path) -> None:
    place = ("--port", "0", "--endpoint-url", "http://127.0.0.1:1")
    with WorkerRun("shop:worker", *place, directory=shop) as workers:
        port = workers.url()
        until(lambda: "will go on trying" in workers.errors())
        assert ill(f"{port}/health")
        begun = time.monotonic()
        workers.signal(signal.SIGTERM)
        code, errors = workers.end()
    assert code == 0, errors
    assert time.monotonic() - begun < 5
    assert "Traceback" not in errors
