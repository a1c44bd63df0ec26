"""Log lines of a handler carry the ids of its message."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from forebay.cli.logs import LogFormat, LogLevel
from forebay.cli.worker.logs import set_up_worker_logs
from forebay.worker import Received, Router, Worker
from tests.runtime.engine_client import EngineClient
from tests.runtime.virtual_time import LoopClock, run
from tests.runtime.worker_messages import envelope

log = logging.getLogger("shop")


async def work_on(router: Router, *bodies: str) -> None:
    client = EngineClient()
    url = await client.create("orders")
    for body in bodies:
        await client.send(url, body)
    worker = Worker(client, url, router, clock=LoopClock())
    task = asyncio.create_task(worker.run())
    await asyncio.sleep(5)
    worker.stop()
    await task


def lines(text: str, logger: str) -> list[dict[str, object]]:
    parsed = [json.loads(line) for line in text.splitlines()]
    return [line for line in parsed if line["logger"] == logger]


def test_in_json_every_line_of_a_handler_has_its_fields(
    capfd: pytest.CaptureFixture[str],
) -> None:
    router = Router()

    @router.handler("order", dict)
    async def decide(received: Received[dict[str, object]]) -> None:
        log.warning("async", extra={"queue": "its own"})
        await asyncio.gather(deeper())

    async def deeper() -> None:
        log.warning("deep")

    @router.handler("mail", dict)
    def send(received: Received[dict[str, object]]) -> None:
        log.warning("plain")

    set_up_worker_logs(LogFormat.JSON, LogLevel.INFO, 3)
    run(work_on(router, envelope("order", {}), envelope("mail", {}, identifier="e-2")))
    said = {line["message"]: line for line in lines(capfd.readouterr().err, "shop")}
    deep, plain = said["deep"], said["plain"]
    assert (deep["queue"], deep["envelope_id"], deep["receive_count"]) == ("orders", "e-1", 1)
    assert str(deep["handler"]).endswith("decide")
    assert deep["message_id"]
    assert deep["process"] == 3
    assert plain["envelope_id"] == "e-2"
    assert said["async"]["queue"] == "its own"


def test_a_batch_shows_how_many_messages_it_has_and_their_ids(
    capfd: pytest.CaptureFixture[str],
) -> None:
    router = Router()

    @router.handler("log", dict, batch=50, within_ms=100)
    async def write(batch: list[Received[dict[str, object]]]) -> None:
        log.warning("writes")

    set_up_worker_logs(LogFormat.JSON, LogLevel.INFO, 1)
    bodies = [envelope("log", {}, identifier=f"e-{number}") for number in range(12)]
    run(work_on(router, *bodies))
    (line,) = lines(capfd.readouterr().err, "shop")
    assert line["messages"] == 12
    ids = line["message_ids"]
    assert isinstance(ids, list)
    assert len(ids) == 10


def test_a_failure_is_logged_with_the_ids_and_other_lines_have_none(
    capfd: pytest.CaptureFixture[str],
) -> None:
    router = Router()

    @router.default
    async def fail(received: Received[str]) -> None:
        raise RuntimeError("bad luck")

    set_up_worker_logs(LogFormat.TEXT, LogLevel.INFO, 1)
    run(work_on(router, "hello"))
    errors = [line for line in capfd.readouterr().err.splitlines() if " ERROR " in line]
    assert errors
    assert "[process 1, queue orders, message " in errors[0]
    assert errors[0].endswith("receive 1]")
    log.warning("outside")
    assert capfd.readouterr().err.endswith(" WARNING outside [process 1]\n")


def test_a_message_that_no_handler_gets_is_named_in_fields_too(
    capfd: pytest.CaptureFixture[str],
) -> None:
    router = Router()

    @router.handler("order", dict)
    async def decide(received: Received[dict[str, object]]) -> None: ...

    set_up_worker_logs(LogFormat.JSON, LogLevel.INFO, 1)
    run(work_on(router, "no envelope"))
    said = lines(capfd.readouterr().err, "forebay.worker.settlement")
    assert {line["queue"] for line in said} == {"orders"}
    assert {line["receive_count"] for line in said} == set(range(1, len(said) + 1))
    assert all(str(line["message_id"]) in str(line["message"]) for line in said)
