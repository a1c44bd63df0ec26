"""What AWS would bill for the logs of the document's largest run, by what this run was metered for.

The meter is the broker's: every call to the usage queue counts as AWS counts it, by 64 KiB, empty
receives included.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.bars import Bar
from bench.usage_burst import Report as BurstReport
from bench.usage_pipeline import Outcome, pipeline
from bench.usage_sizes import Sizes
from forebay.producer import ProducerSettings

#: Logs of the document's run 17.
DOCUMENT_LOGS = 1_343_652_627

#: AWS's price of a standard queue's requests in us-east-2, below 100 billion a month, in dollars a
#: million; the first million of a month is free and not taken off here.
#: Source: https://aws.amazon.com/sqs/pricing/, as of June 2026.
DOLLARS_A_MILLION = 0.40

#: What the document says that its run costs, in dollars: one request for each log.
DOCUMENT_DOLLARS = 536

#: Requests of a log that is sent, received and deleted alone, and in calls of ten.
_ALONE, _IN_TENS = 3.0, 0.3

#: Packed logs are to cost less than the unpacked ones at least so many times.
_TIMES_LESS = 100

#: The runs that are metered here, in logs a second: with a message each, and packed where the burst
#: was not run.
_UNPACKED_PER_S, _PACKED_PER_S = 5_000, 100_000
_PATIENCE_S = 90


class Metered(Struct):
    """What a run was metered for."""

    name: str
    logs: int
    billed: dict[str, int]

    @property
    def requests_each(self) -> float:
        """Requests of a log."""
        return sum(self.billed.values()) / self.logs

    @property
    def dollars(self) -> float:
        """The price of the document's logs."""
        return dollars(self.requests_each)


class Report(Struct):
    """The part as it is written to JSON."""

    logs: int
    dollars_a_million: float
    metered: list[Metered]


def dollars(requests_each: float, logs: int = DOCUMENT_LOGS) -> float:
    """What so many logs cost when each takes so many requests."""
    return logs * requests_each * DOLLARS_A_MILLION / 1e6


def run(sizes: Sizes, console: Console, earlier: dict[str, Any]) -> Report:
    """Take the burst's meter, and run what has a message for each log."""
    burst = earlier.get("burst")
    metered = []
    if isinstance(burst, BurstReport):
        metered.append(_metered("packed, the burst", burst.outcome))
    else:
        with console.status("packed"):
            metered.append(_metered("packed", _run(sizes, _PACKED_PER_S, packed=True)))
    with console.status("a message each"):
        metered.append(_metered("a message each", _run(sizes, _UNPACKED_PER_S, packed=False)))
    return Report(DOCUMENT_LOGS, DOLLARS_A_MILLION, metered)


def bars(report: Report) -> list[Bar]:
    """What was asked for: a bill a hundred times smaller."""
    packed, unpacked = report.metered
    return [
        Bar(
            "cost, of a message each to packed",
            _TIMES_LESS,
            unpacked.dollars / packed.dollars,
        ),
        Bar(
            f"cost, of the document's ${DOCUMENT_DOLLARS} to packed",
            _TIMES_LESS,
            DOCUMENT_DOLLARS / packed.dollars,
        ),
    ]


def print_tables(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(
        title=f"{report.logs:,} logs at ${report.dollars_a_million:.2f} a million requests"
    )
    table.add_column("how")
    for heading in ("logs metered", "requests", "sends", "receives", "deletes", "others"):
        table.add_column(heading, justify="right")
    table.add_column("requests a 1,000 logs", justify="right")
    table.add_column("dollars", justify="right")
    table.add_row("the document: a request a log", *[""] * 6, "1,000", f"{DOCUMENT_DOLLARS:,}")
    for name, each in (("computed: alone", _ALONE), ("computed: in tens", _IN_TENS)):
        table.add_row(name, *[""] * 6, f"{each * 1000:,.0f}", f"{dollars(each):,.0f}")
    for metered in report.metered:
        billed = dict(metered.billed)
        kinds = [
            sum(billed.pop(action, 0) for action in (name, f"{name}Batch"))
            for name in ("SendMessage", "ReceiveMessage", "DeleteMessage")
        ]
        kinds.append(sum(billed.values()))
        table.add_row(
            f"metered: {metered.name}",
            f"{metered.logs:,}",
            f"{sum(metered.billed.values()):,}",
            *(f"{count:,}" for count in kinds),
            f"{metered.requests_each * 1000:,.2f}",
            f"{metered.dollars:,.2f}",
        )
    console.print(table)
    console.print(
        "Price: standard queue, us-east-2, below 100 billion requests a month, June 2026,"
        " https://aws.amazon.com/sqs/pricing/; the free million is not taken off.",
        highlight=False,
    )


def _metered(name: str, outcome: Outcome) -> Metered:
    return Metered(name, outcome.exact.rows, outcome.billed)


def _run(sizes: Sizes, per_second: int, *, packed: bool) -> Outcome:
    with pipeline(1) as running:
        begun_s, futures = running.offer(
            per_second,
            sizes.cost_seconds,
            1,
            ProducerSettings(),
            packed=packed,
            patience_s=_PATIENCE_S,
        )
        return running.watch(begun_s, futures, _PATIENCE_S)
