"""The books of the usage demo: what was offered, and what the database has of it, by SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from forebay.apps.usage.accounts import UsageAccount
from forebay.apps.usage.prices.load_report import LoadReport
from forebay.apps.verdicts import Verdict, verdict_table

#: Each figure of the database: the statement that reads it, as anybody may read it.
QUERIES = {
    "rows": "SELECT count(*) FROM usage_logs",
    "counted": "SELECT coalesce(sum(events), 0) FROM current_usage",
    "keys_apart": (
        "SELECT count(*) FROM"
        " (SELECT api_key_id, count(*) AS n FROM usage_logs GROUP BY 1) AS r FULL JOIN"
        " (SELECT api_key_id, sum(events) AS n FROM current_usage GROUP BY 1) AS c"
        " USING (api_key_id) WHERE r.n IS DISTINCT FROM c.n"
    ),
    "rejects": "SELECT count(*) FROM usage_rejects",
    "packs": "SELECT count(*) FROM usage_packs",
}


class DatabaseFigures(Struct, frozen=True, kw_only=True):
    """What the database says."""

    rows: int
    counted: int
    #: Keys whose counter is another number than that of their rows.
    keys_apart: int
    rejects: int
    packs: int


class UsageFacts(Struct, frozen=True, kw_only=True):
    """Everything that was read back."""

    load: LoadReport
    account: UsageAccount
    database: DatabaseFigures
    #: Messages in the queue and in its dead-letter queue: visible, in flight or delayed.
    left_in_queues: dict[str, int]
    writer_kills: int
    broker_kills: int
    seconds: float


class UsageResult(Struct, frozen=True):
    """The facts, and what they say of each promise."""

    facts: UsageFacts
    verdicts: Sequence[Verdict]

    @property
    def ok(self) -> bool:
        """Whether every invariant holds."""
        return all(verdict.holds for verdict in self.verdicts)


def read_database(conninfo: str) -> DatabaseFigures:
    """Ask the database, on a connection that nobody writes on."""
    with psycopg.connect(conninfo) as connection:
        return DatabaseFigures(
            **{name: int(_number(connection, query)) for name, query in QUERIES.items()}
        )


def count_rows(conninfo: str) -> int:
    """How many usage logs the database has."""
    with psycopg.connect(conninfo) as connection:
        return _number(connection, QUERIES["rows"])


def _number(connection: psycopg.Connection[tuple[int]], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def judge(facts: UsageFacts) -> UsageResult:
    """Whether all that was promised was kept."""
    return UsageResult(facts, list(_verdicts(facts)))


def _verdicts(facts: UsageFacts) -> Iterator[Verdict]:
    account, database, load = facts.account, facts.database, facts.load
    answered = sum(load.answered.values())

    def equal(invariant: str, one: int, other: int) -> Verdict:
        return Verdict(
            invariant,
            one == other,
            f"{one:,} = {other:,}" if one == other else f"{one:,} and {other:,}",
        )

    yield equal("every request was answered", load.asked, answered)
    yield equal("a log was offered for each answer", answered, account.offered)
    yield equal(
        "offered = delivered: nothing was dropped or failed", account.offered, account.delivered
    )
    yield equal("delivered = rows of usage_logs", account.delivered, database.rows)
    yield equal("counters of current_usage = rows", database.counted, database.rows)
    yield Verdict(
        "the counter of each key = its rows",
        database.keys_apart == 0,
        f"{database.keys_apart} keys differ" if database.keys_apart else "",
    )
    yield Verdict(
        "no log was rejected",
        database.rejects == 0,
        f"{database.rejects:,} in usage_rejects" if database.rejects else "",
    )
    left = ", ".join(
        f"{count} in {queue}" for queue, count in facts.left_in_queues.items() if count
    )
    yield Verdict("the queues are empty", not left, left)
    killed = facts.writer_kills >= 1 and facts.broker_kills >= 1
    yield Verdict(
        "a writer and the broker were killed on the way",
        killed,
        f"{facts.writer_kills} × a writer, {facts.broker_kills} × the broker",
    )


def print_result(console: Console, result: UsageResult) -> None:
    """The ledger, the invariants with their verdicts, and the conclusion."""
    facts = result.facts
    console.print(_ledger(facts))
    console.print(verdict_table(result.verdicts))
    console.print(_measurements(facts), soft_wrap=True)
    if result.ok:
        console.print("Every log arrived, once.", style="bold green")
    else:
        console.print("The books do not balance.", style="bold red")


def json_result(result: UsageResult) -> dict[str, object]:
    """The figures that `forebay usage demo --json` writes. Programs rely on the keys."""
    facts = result.facts
    return {
        "asked": facts.load.asked,
        "answered": sum(facts.load.answered.values()),
        "offered": facts.account.offered,
        "delivered": facts.account.delivered,
        "dropped": facts.account.dropped,
        "failed": facts.account.failed,
        "rows": facts.database.rows,
        "counted": facts.database.counted,
        "rejects": facts.database.rejects,
        "packs": facts.database.packs,
        "writer_kills": facts.writer_kills,
        "broker_kills": facts.broker_kills,
        "seconds": round(facts.seconds, 2),
        "ok": result.ok,
    }


def _ledger(facts: UsageFacts) -> Table:
    account, database, load = facts.account, facts.database, facts.load
    statuses = ", ".join(f"{count:,} × {status}" for status, count in sorted(load.answered.items()))
    table = Table(title="Ledger", title_justify="left")
    table.add_column("figure")
    table.add_column("count", justify="right")
    table.add_column("from", style="dim")
    for figure, count, source in (
        ("answered", sum(load.answered.values()), f"the clients: {statuses}"),
        ("offered", account.offered, "the producers of the price API, at their end"),
        ("delivered", account.delivered, "the same: acknowledged by the queue"),
        ("dropped", account.dropped, "the same: no room"),
        ("failed", account.failed, "the same: given up"),
        ("rows", database.rows, QUERIES["rows"]),
        ("counted", database.counted, QUERIES["counted"]),
        ("rejects", database.rejects, QUERIES["rejects"]),
        ("packs", database.packs, QUERIES["packs"]),
    ):
        table.add_row(figure, f"{count:,}", source)
    return table


def _measurements(facts: UsageFacts) -> str:
    rows, packs = facts.database.rows, facts.database.packs
    packed = (
        f"{rows:,} logs travelled in {packs:,} messages: one for {rows / packs:,.0f} logs. "
        if packs
        else ""
    )
    left_out = (
        f"This machine answers fewer than were to be asked: {facts.load.left_out:,} requests were"
        " left out. "
        if facts.load.left_out
        else ""
    )
    return f"{packed}{left_out}The whole took {facts.seconds:.1f} s."
