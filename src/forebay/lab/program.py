"""What a program of the lab is given in its own process."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

from msgspec import Struct

from forebay.apps import process
from forebay.client.base import SqsClient
from forebay.client.http import HttpSqsClient
from forebay.client.retry import RetryPolicy
from forebay.idempotency import SqliteIdempotencyStore
from forebay.lab.events import EventLog, Kind
from forebay.lab.outside.client import OutsideClient
from forebay.lab.recording_client import RecordingClient
from forebay.scaled_clock import ScaledClock
from forebay.worker import Worker, WorkerLedger, run_until_signalled

#: How soon a process that was told to stop hears it again, in real seconds.
_SAY_AGAIN_S = 0.05


class Plan(Struct, frozen=True, kw_only=True):
    """What all processes of a run have in common."""

    scenario: str
    directory: Path
    #: None is Amazon SQS.
    endpoint_url: str | None
    region: str
    seed: int
    time_scale: float
    #: The real time at which the run's time began, in milliseconds since the Unix epoch.
    origin_ms: int
    #: The URLs of the queues, by what the scenario calls them.
    queue_urls: dict[str, str] = {}
    dead_letter_urls: dict[str, str] = {}
    #: The service outside.
    outside_url: str = ""
    #: The protections that are off.
    without: frozenset[str] = frozenset()

    def clock(self) -> ScaledClock:
        """The clock that all of them share."""
        return ScaledClock(self.time_scale, self.origin_ms)


class Program:
    """A process of a run, from inside."""

    def __init__(self, plan: Plan, name: str) -> None:
        self.plan = plan
        self.name = name
        self.directory = plan.directory
        self.without = plan.without
        self.clock = plan.clock()
        self.events = EventLog(plan.directory, name, self.clock)
        self.random = random.Random(f"{plan.seed}/{name}")
        self.client: SqsClient = self.make_client()
        self.outside = OutsideClient(plan.outside_url, self.clock, caller=name)
        #: Set by SIGTERM, unless a worker is at work, which drains for it.
        self.told_to_stop = asyncio.Event()
        #: What is closed when the program ends.
        self.closing = AsyncExitStack()

    @property
    def queue_url(self) -> str:
        """The URL of the scenario's main queue."""
        return self.plan.queue_urls[""]

    def make_client(self, retry: RetryPolicy | None = None) -> SqsClient:
        """Another client that writes down what it does."""
        return RecordingClient(
            HttpSqsClient(self.plan.endpoint_url, region=self.plan.region, retry=retry),
            self.events,
        )

    async def store(self) -> SqliteIdempotencyStore:
        """The store of keys and versions that all programs of the run share, until this one ends.

        It outlives the kill of a process, as a database on another machine does, and not a loss of
        power: nothing waits for the disk.
        """
        store = await SqliteIdempotencyStore.open(self.directory / "keys.sqlite3", durable=False)
        self.closing.push_async_callback(store.close)
        return store

    def on(self, protection: str) -> bool:
        """Whether a protection is on."""
        return protection not in self.without

    async def stay_at(self, point: str, subject: str) -> None:
        """Note that a point has been reached, and stay there: the scenario kills the process."""
        self.events.write(Kind.NOTE, subject=subject, text=point)
        await asyncio.Event().wait()

    async def work(self, worker: Worker) -> WorkerLedger:
        """Run a worker until SIGTERM, and let it drain."""
        (ledger,) = await run_until_signalled(worker)
        return ledger


#: A coroutine function of a module: what a process of a scenario does.
ProgramFunction: TypeAlias = Callable[..., Coroutine[Any, Any, None]]


def run_program(
    plan: Plan, name: str, function: ProgramFunction, arguments: dict[str, Any]
) -> None:
    """In a process of its own: run a program with what it is given."""
    process.run(_main(plan, name, function, arguments))


async def _main(
    plan: Plan, name: str, function: ProgramFunction, arguments: dict[str, Any]
) -> None:
    program = Program(plan, name)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        program.told_to_stop.set()
        # A worker that begins to listen only now is to hear it as well.
        loop.call_later(_SAY_AGAIN_S, signal.raise_signal, signal.SIGTERM)

    loop.add_signal_handler(signal.SIGTERM, stop)
    program.events.write(Kind.STARTED)
    async with program.closing, program.client, program.outside:
        await function(program, **arguments)
