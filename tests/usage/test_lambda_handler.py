"""The function as AWS calls it, in an environment of its own."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.json import encode

from forebay.apps.usage import lambda_handler
from forebay.clock import SystemClock
from forebay.errors import SettingsError, StoreError
from tests.runtime.worker_messages import sealed
from tests.usage.conftest import postgres_sql, sqlite_sql
from tests.usage.events import LOG
from tests.usage.test_lambda_function import RECORD, record


class Context:
    """A context that has time left."""

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


@pytest.fixture(autouse=True)
def cold(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment that has not begun, whose variables are those of the test."""
    environment = lambda_handler.Environment()
    monkeypatch.setattr(lambda_handler, "_environment", environment)
    for variable in ("FOREBAY_USAGE_DATABASE", "DB_SECRET_NAME"):
        monkeypatch.delenv(variable, raising=False)
    yield
    environment.close()


def pack_of_now(identifier: str) -> dict[str, Any]:
    pack = sealed([encode((SystemClock().wall_ms(), LOG))] * 7, identifier=f"pack-{identifier}")
    attribute = {"binaryValue": b64encode(pack.content).decode(), "dataType": "Binary"}
    return record(identifier, pack.body.decode(), messageAttributes={"forebay.pack": attribute})


def invoke(*records: object) -> str:
    event = json.loads(json.dumps({"Records": records}))
    # AWS makes JSON of the answer.
    return json.dumps(lambda_handler.handler(event, Context()))


def test_it_writes_into_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    monkeypatch.setenv("FOREBAY_USAGE_DATABASE", f"sqlite:///{path}")
    assert invoke(pack_of_now("p1"), RECORD) == json.dumps(
        {"batchItemFailures": [{"itemIdentifier": RECORD["messageId"]}]}
    )
    assert sqlite_sql(path)("SELECT count(*) FROM usage_logs") == [(7,)]


def test_it_goes_on_after_its_connections_were_cut(
    monkeypatch: pytest.MonkeyPatch, postgres: str
) -> None:
    name = "lambda-under-test"
    monkeypatch.setenv("FOREBAY_USAGE_DATABASE", f"{postgres} application_name={name}")
    sql = postgres_sql(postgres)
    for number in range(3):
        assert json.loads(invoke(pack_of_now(f"p{number}"))) == {"batchItemFailures": []}
        assert sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE application_name = '{name}'"
        )
    assert sql("SELECT count(*) FROM usage_logs") == [(21,)]


def test_a_cold_start_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="DB_SECRET_NAME to a secret of AWS Secrets Manager"):
        invoke(pack_of_now("p1"))
    monkeypatch.setenv("FOREBAY_USAGE_DATABASE", "postgresql://writer@127.0.0.1:1/usage")
    with pytest.raises(StoreError, match="could not be opened"):
        invoke(pack_of_now("p1"))


@pytest.mark.parametrize("given", ["0", "-1", "many", "1e3", "99999999999"])
def test_a_budget_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("FOREBAY_USAGE_DATABASE", "sqlite:///unused")
    monkeypatch.setenv("FOREBAY_USAGE_ROWS_PER_INVOCATION", given)
    with pytest.raises(SettingsError, match="must be a whole number from 1 to 10,000,000"):
        invoke(pack_of_now("p1"))
