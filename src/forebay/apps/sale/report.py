"""The demo's result as a person and as a program read it."""

from __future__ import annotations

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from forebay.apps.sale.demo import DemoResult
from forebay.apps.verdicts import verdict_table

#: What the figures of the ledger mean, in the order of the table.
_MEANINGS = {
    "buyers": "different buyers with an accepted order",
    "accepted": "orders that the API answered for, each durably queued first",
    "duplicates_collapsed": "further clicks that found their order accepted already",
    "confirmed": "orders that got a place",
    "sold_out": "orders that came too late",
    "dead_lettered": "poison orders in the dead-letter queue",
    "undecided": "accepted, but neither decided nor dead-lettered",
    "oversold": "confirmations of a place that was not there",
    "double_decided": "orders with more than one decision",
    "inversions": "sold out, though a later order got such a place",
    "lost": "accepted orders that are nowhere",
    "notified": "notifications sent",
    "usage_sent": "usage logs accepted by the API's producers",
    "usage_stored": "usage logs in the store",
    "usage_dropped": "usage logs shed by the API's producers, and counted",
}


def report(result: DemoResult) -> Group:
    """The ledger, the invariants with their verdicts, and what was measured."""
    return Group(_ledger_table(result), verdict_table(result.verdicts), _measurements(result))


def json_report(result: DemoResult) -> dict[str, object]:
    """The figures that `forebay demo --json` writes. Programs rely on the keys."""
    ledger = result.ledger
    return {
        "buyers": ledger.buyers,
        "accepted": ledger.accepted,
        "duplicates_collapsed": ledger.duplicates_collapsed,
        "confirmed": ledger.confirmed,
        "sold_out": ledger.sold_out,
        "dead_lettered": ledger.dead_lettered,
        "undecided": ledger.undecided,
        "oversold": ledger.oversold,
        "double_decided": ledger.double_decided,
        "inversions": ledger.inversions,
        "lost": ledger.lost,
        "usage_sent": ledger.usage_sent,
        "usage_stored": ledger.usage_stored,
        "usage_dropped": ledger.usage_dropped,
        "broker_kills": result.broker_kills,
        "worker_kills": result.worker_kills,
        "orders_per_second": round(ledger.orders_per_second, 1),
        "accept_p50_ms": round(ledger.accept_p50_ms, 3),
        "accept_p99_ms": round(ledger.accept_p99_ms, 3),
        "seconds": round(result.seconds, 2),
        "ok": result.ok,
    }


def _ledger_table(result: DemoResult) -> Table:
    table = Table(title="Ledger, read back from the stores and queues", title_justify="left")
    table.add_column("figure")
    table.add_column("count", justify="right")
    table.add_column("meaning", style="dim")
    for figure, meaning in _MEANINGS.items():
        table.add_row(figure.replace("_", " "), f"{getattr(result.ledger, figure):,}", meaning)
    return table


def _measurements(result: DemoResult) -> Text:
    ledger = result.ledger
    return Text(
        f"{ledger.orders_per_second:,.0f} orders decided a second, outages included, and"
        f" {ledger.busiest_second:,} in the busiest second.\n"
        f"Accepted in {ledger.accept_p50_ms:,.1f} ms (median) and {ledger.accept_p99_ms:,.1f} ms"
        " (99th percentile), measured in the API.\n"
        f"{ledger.api_inversions:,} orders were overtaken between the API and the queue, where two"
        " processes race; from the queue on order holds.\n"
        f"Survived {result.worker_kills} kill of a worker and {result.broker_kills} of the broker"
        f" with SIGKILL. The whole took {result.seconds:.1f} s."
    )


def print_report(console: Console, result: DemoResult) -> None:
    """Print the report and its conclusion."""
    console.print(report(result))
    if result.ok:
        console.print("Every invariant holds.", style="bold green")
    else:
        console.print("The sale went wrong: an invariant is broken.", style="bold red")
