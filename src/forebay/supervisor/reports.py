"""What the processes of `forebay worker run` and the one above them say to each other.

Each process has one socket to the one above it. It says reports, a line of JSON each, and hears
orders, a byte each. When the socket ends, the other side is gone.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec
from msgspec import Struct

from forebay.producer.snapshot import ProducerSnapshot
from forebay.worker.ledger import WorkerLedger
from forebay.worker.snapshot import WorkerSnapshot


class Order(IntEnum):
    """What a process is told. An order that comes again says nothing new."""

    #: Finish what is in hand, and end.
    DRAIN = ord("d")
    #: Give back what is in hand, and end.
    RELEASE = ord("r")


class Loaded(Struct, frozen=True, tag="loaded"):
    """The worker was found and begins to work."""

    #: How long a drain may take, to its last confirmation, in seconds.
    drain_s: float


class Refused(Struct, frozen=True, tag="refused"):
    """The worker could not begin, or ended with an error."""

    message: str
    #: Whether the settings are wrong, so that trying again would bring the same.
    for_good: bool


class Seen(Struct, frozen=True, tag="seen"):
    """The worker at this moment; every second."""

    snapshot: WorkerSnapshot
    #: The producers of its process.
    producers: list[ProducerSnapshot] = []


class Ended(Struct, frozen=True, tag="ended"):
    """The worker has drained."""

    snapshot: WorkerSnapshot
    ledger: WorkerLedger


Report = Loaded | Refused | Seen | Ended

#: Most bytes of one report; a worker with thousands of queues stays below it.
REPORT_BYTES_MAX = 16 * 1024 * 1024

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Report)


def encode(report: Report) -> bytes:
    """A report as a line."""
    return _encoder.encode(report) + b"\n"


def decode(line: bytes) -> Report:
    """The report of a line."""
    report: Report = _decoder.decode(line)
    return report
