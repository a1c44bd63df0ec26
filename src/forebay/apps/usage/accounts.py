"""The final ledgers of usage producers, in files: what each was offered, read when it is gone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
from msgspec import Struct

from forebay.producer import ProducerLedger

_ACCOUNT = "usage-ledger-{}.json"


class UsageAccount(Struct, frozen=True):
    """What several producers wrote down when they stopped, added up. All in envelopes."""

    offered: int = 0
    #: Acknowledged by the queue.
    delivered: int = 0
    #: Not accepted, or given up for want of room.
    dropped: int = 0
    #: Accepted, and not known to be in the queue: given up, damaged, or left behind.
    failed: int = 0
    #: Accepted, and waiting in a spill directory for the next process.
    spilled: int = 0


def keep_account(directory: Path, process: str, ledger: ProducerLedger) -> None:
    """Write down the ledger of a producer that was closed. `process` must name no other one."""
    (directory / _ACCOUNT.format(process)).write_bytes(msgspec.json.encode(ledger))


def kept_account(directory: Path) -> UsageAccount:
    """What all processes that have stopped wrote down in this directory."""
    sums: Counter[str] = Counter()
    for path in directory.glob(_ACCOUNT.format("*")):
        ledger = msgspec.json.decode(path.read_bytes(), type=ProducerLedger)
        sums["offered"] += ledger.offered
        sums["delivered"] += ledger.delivered
        sums["dropped"] += sum(ledger.dropped.values())
        sums["failed"] += ledger.failed + ledger.corrupt + ledger.buffered
        sums["spilled"] += ledger.spilled
    return UsageAccount(**sums)
