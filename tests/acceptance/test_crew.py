"""The processes of a demo: real ones, because what is tested is that the kernel ends them."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from forebay.apps.crew import Crew, ProcessDied, ProcessHangs, free_ports, python

#: Says that it runs, then does nothing for longer than any test.
_IDLE = "import time; print('idle', flush=True); time.sleep(600)"
_SAY_PID = "import os; print('pid', os.getpid()); " + _IDLE
_DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + _IDLE
_FAILING = "import sys; sys.exit('the disk is full')"

#: A demo with one process, which runs the code it is given.
_DEMO = """
import asyncio, pathlib, sys
from forebay.apps.crew import Crew, python

async def main():
    async with Crew(pathlib.Path(sys.argv[1])) as crew:
        await crew.start("worker", python("-c", sys.argv[2]))
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


def says(log: Path, text: str, times: int = 1) -> bool:
    return log.exists() and log.read_text().count(text) >= times


def pids_in(log: Path) -> list[int]:
    return [int(line.split()[1]) for line in log.read_text().splitlines() if "pid" in line]


def is_running(pid: int) -> bool:
    try:
        # A zombie that nobody has waited for is dead all the same.
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_process_that_dies_ends_the_work_and_shows_its_log(tmp_path: Path) -> None:
    async with Crew(tmp_path) as crew:
        await crew.start("writer", python("-c", _FAILING))
        with pytest.raises(ProcessDied, match=r"(?s)writer .* exit code 1.*the disk is full"):
            await crew.guard(asyncio.sleep(600))


async def test_a_process_that_is_to_end_may_end_only_well(tmp_path: Path) -> None:
    async with Crew(tmp_path) as crew:
        await crew.start("buyers", python("-c", "print('sold')"), ends=True)
        await crew.guard(until(lambda: says(tmp_path / "buyers.log", "sold")))
    async with Crew(tmp_path) as crew:
        await crew.start("buyers", python("-c", _FAILING), ends=True)
        with pytest.raises(ProcessDied):
            await crew.guard(asyncio.sleep(600))


async def test_a_process_is_killed_and_started_again(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"

    async def crash() -> None:
        await until(lambda: says(log, "idle"))
        await crew.kill("worker")
        assert not crew.runs("worker")
        await crew.restart("worker")
        await until(lambda: says(log, "idle", times=2))

    async with Crew(tmp_path) as crew:
        await crew.start("worker", python("-c", _SAY_PID))
        await crew.guard(crash())
        pids = pids_in(log)
        assert len(set(pids)) == 2
        assert [is_running(pid) for pid in pids] == [False, True]
    assert not is_running(pids[1])


async def test_a_process_stops_when_it_is_told_to(tmp_path: Path) -> None:
    well = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); " + _IDLE
    async with Crew(tmp_path) as crew:
        await crew.start("worker", python("-c", well))
        await until(lambda: says(tmp_path / "worker.log", "idle"))
        await crew.stop("worker", timeout_s=20)
        assert not crew.runs("worker")


async def test_a_process_that_does_not_stop_is_named_and_killed_in_the_end(tmp_path: Path) -> None:
    async with Crew(tmp_path) as crew:
        await crew.start("worker", python("-c", _DEAF))
        await until(lambda: says(tmp_path / "worker.log", "idle"))
        with pytest.raises(ProcessHangs, match="worker has not stopped"):
            await crew.stop("worker", timeout_s=0.2)
        assert crew.runs("worker")
    assert not crew.runs("worker")


async def test_a_process_is_waited_for_until_it_listens(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    listen = f"import socket; s = socket.create_server(('127.0.0.1', {port})); " + _IDLE
    async with Crew(tmp_path) as crew:
        await crew.start("api", python("-c", listen))
        await crew.listening("api", port, timeout_s=20)
        assert crew.runs("api")
    async with Crew(tmp_path) as crew:
        await crew.start("api", python("-c", _IDLE))
        with pytest.raises(ProcessHangs, match=f"api does not listen on port {port}"):
            await crew.listening("api", port, timeout_s=0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans for us")
async def test_no_process_outlives_a_demo_that_is_killed(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(*python("-c", _DEMO, str(tmp_path), _SAY_PID))
    await until(lambda: says(tmp_path / "worker.log", "idle"))
    (pid,) = pids_in(tmp_path / "worker.log")
    assert is_running(pid)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await until(lambda: not is_running(pid))


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(10))) == 10
