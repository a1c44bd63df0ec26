"""What every process of the applications does at its start."""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from forebay.protocol.limits import VISIBILITY_TIMEOUT_SECONDS_DEFAULT
from forebay.stop_signals import stop_signals


def service_arguments(module: str, description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that every process of a service takes."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--endpoint-url", required=True, help="where SQS is")
    parser.add_argument("--data", required=True, type=Path, metavar="DIRECTORY")
    parser.add_argument("--node", required=True, help="the name of this process")
    parser.add_argument(
        "--visibility-timeout-s", type=int, default=VISIBILITY_TIMEOUT_SECONDS_DEFAULT
    )
    return parser


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a process's coroutine on uvloop, with its log on standard error."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def on_stop_signal(stop: Callable[[], None]) -> None:
    """Call `stop` in the running loop at the signals that ask this process to stop."""
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, stop)
