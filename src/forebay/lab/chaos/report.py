"""The books of the proxy for people and for machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forebay.broker.faults import Deed, Fate
from forebay.fault_injection import FaultRates
from forebay.lab.chaos.ledger import ChaosLedger, QueueFigures

#: Queues that stand beside each other in a table.
_QUEUES_ABREAST = 4

#: Messages that are named in a line.
_NAMED_MAX = 3

#: The lines of the table.
_LINES: tuple[tuple[str, Callable[[QueueFigures], int]], ...] = (
    ("messages sent", lambda of: of.sent),
    ("messages delivered", lambda of: of.delivered),
    ("deliveries", lambda of: of.deliveries),
    ("of them doubled by the proxy", lambda of: of.doubled),
    ("messages deleted", lambda of: of.deleted),
    ("deleted twice", lambda of: len(of.deleted_twice)),
    ("came again after deletion", lambda of: len(of.came_after_deletion)),
    ("delivered and never deleted", lambda of: len(of.never_deleted)),
    ("never delivered", lambda of: len(of.never_delivered)),
    ("taken by a purge", lambda of: len(of.purged)),
    ("replies to sends lost", lambda of: of.send_replies_lost),
    ("replies to receives lost", lambda of: of.receive_replies_lost),
    ("replies to deletes lost", lambda of: of.delete_replies_lost),
    ("calls throttled", lambda of: of.throttled),
    ("calls cut by a partition", lambda of: of.cut),
)


def print_ledger(console: Console, ledger: ChaosLedger) -> None:
    """Print the books: a column a queue, and below them what needs a look."""
    figures = ledger.figures()
    for names in _batches(list(figures)):
        table = Table(title="Ledger", title_justify="left")
        table.add_column("")
        for name in names:
            table.add_column(Text(name, overflow="fold"), justify="right")
        for label, count in _LINES:
            table.add_row(label, *(f"{count(figures[name]):,}" for name in names))
        console.print(table)
    console.print(summary(ledger), highlight=False, soft_wrap=True)
    for line in _remarks(figures):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def summary(ledger: ChaosLedger) -> str:
    """In one line, how calls ended and what was done to them."""
    fates, deeds = ledger.fates, ledger.deeds
    counts = (
        (deeds[Deed.DOUBLED], "message", "doubled"),
        (deeds[Deed.REORDERED], "receive", "reordered"),
        (deeds[Deed.DELAYED], "answer", "late"),
        (fates[Fate.LOST], "answer", "lost"),
        (fates[Fate.THROTTLED], "call", "throttled"),
        (deeds[Deed.PURGED], "message", "purged late"),
        (deeds[Deed.PARTED], "partition", "made"),
        (fates[Fate.CUT], "call", "cut"),
    )
    shown = [(fates[Fate.ANSWERED], "call", "answered"), *(each for each in counts if each[0])]
    return ", ".join(f"{count:,} {noun}{'s' * (count != 1)} {deed}" for count, noun, deed in shown)


def ledger_as_json(ledger: ChaosLedger, endpoint_url: str, rates: FaultRates) -> Mapping[str, Any]:
    """The books with the names of all messages that need a look."""
    return {
        "endpoint": endpoint_url,
        "faults": msgspec.to_builtins(rates),
        "calls": {fate.value: ledger.fates[fate] for fate in Fate},
        "done": {deed.value: ledger.deeds[deed] for deed in Deed},
        "queues": msgspec.to_builtins(ledger.figures()),
    }


def _remarks(figures: Mapping[str, QueueFigures]) -> Iterator[str]:
    for name, of in figures.items():
        for text, messages in (
            ("delivered and never deleted", of.never_deleted),
            ("sent and never delivered", of.never_delivered),
        ):
            if messages:
                named = ", ".join(messages[:_NAMED_MAX])
                more = f" and {len(messages) - _NAMED_MAX:,} more" * (len(messages) > _NAMED_MAX)
                yield f"{name}: {text}: {named}{more}"


def _batches(names: list[str]) -> Iterator[tuple[str, ...]]:
    for begin in range(0, len(names), _QUEUES_ABREAST):
        yield tuple(names[begin : begin + _QUEUES_ABREAST])
