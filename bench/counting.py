"""Counts what a piece of work takes: Python calls and processor instructions.

A machine's speed changes by the minute and counts do not. Instructions are those of a whole
process, every thread and library included, and of the kernel none; valgrind counts them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import uvloop

_INSTRUCTIONS = re.compile(rb"I\s+refs:\s+([\d,]+)")

#: The packages whose calls are the counting's own.
_NOT_OURS = ("bench",)

#: Makes a piece of work that calls the one when what is to be counted begins and the other at its
#: end.
Work = Callable[[Callable[[], None], Callable[[], None]], Coroutine[Any, Any, None]]


def python_calls(work: Work) -> int:
    """The calls of Python functions, in every thread, but for those of the bench itself."""
    calls = 0
    counting = False

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        if counting and event == "call" and frame.f_globals.get("__package__") not in _NOT_OURS:
            calls += 1

    def begin() -> None:
        nonlocal counting
        counting = True

    def end() -> None:
        nonlocal counting
        counting = False

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        uvloop.run(work(begin, end))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return calls


def instructions_each(command: Callable[[int], list[str]], times: int) -> int | None:
    """The instructions of doing something once; None where valgrind is missing.

    `command` makes the arguments of the interpreter that do it so many times. What two runs differ
    by is what was done more often.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return None
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(_instructions, valgrind, command(n)) for n in (times, 2 * times)]
        fewer, more = (run.result() for run in runs)
    return (more - fewer) // times


def _instructions(valgrind: str, arguments: list[str]) -> int:
    """The instructions of a whole run."""
    command = [valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    done = subprocess.run([*command, sys.executable, *arguments], check=False, capture_output=True)
    found = _INSTRUCTIONS.search(done.stderr)
    if done.returncode or found is None:
        raise RuntimeError(f"valgrind counted nothing: {done.stderr.decode()}")
    return int(found[1].replace(b",", b""))
