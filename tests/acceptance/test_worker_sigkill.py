"""Workers that are killed again and again under load do each effect once, and miss none."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import msgspec
import pytest

from forebay import HttpSqsClient, Producer
from tests.acceptance.effect_server import Attempt
from tests.acceptance.serve_process import ServeProcess
from tests.acceptance.worker_process import (
    Fleet,
    Lines,
    effect_server,
    left_when_drained,
    messages_in,
)
from tests.acceptance.worker_program import Job, Place

#: A busy machine starts a process in seconds, and the soak starts two hundred.
pytestmark = pytest.mark.timeout(1800)

WORKERS = 3

#: Short, so that what a killed worker held comes back soon.
VISIBILITY_TIMEOUT_S = 2

#: The most time from an effect of a worker to the kill of that worker, in seconds.
KILL_WITHIN_S = 0.2

#: Messages that come at once, and how often, in seconds.
BURST, EVERY_S = 10, 0.1

#: The effect whose first attempt is applied, and its worker killed before it hears of it.
LOST_ANSWER = "effect-7"


class Ledger(msgspec.Struct):
    """What was asked for and what the effect server did, by the name of the effect."""

    sent: Counter[str] = msgspec.field(default_factory=Counter)
    attempts: Counter[str] = msgspec.field(default_factory=Counter)
    applied: Counter[str] = msgspec.field(default_factory=Counter)
    #: What is left in the queue and in its dead-letter queue.
    left: int = 0
    dead: int = 0
    kills: int = 0


class Mortal(Fleet):
    """Workers that are killed, and take up their work anew."""

    def __init__(self, place: Place, directory: Path, stack: ExitStack, attempts: Path) -> None:
        super().__init__(place, directory, stack, attempts, WORKERS)
        self.kills = 0

    async def kill_one(self, rng: random.Random) -> None:
        """Kill a worker shortly after it has asked for its first effect, and start another."""
        index = rng.randrange(WORKERS)
        await self.at_work(index)
        await asyncio.sleep(rng.uniform(0, KILL_WITHIN_S))
        self.lost(index)

    def lost(self, index: int) -> None:
        self.replace(index).kill()
        self.kills += 1


async def kill_again_and_again(directory: Path, seed: int, kills: int, *, guarded: bool) -> Ledger:
    """Kill workers while messages flow, let the rest finish, and draw up the account."""
    attempts = directory / "attempts"
    ledger = Ledger()
    async with _queue(directory) as (client, queue_url, dead_url):
        with ExitStack() as stack:
            place = Place(
                client.place,
                queue_url,
                str(directory / "journal"),
                {"wait_s": 1, "visibility_timeout_s": VISIBILITY_TIMEOUT_S},
                stack.enter_context(effect_server(attempts)),
                str(directory / "guard") if guarded else "",
                LOST_ANSWER,
            )
            stop = asyncio.Event()
            async with Producer(client, queue_url, node="shop") as producer:
                sending = asyncio.create_task(_send(producer, ledger, stop))
                workers = Mortal(place, directory, stack, attempts)
                rng = random.Random(seed)
                while workers.kills < kills:
                    await workers.kill_one(rng)
                await workers.all_at_work()
                stop.set()
                await sending
            assert (producer.ledger.delivered, producer.ledger.failed) == (len(ledger.sent), 0)
            ledger.left = await left_when_drained(client, queue_url)
            await workers.stop()
            ledger.kills = workers.kills
        ledger.dead = sum(await messages_in(client, dead_url))
    for line in Lines(attempts).new():
        attempt = msgspec.json.decode(line, type=Attempt)
        ledger.attempts[attempt.effect] += 1
        ledger.applied[attempt.effect] += attempt.applied
    return ledger


@asynccontextmanager
async def _queue(directory: Path) -> AsyncIterator[tuple[HttpSqsClient, str, str]]:
    """A client of a broker that lives as long as the block, a queue and its dead-letter queue."""
    with ServeProcess("--port", "0", "--data", str(directory / "data")) as broker:
        async with HttpSqsClient(await asyncio.to_thread(lambda: broker.endpoint_url)) as client:
            dead = await client.create_queue("effects-dead")
            queue = await client.create_queue(
                "effects",
                dead_letter_queue="effects-dead",
                # A message goes down with every worker that is killed with it.
                max_receive_count=1000,
                VisibilityTimeout=VISIBILITY_TIMEOUT_S,
            )
            yield client, queue.queue_url, dead.queue_url


async def _send(producer: Producer, ledger: Ledger, stop: asyncio.Event) -> None:
    numbers = count()
    while not stop.is_set():
        for _ in range(BURST):
            name = f"effect-{next(numbers)}"
            assert producer.send("effect", Job(name))
            ledger.sent[name] += 1
        await asyncio.sleep(EVERY_S)


async def test_with_a_key_every_effect_is_applied_once(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Twenty kills, or as many as `--kills` says."""
    kills: int = pytestconfig.getoption("--kills")
    ledger = await kill_again_and_again(tmp_path, 30, kills, guarded=True)
    assert ledger.applied == ledger.sent
    assert (ledger.left, ledger.dead) == (0, 0)
    assert ledger.kills >= kills
    # The kills hit workers at work, or all of this proved nothing.
    assert ledger.attempts[LOST_ANSWER] > 1
    assert len(ledger.sent) > 10 * kills


async def test_without_a_key_effects_are_applied_twice(tmp_path: Path) -> None:
    """Or the test above could not fail."""
    ledger = await kill_again_and_again(tmp_path, 31, 3, guarded=False)
    twice = {effect for effect, times in ledger.applied.items() if times > 1}
    assert LOST_ANSWER in twice
    # Nothing is missing all the same.
    assert ledger.applied.keys() == ledger.sent.keys()
    assert (ledger.left, ledger.dead) == (0, 0)
