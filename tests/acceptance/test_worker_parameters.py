"""`forebay worker run --parameters`: every process has a new value while it works."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from forebay import EmbeddedBroker, HttpSqsClient
from forebay.client.endpoint import ENDPOINT_VARIABLES
from forebay.parameters import Value, open_store
from forebay.tunables import SCHEMA
from tests.acceptance.serve_process import free_port
from tests.acceptance.worker_run_process import WorkerRun, until, working_processes

SHOP = """
from forebay import HttpSqsClient, Received, Router, Worker, WorkerSettings

router = Router()


@router.raw(str)
async def take(received: Received[str]) -> None:
    pass


settings = WorkerSettings(concurrency=7, wait_s=1)
worker = Worker(HttpSqsClient(), "jobs", router, settings=settings)
"""

#: It must not stand in the arguments of a process.
SECRET = "sEcReT-17"


def set_value(url: str, values: dict[str, Value | None]) -> None:
    asyncio.run(open_store(url, SCHEMA).set(values, by="ada"))


def most(processes: list[dict[str, Any]]) -> list[int]:
    return [process["snapshot"]["processors"]["most"] for process in processes]


def test_both_processes_follow_and_go_on_when_the_store_is_away(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    store = f"sqlite:///{tmp_path}/parameters.db"
    with EmbeddedBroker() as broker:

        async def make_queue() -> None:
            async with HttpSqsClient(broker.endpoint_url) as client:
                await client.create_queue("jobs")

        asyncio.run(make_queue())
        arguments = ("shop:worker", "--processes", "2", "--port", "0", "--parameters", store)
        environment = {ENDPOINT_VARIABLES[0]: broker.endpoint_url}
        with WorkerRun(
            *arguments, "--parameters-poll", "0.1", directory=tmp_path, **environment
        ) as run:
            url, processes = run.working(2)
            assert most(processes) == [7, 7]
            set_value(store, {"worker_concurrency": 30})
            until(lambda: most(working_processes(url, 2)) == [30, 30])
            (tmp_path / "parameters.db").rename(tmp_path / "away")
            until(lambda: run.errors().count("while their store is away") == 2)
            assert most(working_processes(url, 2)) == [30, 30]
            (tmp_path / "away").rename(tmp_path / "parameters.db")
            set_value(store, {"worker_concurrency": None})
            until(lambda: most(working_processes(url, 2)) == [7, 7])
            run.signal(signal.SIGTERM)
            code, errors = run.end()
    assert code == 0, errors
    assert errors.count("while their store is away") == 2
    assert errors.count("is back") == 2


def test_a_url_that_names_no_store_ends_the_command_and_repeats_no_password(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    url = f"postgresql://app:{SECRET}@x@db/shop"
    with WorkerRun("shop:worker", directory=tmp_path, FOREBAY_PARAMETERS=url) as run:
        code, errors = run.end()
    assert code == 2
    assert "The URL of the store of parameters cannot be read." in errors
    assert SECRET not in errors


def test_the_password_of_a_store_is_not_in_the_arguments_of_the_processes(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    environment = {
        ENDPOINT_VARIABLES[0]: "http://127.0.0.1:1",
        "FOREBAY_PARAMETERS": f"postgresql://app:{SECRET}@127.0.0.1:1/shop",
    }
    with WorkerRun("shop:worker", "--port", "0", directory=tmp_path, **environment) as run:
        run.url()
        until(lambda: "while their store is away" in run.errors())
        children = Path(f"/proc/{run.process_id}/task/{run.process_id}/children").read_text()
        for process_id in children.split():
            assert SECRET.encode() not in Path(f"/proc/{process_id}/cmdline").read_bytes()
        assert children
        run.signal(signal.SIGTERM)
        _, errors = run.end()
    assert SECRET not in errors


def test_the_price_api_follows(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/parameters.db"
    set_value(store, {"sqs_buffer_size": 1_234})
    with EmbeddedBroker() as broker:
        command = subprocess.Popen(
            [
                *(sys.executable, "-m", "forebay", "usage", "serve-demo"),
                *("--port", str(free_port()), "--endpoint-url", broker.endpoint_url),
                *("--parameters", store),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"COLUMNS": "200"},
        )
        assert command.stderr is not None
        try:
            line = next(each for each in command.stderr if "are followed at" in each)
            assert "sqs_buffer_size 1,234" in line
        finally:
            command.send_signal(signal.SIGTERM)
            command.communicate(timeout=30)
    assert command.returncode == 0
