"""`forebay usage writer` as a user runs it, with a database that goes away."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.request import ProxyHandler, build_opener
from uuid import uuid4

import apsw
import msgspec
import psycopg
import pytest

from forebay.apps.usage.domain import USAGE_LOG_TYPE, UsageLog
from forebay.apps.usage.producer import usage_producer
from forebay.apps.usage.queues import USAGE_DEAD_LETTERS_QUEUE, USAGE_LOGS_QUEUE
from forebay.client.http import HttpSqsClient
from forebay.protocol.actions import DeleteQueueRequest
from tests.acceptance.serve_process import ServeProcess, free_port
from tests.acceptance.worker_process import messages_in

#: How long anything may take that a busy machine makes slow, in seconds.
PATIENCE_S = 40.0

COMMAND = (sys.executable, "-m", "forebay", "usage")

LOG = UsageLog("ak_live_abc123", "BTC", "binance", 42, "L1_MEMORY")

DIRECTLY = build_opener(ProxyHandler({}))


class Database:
    """A database of the test's own, which can be closed to everybody."""

    def __init__(self, admin: psycopg.Connection[Any], name: str, conninfo: str) -> None:
        self._admin = admin
        self._name = name
        self.conninfo = conninfo

    def go_away(self) -> None:
        self._admin.execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false".encode())
        self._admin.execute(
            b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (self._name,),
        )

    def come_back(self) -> None:
        self._admin.execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true".encode())

    def counts(self) -> tuple[int, int]:
        """Rows, and what the counters say of them."""
        with psycopg.connect(self.conninfo) as connection:
            row = connection.execute(
                b"SELECT (SELECT count(*) FROM usage_logs),"
                b" (SELECT coalesce(sum(events), 0)::bigint FROM current_usage)"
            ).fetchone()
        assert row is not None
        return row[0], row[1]


@pytest.fixture
def database(postgres_conninfo: str) -> Iterator[Database]:
    # A writer that a failing test has left behind must not find the next test's database.
    name = f"usage_writer_{uuid4().hex}"
    with psycopg.connect(postgres_conninfo, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        place = psycopg.conninfo.make_conninfo(postgres_conninfo, dbname=name)
        yield Database(admin, name, place)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def broker() -> Iterator[str]:
    with ServeProcess("--port", "0", "--durability", "memory") as process:
        yield process.endpoint_url


@pytest.fixture
async def client(broker: str) -> AsyncIterator[HttpSqsClient]:
    async with HttpSqsClient(broker) as opened:
        yield opened


class Writer:
    """The command, and what is seen of it."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        self._url = f"http://127.0.0.1:{(port := free_port())}"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(*COMMAND, "writer"),
                    *("--port", str(port), "--within-ms", "100", *arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def page(self, path: str) -> str:
        """A page of its port; empty while there is none."""
        assert self._process.poll() is None, self.log
        try:
            with DIRECTLY.open(f"{self._url}/{path}", timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return ""

    async def works(self) -> None:
        await until(lambda: self.log.count("The worker is at work") >= 1, self)
        await until(lambda: '"ok"' in self.page("health"), self)

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(PATIENCE_S)


async def until(happened: Callable[[], object], writer: Writer) -> None:
    deadline = monotonic() + PATIENCE_S
    while not await asyncio.to_thread(happened):
        assert monotonic() < deadline, f"{writer.log}\n{writer.page('snapshot')}"
        await asyncio.sleep(0.05)


async def send(client: HttpSqsClient, events: int) -> None:
    async with usage_producer(client, environment={}) as producer:
        for _ in range(events):
            assert producer.send(USAGE_LOG_TYPE, LOG)
    assert producer.ledger.delivered == events


async def queued(client: HttpSqsClient, name: str) -> int:
    return sum(await messages_in(client, await client.queue_url(name)))


async def test_a_database_that_goes_away_costs_no_event_and_one_line(
    tmp_path: Path, broker: str, client: HttpSqsClient, database: Database
) -> None:
    arguments = ("--database", database.conninfo, "--endpoint-url", broker, "--processes", "2")
    with Writer(tmp_path / "log", *arguments) as writer:
        await writer.works()
        await send(client, 1_000)
        await until(lambda: database.counts() == (1_000, 1_000), writer)
        database.go_away()
        for _ in range(5):
            await send(client, 200)
        await until(lambda: "usage database holds back receives" in writer.page("health"), writer)
        # Nobody is helped by a restart of the writer.
        health = json.loads(writer.page("health"))
        assert health["status"] == "ok"
        assert "not currently accepting connections" in " ".join(health["warnings"])
        assert 'forebay_worker_held_back{permit="usage database"' in writer.page("metrics")
        await asyncio.sleep(2)
        database.come_back()
        await until(lambda: database.counts() == (2_000, 2_000), writer)
        metrics = await asyncio.to_thread(writer.page, "metrics")
        assert (
            sum(
                float(line.rpartition(" ")[2])
                for line in metrics.splitlines()
                if line.startswith("forebay_usage_rows_total{")
            )
            <= 2_000
        )
        assert "forebay_usage_database_retries_total" in metrics
        assert writer.stop() == 0, writer.log
    # A line for each process, however many batches waited and however often they were tried.
    assert 1 <= writer.log.count("The usage database is away") <= 2
    assert writer.log.count("The usage database is back") == writer.log.count("database is away")
    assert "Traceback" not in writer.log
    assert "WARNING" not in writer.log
    assert await queued(client, USAGE_LOGS_QUEUE) == 0
    assert await queued(client, USAGE_DEAD_LETTERS_QUEUE) == 0


async def test_a_stop_while_the_database_is_away_gives_everything_back(
    tmp_path: Path, broker: str, client: HttpSqsClient, database: Database
) -> None:
    arguments = ("--database", database.conninfo, "--endpoint-url", broker, "--drain-timeout", "1")
    with Writer(tmp_path / "log", *arguments) as writer:
        await writer.works()
        database.go_away()
        await send(client, 1_000)
        await until(lambda: "usage database holds back receives" in writer.page("health"), writer)
        assert writer.stop() == 0, writer.log
    visible, hidden = await messages_in(client, await client.queue_url(USAGE_LOGS_QUEUE))
    assert (visible > 0, hidden) == (True, 0)
    database.come_back()
    with Writer(tmp_path / "log-2", *arguments) as writer:
        await until(lambda: database.counts() == (1_000, 1_000), writer)
        assert writer.stop() == 0, writer.log


async def test_it_starts_while_sqs_and_the_database_are_away(
    tmp_path: Path, database: Database
) -> None:
    database.go_away()
    port = str(free_port())
    endpoint_url = f"http://127.0.0.1:{port}"
    arguments = ("--database", database.conninfo, "--endpoint-url", endpoint_url)
    with Writer(tmp_path / "log", *arguments) as writer, ExitStack() as stack:
        await until(lambda: "Looking for the queue fails" in writer.log, writer)
        stack.enter_context(ServeProcess("--port", port, "--durability", "memory"))
        await until(lambda: "usage database holds back receives" in writer.page("health"), writer)
        async with HttpSqsClient(endpoint_url) as client:
            await send(client, 10)
        database.come_back()
        await until(lambda: "database is back" in writer.log, writer)
        await until(lambda: database.counts() == (10, 10), writer)
        assert writer.stop() == 0, writer.log


async def test_into_a_file_and_only_what_is_no_event_to_the_dead_letter_queue(
    tmp_path: Path, broker: str, client: HttpSqsClient
) -> None:
    path = tmp_path / "usage.sqlite3"

    def rows(table: str) -> int:
        with closing(apsw.Connection(str(path))) as connection:
            [(number,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
        assert isinstance(number, int)
        return number

    arguments = ("--database", f"sqlite:///{path}", "--endpoint-url", broker)
    with Writer(tmp_path / "log", *arguments) as writer:
        await writer.works()
        async with usage_producer(client, environment={}) as producer:
            producer.send(USAGE_LOG_TYPE, LOG)
            producer.send(USAGE_LOG_TYPE, {"asset": "BTC"})
            await producer.publish("heartbeat", {"beat": 1})
        await client.send(USAGE_LOGS_QUEUE, "Test message.")
        await until(lambda: rows("usage_logs") == 1, writer)
        await until(lambda: rows("usage_rejects") == 2, writer)
        [dead] = await client.receive(USAGE_DEAD_LETTERS_QUEUE, wait_s=20)
        assert writer.stop() == 0, writer.log
    assert dead.body == "Test message."
    assert "The body is no event" in str(msgspec.to_builtins(dead.message_attributes))


async def test_a_stop_while_the_queue_is_awaited_ends_it(
    tmp_path: Path, broker: str, client: HttpSqsClient
) -> None:
    """For 60 s no queue can be made that has the name of one that was deleted."""
    await client.create_queue(USAGE_LOGS_QUEUE)
    await client.call(DeleteQueueRequest(queue_url=await client.queue_url(USAGE_LOGS_QUEUE)))
    arguments = ("--database", f"sqlite:///{tmp_path}/u", "--endpoint-url", broker)
    with Writer(tmp_path / "log", *arguments) as writer:
        await until(lambda: "Looking for the queue fails" in writer.log, writer)
        assert writer.stop() == 0, writer.log
    assert writer.log.count("\n") == 2
    assert "Stopped before SQS could be asked" in writer.log


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, broker: str) -> None:
    for arguments, said in (
        ((), "No usage database is named. Give --database"),
        (("--database", "mysql://x"), "neither postgresql://USER@HOST/NAME nor sqlite:///PATH"),
    ):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "forebay",
                "usage",
                "writer",
                "--endpoint-url",
                broker,
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 2
        assert said in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr


def test_partitions_are_made_and_shown(postgres: str) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*COMMAND, "partitions", "--database", postgres, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        return done.stdout

    made = run("--days-ahead", "2")
    assert "12 made, 0 dropped, 0 ids of packs forgotten." in made
    assert "0 made, 0 dropped" in run("--days-ahead", "2")
    [line] = [each for each in run("--list").splitlines() if each.split()[:1] == ["usage_logs"]]
    assert line.split()[1] == "3"
