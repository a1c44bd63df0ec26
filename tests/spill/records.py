"""Records to spill."""

from __future__ import annotations

from pathlib import Path

from forebay.producer.settings import SpillFull
from forebay.producer.spill import Spill, SpillAccount, SpillLimits, SpillRecord
from forebay.producer.spill.files import Files

DIRECTORY = Path("/spill")

LIMITS = SpillLimits(bytes_max=100_000, segment_bytes=1_000)
OLDEST = SpillLimits(bytes_max=4_000, segment_bytes=1_000, full=SpillFull.DROP_OLDEST)
NEWEST = SpillLimits(bytes_max=4_000, segment_bytes=1_000)


def record(number: int, *, events: int = 3, size: int = 100) -> SpillRecord:
    data = (b"%d " % number * size)[:size]
    return SpillRecord(f"r{number}", events, 1_000 * number, 1_000 * number + 500, data)


def records(start: int, stop: int, *, events: int = 3, size: int = 100) -> list[SpillRecord]:
    return [record(number, events=events, size=size) for number in range(start, stop)]


def read_all(spill: Spill, *, bytes_max: int = 500) -> list[SpillRecord]:
    """Read to the end, and acknowledge nothing."""
    found = []
    while taken := spill.read(bytes_max):
        found += [record for _, record in taken]
    return found


def drain(spill: Spill) -> list[SpillRecord]:
    """Read to the end and acknowledge everything."""
    found = []
    while taken := spill.read(500):
        found += [record for _, record in taken]
        spill.acknowledge(token for token, _ in taken)
    return found


def assert_adds_up(account: SpillAccount) -> None:
    assert account.appended == (
        account.acknowledged + account.corrupt + account.dropped_oldest + account.waiting
    )
    for name in account.__struct_fields__:
        assert getattr(account, name) >= 0, account


def opened(files: Files, limits: SpillLimits = LIMITS) -> Spill:
    return Spill.open(DIRECTORY, limits, files=files)
