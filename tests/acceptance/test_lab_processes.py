"""The processes of the lab are processes: they crash, are killed, and do not stay behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forebay.lab.processes import Process, Processes, ProcessHangs


def end_with(code: int) -> None:
    print("on its way out")
    sys.exit(code)


def end_at_once(code: int) -> None:
    os._exit(code)


def fail() -> None:
    raise ValueError("no such luck")


def wait_for_ever() -> None:
    while True:
        time.sleep(60)


def say_variable(name: str) -> None:
    print(os.environ[name], os.getsid(0) == os.getpid())


@pytest.mark.parametrize(
    ("function", "arguments", "code"),
    [(end_with, (0,), 0), (end_with, (3,), 3), (end_at_once, (7,), 7), (fail, (), 1)],
)
async def test_the_exit_code_is_the_process_s_own(
    tmp_path: Path, function: object, arguments: tuple[int, ...], code: int
) -> None:
    process = Processes(tmp_path).start("one", function, *arguments)  # type: ignore[arg-type]
    assert await process.wait(20) == code
    assert not process.runs


async def test_a_failure_is_in_the_log(tmp_path: Path) -> None:
    process = Processes(tmp_path).start("one", fail)
    await process.wait(20)
    assert "ValueError: no such luck" in process.tail()


async def test_a_kill_ends_it_and_its_signal_is_told(tmp_path: Path) -> None:
    process = Processes(tmp_path).start("one", wait_for_ever)
    with pytest.raises(ProcessHangs, match=r"one has not ended within 0\.1 s"):
        await process.wait(0.1)
    process.kill()
    assert await process.wait(20) == -signal.SIGKILL


async def test_it_has_its_environment_and_a_session_of_its_own(tmp_path: Path) -> None:
    process = Processes(tmp_path).start(
        "one", say_variable, "FOREBAY_LAB_TEST", environment={"FOREBAY_LAB_TEST": "there"}
    )
    await process.wait(20)
    assert "there True" in process.tail()
    assert "FOREBAY_LAB_TEST" not in os.environ


async def test_none_stays_behind(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    started: list[Process] = [processes.start(str(each), wait_for_ever) for each in range(3)]
    await processes.end_all()
    assert all(process.exit_code == -signal.SIGKILL for process in started)


def test_none_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from forebay.lab.processes import Processes\n"
        "from tests.acceptance.test_lab_processes import wait_for_ever\n"
        "async def main():\n"
        "    process = Processes(Path(sys.argv[1])).start('one', wait_for_ever)\n"
        "    print(process.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.kill()
    until_s = time.monotonic() + 20
    while _is_there(pid):
        assert time.monotonic() < until_s
        time.sleep(0.05)


def _is_there(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
