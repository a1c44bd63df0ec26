"""`python -m bench`: run the benchmarks, print their tables and write JSON beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from bench import broker

RESULTS = Path(__file__).parent / "results"


def main(
    seconds: Annotated[float, typer.Option(help="Length of one measurement, in seconds.")] = 3.0,
    rounds: Annotated[int, typer.Option(help="How often each subject is measured.")] = 3,
) -> None:
    """Measure the broker beside a bare HTTP echo and write bench/results/broker.json."""
    console = Console()
    report = broker.run(seconds, rounds, console)
    broker.print_table(report, console)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "broker.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    console.print(f"written to {path.relative_to(Path.cwd())}")


if __name__ == "__main__":
    typer.run(main)
