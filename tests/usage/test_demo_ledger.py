from __future__ import annotations

import io
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from rich.console import Console

from forebay.apps.usage.accounts import UsageAccount
from forebay.apps.usage.demo import UsageDemoSettings
from forebay.apps.usage.demo_ledger import (
    DatabaseFigures,
    UsageFacts,
    count_rows,
    json_result,
    judge,
    print_result,
    read_database,
)
from forebay.apps.usage.postgres import PostgresUsageStore
from forebay.apps.usage.prices.load_report import LoadReport
from forebay.errors import SettingsError
from tests.usage.events import LOG, pack

FACTS = UsageFacts(
    load=LoadReport(asked=6_400, answered={200: 6_300, 404: 100}),
    account=UsageAccount(offered=6_400, delivered=6_400),
    database=DatabaseFigures(rows=6_400, counted=6_400, keys_apart=0, rejects=0, packs=64),
    left_in_queues={"usage": 0, "usage-dlq": 0},
    writer_kills=1,
    broker_kills=1,
    seconds=17.812,
)


def shown(facts: UsageFacts) -> str:
    page = io.StringIO()
    print_result(Console(file=page, width=160), judge(facts))
    return page.getvalue()


def test_books_that_balance_say_so_with_their_sql() -> None:
    assert judge(FACTS).ok
    text = shown(FACTS)
    for said in (
        "Every log arrived, once.",
        "6,300 × 200, 100 × 404",
        "SELECT count(*) FROM usage_logs",
        "6,400 = 6,400",
        "6,400 logs travelled in 64 messages: one for 100 logs.",
    ):
        assert said in text
    assert "BROKEN" not in text
    assert "left out" not in text
    slow = replace(FACTS, load=replace(FACTS.load, left_out=1_234))
    assert "1,234 requests were left out" in shown(slow)


@pytest.mark.parametrize(
    ("of", "wrong", "breaks"),
    [
        ("load", {"asked": 6_401}, "every request was answered"),
        ("account", {"offered": 6_399}, "a log was offered for each answer"),
        ("account", {"offered": 6_401}, "a log was offered for each answer"),
        ("account", {"delivered": 6_399}, "offered = delivered: nothing was dropped or failed"),
        ("database", {"rows": 6_399}, "delivered = rows of usage_logs"),
        ("database", {"rows": 6_401}, "delivered = rows of usage_logs"),
        ("database", {"counted": 6_401}, "counters of current_usage = rows"),
        ("database", {"keys_apart": 2}, "the counter of each key = its rows"),
        ("database", {"rejects": 1}, "no log was rejected"),
        (None, {"left_in_queues": {"usage-dlq": 1}}, "the queues are empty"),
        (None, {"writer_kills": 0}, "a writer and the broker were killed on the way"),
        (None, {"broker_kills": 0}, "a writer and the broker were killed on the way"),
    ],
)
def test_each_promise_that_is_broken_is_named(
    of: str | None, wrong: dict[str, Any], breaks: str
) -> None:
    facts = replace(FACTS, **({of: replace(getattr(FACTS, of), **wrong)} if of else wrong))
    result = judge(facts)
    assert breaks in [verdict.invariant for verdict in result.verdicts if not verdict.holds]
    assert not result.ok
    assert json_result(result)["ok"] is False
    assert "The books do not balance." in shown(facts)


def test_the_figures_have_exactly_the_promised_keys() -> None:
    assert json_result(judge(FACTS)) == {
        "asked": 6_400,
        "answered": 6_400,
        "offered": 6_400,
        "delivered": 6_400,
        "dropped": 0,
        "failed": 0,
        "rows": 6_400,
        "counted": 6_400,
        "rejects": 0,
        "packs": 64,
        "writer_kills": 1,
        "broker_kills": 1,
        "seconds": 17.81,
        "ok": True,
    }


async def test_the_database_is_read_by_sql(postgres: str) -> None:
    store = await PostgresUsageStore.open(postgres)
    other = replace(LOG, api_key_id="ak_other")
    await store.write([pack("one", LOG, LOG, other), pack("two", other)])
    await store.close()
    figures = DatabaseFigures(rows=4, counted=4, keys_apart=0, rejects=0, packs=2)
    assert read_database(postgres) == figures
    assert count_rows(postgres) == 4
    vandalise(postgres, "UPDATE current_usage SET events = 3 WHERE api_key_id = 'ak_other'")
    vandalise(postgres, "UPDATE usage_logs SET api_key_id = 'ak_nobody' WHERE record_index = 0")
    found = read_database(postgres)
    assert (found.rows, found.counted) == (4, 5)
    assert found.keys_apart == 3


def vandalise(conninfo: str, statement: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rate": 0}, "--rate is 0; it must be 1 to 100,000"),
        ({"seconds": 1}, "--seconds is 1; it must be 2 to 3,600"),
    ],
)
def test_what_cannot_be_a_load_is_refused(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        UsageDemoSettings(**wrong)  # type: ignore[arg-type]
