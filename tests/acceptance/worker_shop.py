"""One queue, one worker process at a time, and a journal of what its handlers do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from forebay import HttpSqsClient, Producer
from tests.acceptance.worker_process import ALONE, PATIENCE_S, WorkerProcess, events, messages_in
from tests.acceptance.worker_program import Job, Place

QUEUE = "jobs"


class Shop:
    """The queue at an endpoint, and a directory for the journal and the log."""

    def __init__(
        self, endpoint_url: str, directory: Path, command: tuple[str, ...] = ALONE
    ) -> None:
        self._endpoint_url = endpoint_url
        self._queue_url = f"{endpoint_url}/000000000000/{QUEUE}"
        self._directory = directory
        self._command = command
        self._journal = directory / "journal"

    async def open(self, visibility_timeout_s: int) -> None:
        """Create the queue."""
        async with self._client() as client:
            await client.create_queue(QUEUE, VisibilityTimeout=visibility_timeout_s)

    async def send(self, message_type: str, *jobs: Job) -> None:
        async with (
            self._client() as client,
            Producer(client, self._queue_url, node="shop") as producer,
        ):
            await asyncio.gather(*(producer.publish(message_type, job) for job in jobs))

    def worker(
        self, environment: Mapping[str, str] | None = None, **settings: float
    ) -> WorkerProcess:
        place = Place(
            self._endpoint_url, self._queue_url, str(self._journal), {"wait_s": 1, **settings}
        )
        return WorkerProcess(place, self._directory / "log", environment, self._command)

    async def wait_for(self, worker: WorkerProcess, event: str, times: int = 1) -> None:
        """Wait until handlers have noted an event so often."""
        deadline = monotonic() + PATIENCE_S
        while self.count(event) < times:
            assert worker.runs, worker.output
            assert monotonic() < deadline, worker.output
            await asyncio.sleep(0.02)

    def names(self, event: str) -> list[str]:
        """The names that handlers have noted an event of, in order."""
        return [noted.name for noted in events(self._journal) if noted.event == event]

    def count(self, event: str) -> int:
        return len(self.names(event))

    async def messages(self) -> tuple[int, int]:
        """How many messages are visible, and how many hidden."""
        async with self._client() as client:
            return await messages_in(client, self._queue_url)

    def _client(self) -> HttpSqsClient:
        return HttpSqsClient(self._endpoint_url)
