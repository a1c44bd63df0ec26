"""`python -m tests.fuzz`: many inputs, and a look at memory. `make soak` runs a million."""

from __future__ import annotations

import asyncio
import resource
from typing import Annotated

import typer
from rich.progress import track

from tests.fuzz.inputs import Inputs
from tests.fuzz.target import target

#: Inputs to one broker before it is replaced by a fresh one.
ROUND = 20_000

#: How much the peak memory may grow after the first round, in KiB.
GROWTH_MAX_KIB = 64 * 1024


async def _round(seed: int) -> None:
    inputs = Inputs(seed)
    async with target() as broker:
        for _ in range(ROUND):
            for answer in await broker.feed(inputs.next()):
                inputs.learn(answer)


def main(
    count: Annotated[int, typer.Option("--inputs", help="How many inputs.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Other inputs for another seed.")] = 1,
) -> None:
    """Feed the broker inputs until one breaks it. Exits with 1 and shows that input."""
    peaks_kib = []
    rounds = -(-count // ROUND)
    for number in track(range(rounds), description=f"{rounds * ROUND:,} inputs"):
        asyncio.run(_round(seed * 1_000_003 + number))
        peaks_kib.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    growth_kib = peaks_kib[-1] - peaks_kib[min(1, len(peaks_kib) - 1)]
    print(f"{rounds * ROUND:,} inputs, no violation; peak memory {peaks_kib[-1] // 1024} MiB,")
    print(f"{growth_kib // 1024} MiB more than after the second round")
    if growth_kib > GROWTH_MAX_KIB:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
