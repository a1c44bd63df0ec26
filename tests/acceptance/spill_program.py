"""Spills records until it is killed, and prints of each that it is kept, and that it is done."""

from __future__ import annotations

import sys
from pathlib import Path

from forebay.producer.spill import Spill, SpillLimits, SpillRecord

LIMITS = SpillLimits(bytes_max=10**8, segment_bytes=5_000)

#: Events of each record, records of each append, and records that are read at a time at most.
EVENTS, APPENDED, READ_MOST = 2, 5, 7


def main(directory: str, first: str) -> None:
    spill = Spill.open(Path(directory), LIMITS)
    number = int(first)
    while True:
        names = [f"r{number + index}" for index in range(APPENDED)]
        number += APPENDED
        spill.append([SpillRecord(name, EVENTS, 0, 0, name.encode() * 50) for name in names])
        sys.stdout.write("".join(f"kept {name}\n" for name in names))
        sys.stdout.flush()
        taken = spill.read(1_000)
        spill.acknowledge(token for token, _ in taken)
        sys.stdout.write("".join(f"done {found.id}\n" for _, found in taken))
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
