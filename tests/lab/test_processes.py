"""The processes of a run, and what ends them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from forebay.lab.processes import Processes
from forebay.lab.program import Plan, Program, run_program


def stay() -> None:
    """A program that heeds no signal."""
    time.sleep(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_in_a_terminal_ends_no_process_of_the_lab_by_itself(
    tmp_path: Path, number: signal.Signals
) -> None:
    processes = Processes(tmp_path)
    first = processes.start("first", stay)
    server: Any = forkserver._forkserver  # as processes.py
    # A terminal sends it to this one too, as all else that has not left the terminal's session.
    os.kill(server._forkserver_pid, number)
    second = processes.start("second", stay)
    try:
        assert first.runs
        second.terminate()
        assert await second.wait(10) == -signal.SIGTERM
    finally:
        await processes.end_all()


async def listen_late(lab: Program) -> None:
    """A worker that listens for SIGTERM when it has come already."""
    signal.raise_signal(signal.SIGTERM)
    await lab.told_to_stop.wait()
    heard = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heard.set)
    await heard.wait()


async def test_who_is_told_to_stop_before_its_worker_listens_stops_all_the_same(
    tmp_path: Path,
) -> None:
    plan = Plan(
        scenario="letters",
        directory=tmp_path,
        endpoint_url="http://127.0.0.1:9",
        region="us-east-1",
        seed=1,
        time_scale=10.0,
        origin_ms=0,
        outside_url="http://127.0.0.1:9",
    )
    processes = Processes(tmp_path)
    process = processes.start("late", run_program, plan, "late", listen_late, {})
    try:
        assert await process.wait(10) == 0, process.tail()
    finally:
        await processes.end_all()
