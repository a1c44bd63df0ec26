"""The whole way of a usage log, each part in processes of its own: broker, writers, PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import psycopg
import uvloop
from msgspec import Struct

from bench import broker_counts, processes, usage_offer
from bench.barrier import ask_together
from bench.broker_counts import Counts
from bench.usage_producer import Made
from bench.worker_subjects import AWS
from forebay.apps.usage.queues import USAGE_LOGS_QUEUE, declare_usage_queues
from forebay.client.http import HttpSqsClient
from forebay.producer import ProducerSettings
from forebay.testing.postgres import postgres_server

#: PostgreSQL as it is, which is durable, but for the sizes that every installation sets.
POSTGRES_OPTIONS = {"shared_buffers": "512MB", "max_wal_size": "8GB"}

#: Writers and PostgreSQL stand back behind the producers, as if on machines of their own.
NICE = 19

_POSTGRES = "PostgreSQL"

#: What runs the writers.
WRITER = [sys.executable, "-m", "forebay", "usage", "writer"]

#: How often the rows are counted, in seconds.
_LOOK_S = 0.5

#: How long writers may take to start and to stop, in seconds.
_PATIENCE_S = 30.0

_COUNTED = "SELECT coalesce(sum(events), 0)::bigint FROM current_usage"
_ROWS = "SELECT count(*) FROM usage_logs"
_REJECTS = "SELECT count(*) FROM usage_rejects"
_DOUBLED = (
    "SELECT coalesce(sum(times - 1), 0)::bigint FROM (SELECT count(*) AS times FROM usage_logs"
    " WHERE pack_number IS NOT NULL GROUP BY pack_number, record_index) AS each"
)
_DIFFERENT = (
    "SELECT count(*) FROM (SELECT api_key_id, count(*) AS events FROM usage_logs GROUP BY 1) AS row"
    " FULL JOIN (SELECT api_key_id, sum(events) AS events FROM current_usage GROUP BY 1) AS counted"
    " USING (api_key_id) WHERE row.events IS DISTINCT FROM counted.events"
)


class Seen(Struct):
    """How many rows were committed at a time of the machine's monotonic clock, by the counters."""

    at_s: float
    rows: int


class Exactness(Struct):
    """What is in the database in the end, by SQL."""

    rows: int
    counted: int
    rejects: int
    #: Rows that are there once more than they should be.
    doubled: int
    #: API keys whose counter is not the number of their rows.
    keys_different: int


class Outcome(Struct):
    """What came of an offered load."""

    begun_s: float
    offers: list[usage_offer.Answer]
    seen: list[Seen]
    #: When the last delivered log was in the database; None when not all were in time.
    written_s: float | None
    exact: Exactness
    #: Messages that were deleted, and requests as AWS bills them.
    messages: int
    billed: dict[str, int]
    #: By process, in MB and in seconds from the beginning on.
    memory_mb: dict[str, float]
    cpu_s: dict[str, float]


class Pipeline:
    """A running broker and its writers."""

    def __init__(self, directory: Path, conninfo: str, postgres_pid: int) -> None:
        self.conninfo = conninfo
        self._directory = directory
        self._postgres_pid = postgres_pid
        self._port = processes.free_port()
        self._broker = ExitStack()
        self._log = directory / "writers.log"
        self._writers: subprocess.Popen[bytes] | None = None
        self.server = self.start_broker()
        self._queue_url = uvloop.run(self._declare())

    def start_broker(self) -> processes.Server:
        """Start the broker where it was."""
        self.server = self._broker.enter_context(
            processes.broker_on(
                self._directory / "broker", "fsync", "bench.counted_broker", self._port
            )
        )
        return self.server

    def kill_broker(self) -> None:
        """SIGKILL."""
        os.kill(self.server.pid, signal.SIGKILL)
        self._broker.close()

    def start_writers(self, count: int, within_ms: int | None) -> None:
        """Start so many writers, and wait until they have made their tables."""
        with self._log.open("wb") as log:
            self._writers = subprocess.Popen(
                [
                    *("nice", "-n", str(NICE), *WRITER, "--processes", str(count)),
                    *(() if within_ms is None else ("--within-ms", str(within_ms))),
                ],
                env={
                    **os.environ,
                    **AWS,
                    "AWS_ENDPOINT_URL_SQS": self.server.url,
                    "FOREBAY_USAGE_DATABASE": as_url(self.conninfo),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait_for_tables()
        for child in children_of(self._writers.pid):
            stand_back(child)

    def offer(
        self,
        per_second: int,
        seconds: float,
        producers: int,
        settings: ProducerSettings,
        *,
        packed: bool = True,
        patience_s: float,
        sample_s: float = 0.5,
    ) -> tuple[float, list[Future[usage_offer.Answer]]]:
        """Offer a load from so many processes; returns when it begins, and what they will say."""
        questions = [
            usage_offer.Question(
                Made(
                    self.server.url,
                    self._queue_url,
                    settings,
                    packed,
                    str(self._directory / f"spill-{number}"),
                    node=f"api-{number}",
                ),
                per_second // producers + (number < per_second % producers),
                seconds,
                patience_s,
                sample_s,
                seed=number,
            )
            for number in range(producers)
        ]
        patience_s = seconds + 2 * patience_s + _PATIENCE_S
        return ask_together("bench.usage_offer", questions, usage_offer.Answer, patience_s)

    def watch(
        self, begun_s: float, futures: list[Future[usage_offer.Answer]], patience_s: float
    ) -> Outcome:
        """Wait until all that was delivered is in the database, and see whether it is right."""
        stop = Event()
        seen: list[Seen] = []
        before, cpu_before_s = self._counts(), self._cpu_s()
        watcher = Thread(target=self._watch, args=(seen, stop))
        watcher.start()
        try:
            offers = [future.result() for future in futures]
            delivered = sum(offer.ledger.delivered for offer in offers)
            deadline_s = begun_s + patience_s
            while not (seen and seen[-1].rows >= delivered) and time.monotonic() < deadline_s:
                time.sleep(_LOOK_S / 5)
        finally:
            stop.set()
            watcher.join()
        written_s = next((look.at_s for look in seen if look.rows >= delivered), None)
        after, cpu_after_s = self._counts(), self._cpu_s()
        producers = {f"producer {number}": offer for number, offer in enumerate(offers, 1)}
        memory_mb = {name: offer.peak_mb for name, offer in producers.items()}
        cpu_s = {name: offer.cpu_s for name, offer in producers.items()}
        return Outcome(
            begun_s,
            offers,
            seen,
            written_s,
            self.exactness(),
            after.deleted - before.deleted,
            {name: count - before.billed.get(name, 0) for name, count in after.billed.items()},
            memory_mb | self._memory_mb(),
            cpu_s | {name: cpu_after_s[name] - before_s for name, before_s in cpu_before_s.items()},
        )

    def exactness(self) -> Exactness:
        """Ask the database."""
        with psycopg.connect(self.conninfo) as connection:

            def ask(query: str) -> int:
                row = connection.execute(query.encode()).fetchone()
                assert row is not None
                return int(row[0])

            return Exactness(*map(ask, (_ROWS, _COUNTED, _REJECTS, _DOUBLED, _DIFFERENT)))

    def close(self) -> None:
        """Stop the writers and the broker."""
        if self._writers is not None:
            processes.end_family(self._writers, _PATIENCE_S)
        self._broker.close()

    def _counts(self) -> Counts:
        return broker_counts.read(self.server.url, USAGE_LOGS_QUEUE)

    def _watch(self, seen: list[Seen], stop: Event) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            while not stop.wait(_LOOK_S):
                row = connection.execute(_COUNTED).fetchone()
                assert row is not None
                seen.append(Seen(time.monotonic(), row[0]))

    def _cpu_s(self) -> dict[str, float]:
        return {name: processes.cpu_s(pid) for name, pid in self._pids().items()}

    def _memory_mb(self) -> dict[str, float]:
        """The most of each, but for PostgreSQL, whose processes come and go: what it has now."""
        pids = self._pids()
        postgres_mb = processes.family_mb(pids.pop(_POSTGRES))
        return {name: processes.peak_mb(pid) for name, pid in pids.items()} | {
            _POSTGRES: postgres_mb
        }

    def _pids(self) -> dict[str, int]:
        pids = {"broker": self.server.pid, _POSTGRES: self._postgres_pid}
        if self._writers is not None:
            pids["writers"] = self._writers.pid
        return pids

    async def _declare(self) -> str:
        async with HttpSqsClient(self.server.url) as client:
            return (await declare_usage_queues(client)).usage_logs

    def _wait_for_tables(self) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            if self._writers is not None and self._writers.poll() is not None:
                raise RuntimeError(f"the writers ended: {self._log.read_text()[-2000:]}")
            try:
                self.exactness()
            except psycopg.errors.UndefinedTable:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.1)
            else:
                return


def stand_back(pid: int) -> None:
    """Lower the priority of a process, and of its session where Linux ranks whole sessions.

    Source: sched(7), "The autogroup feature".
    """
    os.setpriority(os.PRIO_PROCESS, pid, NICE)
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(NICE))


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, where /proc says so."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@contextmanager
def pipeline(writers: int, within_ms: int | None = None) -> Iterator[Pipeline]:
    """PostgreSQL and a broker, both with fsync, and writers that gather for `within_ms`."""
    with (
        tempfile.TemporaryDirectory(prefix="forebay-bench-") as directory,
        postgres_server(options=POSTGRES_OPTIONS) as conninfo,
    ):
        postmaster = _postmaster(conninfo)
        stand_back(postmaster)
        running = Pipeline(Path(directory), conninfo, postmaster)
        try:
            running.start_writers(writers, within_ms)
            yield running
        finally:
            running.close()


def _postmaster(conninfo: str) -> int:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
    assert row is not None
    return int(row[0].split()[0])


def as_url(conninfo: str) -> str:
    """The address as the writer takes it."""
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    return f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}"
