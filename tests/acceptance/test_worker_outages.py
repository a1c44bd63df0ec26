"""A worker whose broker or credentials are away says so, goes on afterwards, and can be stopped."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path
from time import monotonic

import pytest

from tests.acceptance.serve_process import ServeProcess, free_port
from tests.acceptance.worker_process import ALONE, SUPERVISED
from tests.acceptance.worker_program import Job
from tests.acceptance.worker_shop import Shop

VISIBILITY_TIMEOUT_S = 5

#: How long the first word of a trouble may take once the process runs, in seconds.
SAID_WITHIN_S = 10.0

#: How long a worker may take to end while SQS is away, in seconds.
STOPPED_WITHIN_S = 8.0

#: What a worker says once when it is in trouble, and once when that is over.
TROUBLE, OVER = "fails, will go on trying", "works again"

#: Loopback, by a name that does not look like it: where the stand-in for credentials is not used.
HOST = "0x7f.0.0.1"

#: Answers keys that are about to end, so that they are asked for before each call; or fails.
CREDENTIAL_PROCESS = """
import json, pathlib, sys
from datetime import UTC, datetime, timedelta
if pathlib.Path(sys.argv[1]).exists():
    sys.exit("the directory of keys is away")
soon = datetime.now(UTC) + timedelta(seconds=60)
keys = {"AccessKeyId": "AKIDWORKER", "SecretAccessKey": "secret", "Expiration": soon.isoformat()}
print(json.dumps({"Version": 1, **keys}))
"""


class Broker:
    """A broker that comes and goes at one port, with one data directory."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self._arguments = ("--port", str(self.port), "--data", str(directory / "data"), *options)
        self._process: ServeProcess | None = None

    def start(self) -> None:
        self._process = ServeProcess(*self._arguments)
        self._process.wait_until_it_serves()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


async def test_a_worker_that_starts_without_its_broker_waits_for_it(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        await asyncio.to_thread(broker.start)
        shop = Shop(f"http://127.0.0.1:{broker.port}", tmp_path)
        await shop.open(VISIBILITY_TIMEOUT_S)
        await shop.send("job", Job("job-1"))
        broker.kill()
        with shop.worker() as worker:
            await worker.says(TROUBLE, SAID_WITHIN_S)
            assert "forebay serve" in worker.output
            await asyncio.to_thread(broker.start)
            await shop.wait_for(worker, "ended")
            await worker.says(OVER)
            assert await asyncio.to_thread(worker.stop, STOPPED_WITHIN_S) == 0
            assert worker.output.count(TROUBLE) < 3
            assert "Traceback" not in worker.output
        assert await shop.messages() == (0, 0)


async def test_a_worker_without_its_broker_can_be_stopped(tmp_path: Path) -> None:
    shop = Shop(f"http://127.0.0.1:{free_port()}", tmp_path)
    with shop.worker() as worker:
        await worker.says(TROUBLE)
        assert await asyncio.to_thread(worker.stop, STOPPED_WITHIN_S) == 0
        assert "Traceback" not in worker.output


async def test_a_broker_that_dies_in_mid_work_costs_no_message(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        await asyncio.to_thread(broker.start)
        shop = Shop(f"http://127.0.0.1:{broker.port}", tmp_path)
        await shop.open(VISIBILITY_TIMEOUT_S)
        await shop.send("job", *(Job(f"job-{number}", work_ms=300) for number in range(60)))
        with shop.worker(concurrency=10) as worker:
            await shop.wait_for(worker, "ended", 10)
            await asyncio.to_thread(broker.kill)
            await worker.says(TROUBLE, SAID_WITHIN_S)
            await asyncio.to_thread(broker.start)
            await worker.says(OVER)
            deadline = monotonic() + 30
            while await shop.messages() != (0, 0):
                assert monotonic() < deadline, worker.output
                await asyncio.sleep(0.1)
            assert await asyncio.to_thread(worker.stop, STOPPED_WITHIN_S) == 0
            assert "Traceback" not in worker.output
        assert set(shop.names("ended")) == {f"job-{number}" for number in range(60)}


async def test_a_worker_whose_broker_died_with_its_messages_can_be_stopped(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        await asyncio.to_thread(broker.start)
        shop = Shop(f"http://127.0.0.1:{broker.port}", tmp_path)
        await shop.open(VISIBILITY_TIMEOUT_S)
        await shop.send("job", *(Job(f"job-{number}", work_ms=60_000) for number in range(20)))
        with shop.worker(concurrency=10, drain_timeout_s=1) as worker:
            await shop.wait_for(worker, "began", 10)
            await asyncio.to_thread(broker.kill)
            worker.signal(signal.SIGTERM)
            await asyncio.to_thread(worker.end, 1 + STOPPED_WITHIN_S)
            # They come back after their visibility timeout, which the worker cannot shorten.
            # Ten run, and up to ten wait here.
            assert re.search(r"received=(1\d|20), acked=0, .* lost=\1,", worker.output)
            assert re.search("visibility timeout ends|will be delivered again", worker.output)
            assert "Traceback" not in worker.output


@pytest.mark.parametrize("away_at_start", [True, False])
async def test_credentials_that_cannot_be_read_for_a_while(
    tmp_path: Path, away_at_start: bool
) -> None:
    away = tmp_path / "away"
    script = tmp_path / "credentials.py"
    script.write_text(CREDENTIAL_PROCESS)
    (tmp_path / "config").write_text(
        f"[default]\nregion = us-east-1\ncredential_process = {sys.executable} {script} {away}\n"
    )
    environment = {
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with Broker(tmp_path, "--allow-host", HOST) as broker:
        await asyncio.to_thread(broker.start)
        shop = Shop(f"http://127.0.0.1:{broker.port}", tmp_path)
        await shop.open(60)
        await shop.send("job", *(Job(f"job-{number}", work_ms=3000) for number in range(5)))
        if away_at_start:
            away.touch()
        with Shop(f"http://{HOST}:{broker.port}", tmp_path).worker(environment) as worker:
            if not away_at_start:
                await shop.wait_for(worker, "began", 5)
                away.touch()
            await worker.says("could not be read")
            assert worker.runs
            away.unlink()
            await shop.wait_for(worker, "ended", 5)
            assert await asyncio.to_thread(worker.stop, STOPPED_WITHIN_S) == 0
        # botocore shows its own tracebacks; there is no exception group of ours.
        assert "ExceptionGroup" not in worker.output
        assert await shop.messages() == (0, 0)
    assert shop.count("began") == 5


@pytest.mark.parametrize("command", [ALONE, SUPERVISED], ids=["alone", "supervised"])
async def test_a_worker_that_has_no_credentials_says_what_to_do(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Nothing that it could wait for would bring them, so it ends; but it may be started again."""
    environment = {
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    shop = Shop(f"http://{HOST}:{free_port()}", tmp_path, command)
    with shop.worker(environment) as worker:
        if command == ALONE:
            assert await asyncio.to_thread(worker.end) == 1
            assert len(worker.output.splitlines()) == 1
        else:
            await worker.says("No AWS credentials were found")
            await asyncio.to_thread(worker.stop, STOPPED_WITHIN_S)
        assert "No AWS credentials were found. Run `aws configure`" in worker.output
        assert "Traceback" not in worker.output
