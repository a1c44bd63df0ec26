"""The usage-log pipeline: what its producer takes, what a burst comes to, and what is beside it.

Every part is a module with `run`, `bars` and `print_tables`. A part that fails is said to have, and
the others run.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from rich.console import Console

from bench import (
    usage_burst,
    usage_cost,
    usage_kills,
    usage_memory,
    usage_outage,
    usage_peers,
    usage_send,
)
from bench.bars import Bar
from bench.usage_sizes import Sizes


class Part(Struct):
    """One part of the benchmark."""

    #: Gets what earlier parts measured, too.
    run: Callable[[Sizes, Console, dict[str, Any]], Any]
    bars: Callable[[Any], list[Bar]]
    print_tables: Callable[[Any, Console], None]


PARTS = {
    "send": Part(usage_send.run, usage_send.bars, usage_send.print_tables),
    "burst": Part(usage_burst.run, usage_burst.bars, usage_burst.print_tables),
    "cost": Part(usage_cost.run, usage_cost.bars, usage_cost.print_tables),
    "outage": Part(usage_outage.run, usage_outage.bars, usage_outage.print_tables),
    "kills": Part(usage_kills.run, usage_kills.bars, usage_kills.print_tables),
    "memory": Part(usage_memory.run, usage_memory.bars, usage_memory.print_tables),
    "peers": Part(usage_peers.run, usage_peers.bars, usage_peers.print_tables),
}


class Report(Struct):
    """The benchmark as it is written to JSON."""

    sizes: Sizes
    #: What each part measured, and how long it took, in seconds.
    parts: dict[str, Any]
    seconds: dict[str, float]
    bars: list[Bar]
    #: Parts that failed, each with the reason.
    not_measured: dict[str, str]


def run(sizes: Sizes, wanted: list[str], console: Console) -> Report:
    """Run the parts whose names are wanted; without any, all of them."""
    report = Report(sizes, {}, {}, [], {})
    for name, part in PARTS.items():
        if wanted and name not in wanted:
            continue
        begun_s = time.monotonic()
        try:
            measured = part.run(sizes, console, report.parts)
        except Exception as error:
            console.print(traceback.format_exc(), markup=False, highlight=False)
            report.not_measured[name] = str(error)
        else:
            report.parts[name] = measured
            report.bars += part.bars(measured)
            part.print_tables(measured, console)
        report.seconds[name] = time.monotonic() - begun_s
    return report


def print_bars(report: Report, console: Console) -> None:
    """Show people what was asked for beside what was reached."""
    for bar in report.bars:
        console.print(bar.verdict, highlight=False)
    for name, reason in report.not_measured.items():
        console.print(f"{name}: not measured: {reason}", markup=False, highlight=False)
    taken = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.seconds.items())
    console.print(f"taken: {taken}", highlight=False)
