"""The processes of a run, and what ends them."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from forebay.lab.processes import Processes


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
