"""Writers and a broker that are killed again and again while usage is logged, and the account.

account = await kill_again_and_again(directory, conninfo, writer_kills=50, broker_kills=10)
assert account.is_exact
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import psycopg
from msgspec.structs import replace

from forebay.apps.usage.domain import USAGE_LOG_TYPE, UsageLog
from forebay.apps.usage.producer import usage_producer
from forebay.apps.usage.queues import UsageQueues, declare_usage_queues
from forebay.apps.usage.settings import BATCH_VARIABLE, DATABASE_VARIABLE, WITHIN_VARIABLE
from forebay.client.base import SqsClient
from forebay.client.http import HttpSqsClient
from forebay.producer import Producer, ProducerSettings
from forebay.protocol.actions import GetQueueAttributesRequest
from tests.acceptance.serve_process import ServeProcess, free_port
from tests.acceptance.usage_writer_program import Plan

#: Short, so that what a killed writer held comes back soon.
VISIBILITY_TIMEOUT_S = 2

#: Writers beside each other.
WRITERS = 3

#: Events that come at once, and how often, in seconds.
BURST, EVERY_S = 100, 0.05

#: Room for what comes while a busy machine takes its time to start a broker.
_BUFFER = 1_000_000

#: How long a broker lives between two kills at least and at most, in seconds.
BROKER_LIFE_S = (0.5, 1.5)

#: How long anything may take that a busy machine makes slow, in seconds.
PATIENCE_S = 120.0

KEYS = [f"ak_live_{number}" for number in range(20)]

#: Where Python finds the program of the writers.
_ROOT = Path(__file__).parents[2]

_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)

_ACCOUNT = """
    SELECT (SELECT count(*) FROM usage_logs),
        (SELECT coalesce(sum(events), 0)::bigint FROM current_usage),
        (SELECT count(*) FROM usage_rejects),
        (SELECT count(*) FROM (
            SELECT api_key_id, count(*) FROM usage_logs GROUP BY 1
            EXCEPT SELECT api_key_id, sum(events) FROM current_usage GROUP BY 1) wrong)
"""


class Account(msgspec.Struct, frozen=True):
    """What was logged and what is in PostgreSQL, as SQL says."""

    #: Envelopes that SQS acknowledged, and those that it refused or that were lost on the way.
    delivered: int
    not_delivered: int
    rows: int
    counted: int
    rejects: int
    #: Keys whose counter is not the number of their rows.
    wrong_counters: int
    writer_kills: int
    #: Those of them that hit a writer between its commit and the delete of its messages.
    kills_after_commit: int
    broker_kills: int
    #: Messages that are left in the queue and in its dead-letter queue.
    left: int
    dead: int
    took_s: float

    @property
    def is_exact(self) -> bool:
        """Whether everything that was delivered is there once."""
        return (
            self.rows == self.counted == self.delivered
            and not self.not_delivered
            and not self.rejects
            and not self.wrong_counters
            and not self.left
            and not self.dead
        )


class Writers:
    """Writer processes, each replaced when it is killed."""

    def __init__(
        self, plan: Plan, environment: dict[str, str], log: Path, rng: random.Random
    ) -> None:
        self._plan = plan
        self._environment = environment
        self._log = log
        self._rng = rng
        self._doomed: set[int] = set()
        self.kills = 0
        self.kills_after_commit = 0
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *, doomed: bool) -> None:
        plan = replace(self._plan, dies_after=self._rng.randint(1, 2) if doomed else 0)
        with self._log.open("ab") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.acceptance.usage_writer_program"),
                    msgspec.json.encode(plan).decode(),
                ],
                cwd=_ROOT,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        if doomed:
            self._doomed.add(process.pid)

    async def kill_one(self) -> None:
        """Wait until a doomed writer has died of its commit, or kill one that may do anything."""
        index = self._rng.randrange(len(self.processes))
        process = self.processes[index]
        after_commit = process.pid in self._doomed
        if after_commit:
            await _until(lambda: process.poll() is not None, f"{process.pid} commits nothing")
        else:
            await asyncio.sleep(self._rng.uniform(0, 1))
            process.kill()
            process.wait()
        assert process.returncode == -9, self._log.read_text()
        self.kills += 1
        self.kills_after_commit += after_commit
        del self.processes[index]
        self.start(doomed=self._rng.random() < 0.6)

    def replace_doomed(self) -> None:
        """Let only such writers go on as finish their work."""
        for process in list(self.processes):
            if process.pid in self._doomed:
                self.processes.remove(process)
                process.kill()
                process.wait()
                self.start(doomed=False)

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            # One that has just taken another's place may not listen to signals yet.
            ended = process.wait(PATIENCE_S)
            assert ended in (0, -signal.SIGTERM), f"{ended}: {self._log.read_text()}"

    def end(self) -> None:
        """Leave none behind, whatever happened."""
        for process in self.processes:
            process.kill()
            process.wait()


class Broker:
    """A broker that is killed, and comes back with its data at its port."""

    def __init__(self, data: Path) -> None:
        self._arguments = ("--port", str(free_port()), "--data", str(data))
        self.kills = 0
        self._process = ServeProcess(*self._arguments)
        self.endpoint_url = self._process.endpoint_url

    def kill(self) -> None:
        self._process.kill()
        self.kills += 1
        self._process = ServeProcess(*self._arguments)
        self._process.wait_until_it_serves()

    def end(self) -> None:
        self._process.kill()


async def kill_again_and_again(
    directory: Path,
    conninfo: str,
    *,
    writer_kills: int = 6,
    broker_kills: int = 2,
    seed: int = 0,
    forgets_ids: bool = False,
) -> Account:
    """Kill writers and the broker while usage is logged, let the rest finish, and count.

    `conninfo` is that of an empty database. With `forgets_ids` the writers do not know a pack that
    comes again.
    """
    began_s = time.monotonic()
    rng = random.Random(seed)
    with ExitStack() as stack:
        broker = await asyncio.to_thread(Broker, directory / "data")
        stack.callback(broker.end)
        async with HttpSqsClient(broker.endpoint_url) as client:
            queues = await declare_usage_queues(client, visibility_timeout_s=VISIBILITY_TIMEOUT_S)
            environment = {DATABASE_VARIABLE: conninfo, WITHIN_VARIABLE: "200", BATCH_VARIABLE: "5"}
            plan = Plan(broker.endpoint_url, forgets_ids=forgets_ids)
            writers = Writers(plan, environment, directory / "writers.log", rng)
            stack.callback(writers.end)
            for number in range(WRITERS):
                writers.start(doomed=number > 0)
            async with usage_producer(
                client, environment={}, node="LPO", settings=ProducerSettings(buffer_size=_BUFFER)
            ) as producer:
                logging = asyncio.create_task(_log(producer))
                await asyncio.gather(
                    _kill_writers(writers, writer_kills), _kill_broker(broker, broker_kills, rng)
                )
                writers.replace_doomed()
                logging.cancel()
                await asyncio.gather(logging, return_exceptions=True)
                await producer.flush()
            ledger = producer.ledger
            left = await _drained(client, queues)
            dead = await _messages_in(client, queues.dead_letters)
            await asyncio.to_thread(writers.stop)
    with psycopg.connect(conninfo) as connection:
        account = connection.execute(_ACCOUNT.encode()).fetchone()
    assert account is not None
    rows, counted, rejects, wrong_counters = account
    return Account(
        delivered=ledger.delivered,
        not_delivered=ledger.offered - ledger.delivered,
        rows=rows,
        counted=counted,
        rejects=rejects,
        wrong_counters=wrong_counters,
        writer_kills=writers.kills,
        kills_after_commit=writers.kills_after_commit,
        broker_kills=broker.kills,
        left=left,
        dead=dead,
        took_s=time.monotonic() - began_s,
    )


async def _log(producer: Producer) -> None:
    number = 0
    while True:
        for _ in range(BURST):
            number += 1
            producer.send(
                USAGE_LOG_TYPE,
                UsageLog(KEYS[number % len(KEYS)], "BTC", "binance", number % 500, "L1_MEMORY"),
            )
        await asyncio.sleep(EVERY_S)


async def _kill_writers(writers: Writers, kills: int) -> None:
    while writers.kills < kills:
        await writers.kill_one()


async def _kill_broker(broker: Broker, kills: int, rng: random.Random) -> None:
    while broker.kills < kills:
        await asyncio.sleep(rng.uniform(*BROKER_LIFE_S))
        await asyncio.to_thread(broker.kill)


async def _drained(client: SqsClient, queues: UsageQueues) -> int:
    """Wait until no message is left. Returns how many are when patience ends before."""
    deadline_s = time.monotonic() + PATIENCE_S
    while left := await _messages_in(client, queues.usage_logs):
        if time.monotonic() > deadline_s:
            break
        await asyncio.sleep(0.1)
    return left


async def _messages_in(client: SqsClient, queue_url: str) -> int:
    request = GetQueueAttributesRequest(queue_url=queue_url, attribute_names=list(_COUNTS))
    attributes = (await client.get_queue_attributes(request)).attributes or {}
    return sum(int(attributes[name]) for name in _COUNTS)


async def _until(happened: Callable[[], bool], failure: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline_s, failure
        await asyncio.sleep(0.01)
