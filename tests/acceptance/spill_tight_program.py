"""Spills to files that the system lets grow to 70,000 bytes, then lets them grow again."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from forebay.producer.spill import Spill, SpillError, SpillLimits, SpillRecord


def record(number: int) -> SpillRecord:
    return SpillRecord(f"r{number}", 1, 0, 0, b"x" * 950)


def main(directory: str) -> None:
    limits = SpillLimits(bytes_max=10**8, segment_bytes=10**6)
    spill = Spill.open(Path(directory), limits)
    spill.append([record(number) for number in range(60)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, resource.RLIM_INFINITY))
    try:
        # The system takes a part of it, and then no more.
        spill.append([record(number) for number in range(60, 90)])
    except SpillError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    spill.append([record(number) for number in range(90, 95)])
    spill.close()
    spill = Spill.open(Path(directory), limits)
    taken = spill.read(10**8)
    spill.acknowledge(token for token, _ in taken)
    print(*(found.id for _, found in taken))
    print(spill.account)
    spill.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
