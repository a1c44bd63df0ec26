"""What a worker process does at SIGTERM, at a second one, and when a handler cannot be stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.serve_process import ServeProcess
from tests.acceptance.worker_process import ALONE, SUPERVISED
from tests.acceptance.worker_program import Job
from tests.acceptance.worker_shop import Shop

#: Far longer than any test: what stays hidden is hidden at its end.
VISIBILITY_TIMEOUT_S = 600

#: How long a worker may take to end when it is told to do so at once, in seconds.
AT_ONCE_S = 8.0


@pytest.fixture(params=[ALONE, SUPERVISED], ids=["alone", "supervised"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    with ServeProcess("--port", "0", "--durability", "memory") as broker:
        shop = Shop(broker.endpoint_url, tmp_path, request.param)
        await shop.open(VISIBILITY_TIMEOUT_S)
        yield shop


async def test_sigterm_lets_handlers_finish_and_leaves_nothing_hidden(shop: Shop) -> None:
    await shop.send("job", *(Job(f"job-{number}", work_ms=1000) for number in range(40)))
    with shop.worker(concurrency=10) as worker:
        await shop.wait_for(worker, "began", 10)
        assert await asyncio.to_thread(worker.stop) == 0, worker.output
    ended = shop.count("ended")
    assert ended == shop.count("began") >= 10
    assert await shop.messages() == (40 - ended, 0)


async def test_a_second_sigterm_stops_at_once_and_still_releases(shop: Shop) -> None:
    await shop.send("job", *(Job(f"job-{number}", work_ms=60_000) for number in range(40)))
    with shop.worker(concurrency=10) as worker:
        await shop.wait_for(worker, "began", 10)
        worker.signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert worker.runs
        worker.signal(signal.SIGTERM)
        await asyncio.to_thread(worker.end, AT_ONCE_S)
        assert "Traceback" not in worker.output
    assert shop.count("ended") == 0
    assert await shop.messages() == (40, 0)


async def test_handlers_that_outlive_the_drain_are_given_back(shop: Shop) -> None:
    await shop.send("job", Job("long", work_ms=60_000))
    with shop.worker(drain_timeout_s=0.5) as worker:
        await shop.wait_for(worker, "began")
        worker.signal(signal.SIGTERM)
        await asyncio.to_thread(worker.end, AT_ONCE_S)
    assert await shop.messages() == (1, 0)


async def test_a_plain_function_that_ends_after_the_drain_is_acknowledged(shop: Shop) -> None:
    """It cannot be stopped, so the process waits for it: then its effect must not come again."""
    await shop.send("plain_job", Job("slow", work_ms=3000))
    with shop.worker(drain_timeout_s=0.5) as worker:
        await shop.wait_for(worker, "began")
        assert await asyncio.to_thread(worker.stop) == 0, worker.output
    assert shop.count("ended") == 1
    assert await shop.messages() == (0, 0)


async def test_a_worker_that_was_held_up_takes_no_more_than_it_can_handle(tmp_path: Path) -> None:
    """Its leases are over when it goes on, which makes room once and not again and again."""
    with ServeProcess("--port", "0", "--durability", "memory") as broker:
        shop = Shop(broker.endpoint_url, tmp_path)
        await shop.open(visibility_timeout_s=2)
        await shop.send("job", *(Job(f"job-{number}", work_ms=200) for number in range(400)))
        with shop.worker(concurrency=10) as worker:
            await shop.wait_for(worker, "began", 10)
            worker.signal(signal.SIGSTOP)
            await asyncio.sleep(3)
            worker.signal(signal.SIGCONT)
            hidden = []
            for _ in range(20):
                hidden.append((await shop.messages())[1])
                await asyncio.sleep(0.1)
            assert max(hidden) <= 100, hidden
            assert await asyncio.to_thread(worker.stop) == 0, worker.output


@pytest.mark.parametrize("shop", [SUPERVISED], indirect=True, ids=["supervised"])
async def test_a_plain_function_that_does_not_end_is_said_and_fails_the_process(shop: Shop) -> None:
    await shop.send("plain_job", Job("hanging", work_ms=60_000))
    with shop.worker(drain_timeout_s=0.5, thread_timeout_s=1) as worker:
        await shop.wait_for(worker, "began")
        worker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.end, 2 * AT_ONCE_S) > 0
        said = worker.output
    assert shop.count("ended") == 0
    assert sum(await shop.messages()) == 1
    assert "plain_job" in said
    assert "Traceback" not in said
