"""A store that is followed: what is told, what is logged, and what a trouble changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from forebay.clock import ManualClock
from forebay.errors import SettingsError
from forebay.parameters import (
    LiveParameters,
    MemoryParameterStore,
    ParameterStoreError,
    StoredValue,
    Value,
    open_store,
)
from forebay.tunables import SCHEMA
from tests.parameters.conftest import Place


class Told(list[dict[str, Value]]):
    """A subscriber."""

    def __call__(self, values: Mapping[str, Value]) -> None:
        self.append(dict(values))


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= level]


async def turn() -> None:
    """Let what is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_change_is_told_within_the_interval_and_only_when_there_is_one() -> None:
    clock = ManualClock()
    store = MemoryParameterStore(SCHEMA, clock=clock)
    await store.set({"sqs_flush_ms": 50}, by="ada")
    told = Told()
    async with LiveParameters(store, clock=clock) as live:
        live.subscribe(told)
        assert told == [{"sqs_flush_ms": 50}]
        await store.set({"sqs_flush_ms": 70}, by="ada")
        clock.advance(4_999)
        await turn()
        assert len(told) == 1
        clock.advance(1)
        await turn()
        clock.advance(5_000)
        await turn()
        assert told[1:] == [{"sqs_flush_ms": 70}]
        await store.set({"sqs_flush_ms": None}, by="ada")
        clock.advance(5_000)
        await turn()
        assert told[2:] == [{}]
        assert live.values == {}


async def test_every_store_is_followed(place: Place) -> None:
    told = Told()
    live = LiveParameters(place.store)
    await live.poll()
    live.subscribe(told)
    await place.store.set({"sqs_flush_ms": 50}, by="ada")
    await live.poll()
    await place.write("sqs_flush_ms", "60")
    await live.poll()
    assert told == [{}, {"sqs_flush_ms": 50}, {"sqs_flush_ms": 60}]


async def test_a_bad_value_is_logged_once_and_the_others_take_effect(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    live = LiveParameters(place.store)
    await place.store.set({"sqs_flush_ms": 50, "sqs_batch_size": 5}, by="ada")
    await live.poll()
    live.subscribe(told)
    await place.write("sqs_flush_ms", "0")
    await place.write("sqs_batch_size", "6")
    await place.write("sqs_timeout_ms", "soon")
    for _ in range(3):
        await live.poll()
    assert told[1:] == [{"sqs_flush_ms": 50, "sqs_batch_size": 6}]
    errors = lines(caplog, logging.ERROR)
    assert len(errors) == 2
    assert "sqs_flush_ms is 0; it must be 1 to 60,000 ms. It stays 50." in errors[0]
    assert "sqs_timeout_ms is 'soon'; it must be a whole number" in errors[1]
    assert errors[1].endswith("It counts as not set.")
    # Another wrong value is another mistake, and so is the same one after a right one.
    await place.write("sqs_flush_ms", "-1")
    await live.poll()
    assert len(lines(caplog, logging.ERROR)) == 3
    await place.write("sqs_flush_ms", "80")
    await live.poll()
    await place.write("sqs_flush_ms", "-1")
    await live.poll()
    assert len(lines(caplog, logging.ERROR)) == 4
    assert told[-1]["sqs_flush_ms"] == 80


async def test_a_broken_rule_leaves_both_as_they_were(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    live = LiveParameters(place.store)
    await place.store.set({"worker_concurrency": 20, "worker_concurrency_min": 10}, by="ada")
    await live.poll()
    await place.write("worker_concurrency_min", "30")
    await place.write("sqs_flush_ms", "60")
    await live.poll()
    await live.poll()
    assert live.values == {
        "worker_concurrency": 20,
        "worker_concurrency_min": 10,
        "sqs_flush_ms": 60,
    }
    [error] = lines(caplog, logging.ERROR)
    assert "worker_concurrency_min is 30; it must be at most worker_concurrency" in error


async def test_a_row_whose_removal_breaks_a_rule_still_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryParameterStore(SCHEMA)
    live = LiveParameters(store)
    await store.set({"worker_concurrency": 200, "worker_concurrency_min": 100}, by="ada")
    await live.poll()
    del store.rows["worker_concurrency"]
    await live.poll()
    await live.poll()
    assert live.values["worker_concurrency"] == 200
    [error] = lines(caplog, logging.ERROR)
    assert "which is 64 by default. It stays 200." in error


async def test_a_misspelled_row_is_named_once_and_a_foreign_one_never(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    await place.store.set({"sqs_flush_ms": 50}, by="ada")
    await place.write("sqs_flushms", "60")
    await place.write("application_parameter_interval_minutes", "5")
    live = LiveParameters(place.store)
    await live.poll()
    await live.poll()
    [warning] = lines(caplog, logging.WARNING)
    assert "has sqs_flushms, which is no parameter. Did you mean sqs_flush_ms?" in warning


class Failing(MemoryParameterStore):
    """A store that is away when it is told to be."""

    away: Exception | None = None

    async def values(self) -> dict[str, StoredValue]:
        if self.away is not None:
            raise self.away
        return await super().values()


@pytest.mark.parametrize("trouble", [ParameterStoreError("No route."), ValueError("a bug")])
async def test_a_store_that_is_away_changes_nothing_and_is_logged_once_and_when_it_is_back(
    trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = ManualClock()
    store = Failing(SCHEMA, clock=clock)
    await store.set({"sqs_flush_ms": 50}, by="ada")
    told = Told()
    async with LiveParameters(store, clock=clock) as live:
        live.subscribe(told)
        caplog.clear()
        store.away = trouble
        await store.set({"sqs_flush_ms": 60}, by="ada")
        for _ in range(3):
            clock.advance(5_000)
            await turn()
        [warning] = lines(caplog, logging.INFO)
        assert "stay as they are" in warning
        assert f"{trouble}" in warning
        assert told == [{"sqs_flush_ms": 50}]
        store.away = None
        clock.advance(5_000)
        await turn()
        assert lines(caplog, logging.INFO)[1:] == [
            "The store of the parameters is back: memory",
            "sqs_flush_ms is 60 now; it was 50, by ada",
        ]
        assert told[1:] == [{"sqs_flush_ms": 60}]


async def test_a_store_that_is_away_at_the_start_is_waited_for() -> None:
    clock = ManualClock()
    store = Failing(SCHEMA, clock=clock)
    store.away = ParameterStoreError("No route.")
    told = Told()
    async with LiveParameters(store, clock=clock) as live:
        live.subscribe(told)
        await turn()
        store.away = None
        await store.set({"sqs_flush_ms": 60}, by="ada")
        clock.advance(5_000)
        await turn()
        assert told == [{}, {"sqs_flush_ms": 60}]


async def test_a_subscriber_that_fails_keeps_nothing_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryParameterStore(SCHEMA)
    live = LiveParameters(store)
    told = Told()

    def fail(values: Mapping[str, Value]) -> None:
        raise RuntimeError("not today")

    live.subscribe(fail)
    end = live.subscribe(told)
    await store.set({"sqs_flush_ms": 60}, by="ada")
    await live.poll()
    assert told == [{}, {"sqs_flush_ms": 60}]
    assert "not today" in caplog.text
    end()
    end()
    await store.set({"sqs_flush_ms": 70}, by="ada")
    await live.poll()
    assert len(told) == 2


async def test_a_file_that_vanishes_is_away_and_not_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "parameters.db"
    store = open_store(f"sqlite:///{path}", SCHEMA)
    live = LiveParameters(store)
    await live.poll()
    assert not path.exists()
    await store.set({"sqs_flush_ms": 50}, by="ada")
    await live.poll()
    path.rename(tmp_path / "elsewhere.db")
    await live.poll()
    await live.poll()
    path.write_text("no database at all")
    await live.poll()
    assert live.values == {"sqs_flush_ms": 50}
    assert len(lines(caplog, logging.WARNING)) == 1
    path.unlink()
    await open_store(f"sqlite:///{path}", SCHEMA).set({"sqs_flush_ms": 60}, by="ada")
    await live.poll()
    assert live.values == {"sqs_flush_ms": 60}
    assert any("is back" in line for line in lines(caplog, logging.INFO))


@pytest.mark.parametrize("poll_s", [0, -1, 86_401, float("nan"), "5"])
def test_an_interval_that_cannot_be_is_refused(poll_s: float) -> None:
    with pytest.raises(SettingsError, match="poll_s is"):
        LiveParameters(MemoryParameterStore(SCHEMA), poll_s=poll_s)
