from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from forebay.apps.usage.domain import USAGE_LOG_TYPE, UsageLog
from forebay.apps.usage.record_store import SqliteUsageStore, UsageRecord, UsageStore
from forebay.apps.usage.record_writer import usage_router
from forebay.worker import Reject
from tests.apps.deliveries import deliver

LOG = UsageLog("channel-1", "gala#stalls", "place_order", 1_500, "queue", 202)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "usage.sqlite3"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[UsageStore]:
    opened = await SqliteUsageStore.open(path)
    yield opened
    await opened.close()


def rows(path: Path) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(str(path))) as other_process:
        return other_process.execute("SELECT * FROM usage_logs ORDER BY envelope_id").fetchall()


def record(number: int) -> UsageRecord:
    return UsageRecord(f"e{number:03}", "2026-11-22T08:00:00.000Z", "api-1", LOG)


async def test_a_delivered_log_is_stored_with_its_envelope(store: UsageStore, path: Path) -> None:
    await deliver(usage_router(store), USAGE_LOG_TYPE, LOG, envelope_id="e1")
    assert rows(path) == [
        (
            *("e1", "2026-11-22T08:00:00.000Z", "test", "channel-1"),
            *("gala#stalls", "place_order", 1_500, "queue", 202),
        )
    ]


async def test_a_log_that_is_delivered_again_is_stored_once(store: UsageStore, path: Path) -> None:
    for receive_count in (1, 2):
        await deliver(
            usage_router(store), USAGE_LOG_TYPE, LOG, envelope_id="e1", receive_count=receive_count
        )
    assert len(rows(path)) == 1


async def test_logs_that_wait_together_are_all_on_disk_when_they_return(
    store: UsageStore, path: Path
) -> None:
    await asyncio.gather(*(store.insert(record(number % 700)) for number in range(1_400)))
    assert [row[0] for row in rows(path)] == [f"e{number:03}" for number in range(700)]


@pytest.mark.parametrize(
    ("type_", "payload"), [(USAGE_LOG_TYPE, {"asset": "gala"}), ("analytics_event", {})]
)
async def test_what_is_no_usage_log_is_rejected(
    store: UsageStore, type_: str, payload: object
) -> None:
    with pytest.raises(Reject):
        await deliver(usage_router(store), type_, payload)
