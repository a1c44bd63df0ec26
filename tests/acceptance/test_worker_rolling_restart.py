"""Workers that are replaced one after the other under load leave no message hidden or out of order.

The visibility timeout is a minute: a message that had to wait for it would be far too old.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter, defaultdict
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from forebay import HttpSqsClient, Producer
from tests.acceptance.serve_process import ServeProcess
from tests.acceptance.worker_process import (
    ALONE,
    SUPERVISED,
    Fleet,
    WorkerProcess,
    events,
    left_when_drained,
    messages_in,
)
from tests.acceptance.worker_program import Event, Job, Place

#: A busy machine starts a process in seconds.
pytestmark = pytest.mark.timeout(400)

RESTARTS = 20
WORKERS = 3
VISIBILITY_TIMEOUT_S = 60

#: No message may be older when its last handler begins, in milliseconds. Most of it is how long a
#: busy machine takes to start the first workers.
AGE_MAX_MS = 30_000

#: The most time from the first message of a new worker to the SIGTERM of the next, in seconds.
TERMINATE_WITHIN_S = 0.2

#: Messages that come at once, and how often, in seconds.
BURST, EVERY_S = 8, 0.1

#: Message groups of the FIFO queue.
GROUPS = 8

#: The longest work of a message, in milliseconds.
WORK_MS = 100

#: On the standard queue each such message fails at its first receive.
FAILS_EVERY = 20


class Rolling(Fleet):
    """Workers that are replaced one after the other."""

    def __init__(
        self, place: Place, directory: Path, stack: ExitStack, command: tuple[str, ...]
    ) -> None:
        super().__init__(place, directory, stack, Path(place.journal), WORKERS, command)
        self._leaving: list[WorkerProcess] = []

    async def replace_one(self, index: int, rng: random.Random) -> None:
        """SIGTERM to a worker that is at work; another begins while it drains."""
        await asyncio.sleep(rng.uniform(0, TERMINATE_WITHIN_S))
        self.workers[index].signal(signal.SIGTERM)
        self._leaving.append(self.replace(index))
        await self.at_work(index)

    async def stop(self) -> None:
        for worker in self._leaving:
            assert await asyncio.to_thread(worker.end) == 0, worker.output
        await super().stop()


async def restart_again_and_again(
    directory: Path, queue: str, command: tuple[str, ...], rng: random.Random
) -> tuple[dict[str, Job], list[Event]]:
    """The messages sent, and what handlers noted."""
    journal = directory / "journal"
    fifo = queue.endswith(".fifo")
    sent: dict[str, Job] = {}
    with ExitStack() as stack:
        broker = stack.enter_context(ServeProcess("--port", "0", "--data", str(directory / "data")))
        endpoint_url = broker.endpoint_url
        async with HttpSqsClient(endpoint_url) as client:
            created = await client.create_queue(queue, VisibilityTimeout=VISIBILITY_TIMEOUT_S)
            settings = {
                "wait_s": 1,
                "visibility_timeout_s": VISIBILITY_TIMEOUT_S,
                "backoff_base_s": 0.5,
                "backoff_max_s": 1,
            }
            place = Place(endpoint_url, created.queue_url, str(journal), settings)
            stop = asyncio.Event()
            async with Producer(client, created.queue_url, node="shop") as producer:
                sending = asyncio.create_task(_send(producer, sent, rng, stop, fifo=fifo))
                fleet = Rolling(place, directory, stack, command)
                await fleet.all_at_work()
                for number in range(RESTARTS):
                    await fleet.replace_one(number % WORKERS, rng)
                stop.set()
                await sending
            assert producer.ledger.delivered == len(sent)
            assert await left_when_drained(client, created.queue_url) == 0
            await fleet.stop()
            assert await messages_in(client, created.queue_url) == (0, 0)
    return sent, events(journal)


async def _send(
    producer: Producer,
    sent: dict[str, Job],
    rng: random.Random,
    stop: asyncio.Event,
    *,
    fifo: bool,
) -> None:
    numbers = count()
    while not stop.is_set():
        for _ in range(BURST):
            number = next(numbers)
            failures = int(not fifo and number % FAILS_EVERY == 0)
            job = Job(f"job-{number}", rng.randint(1, WORK_MS), failures)
            group_id = f"group-{number % GROUPS}" if fifo else None
            assert producer.send("job", job, group_id=group_id)
            sent[job.name] = job
        await asyncio.sleep(EVERY_S)


@pytest.fixture(params=[("jobs", ALONE), ("jobs.fifo", SUPERVISED)], ids=["standard", "fifo"])
async def played(
    request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[dict[str, Job], list[Event]]:
    queue, command = request.param
    return await restart_again_and_again(tmp_path, queue, command, random.Random(40))


def test_every_message_is_handled_once_soon_and_in_order(
    played: tuple[dict[str, Job], list[Event]],
) -> None:
    sent, noted = played
    assert len(sent) > 10 * RESTARTS
    assert Counter(e.name for e in noted if e.event == "ended") == Counter(sent.keys())

    # Each receive is explained by a failure, or is the last one.
    receives = defaultdict(list)
    for event in noted:
        if event.event == "began":
            receives[event.name].append(event.receive_count)
    explained = {job.name: list(range(1, job.failures + 2)) for job in sent.values()}
    assert {name: sorted(counts) for name, counts in receives.items()} == explained

    assert max(event.age_ms for event in noted if event.event == "began") < AGE_MAX_MS

    groups = defaultdict(list)
    for event in noted:
        if event.group_id is not None:
            groups[event.group_id].append((event.event, int(event.name.removeprefix("job-"))))
    for steps in groups.values():
        numbers = sorted({number for _, number in steps})
        assert steps == [(step, number) for number in numbers for step in ("began", "ended")]
