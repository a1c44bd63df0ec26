"""Several processes share a store, and some of them die."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from forebay.idempotency import AlreadyDone, Performed, Status
from tests.contract.idempotency_processes import (
    APPLIED,
    apply_inside,
    apply_outside,
    begin_all,
    consume_and_die,
    consume_until_done,
    execute,
    make_tables,
    opened,
)

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

PROCESSES = 3


@pytest.fixture
def spawning() -> SpawnContext:
    return multiprocessing.get_context("spawn")


@pytest.fixture(params=["sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store and the application's tables are."""
    where = (
        str(tmp_path / "keys.db")
        if request.param == "sqlite"
        else str(request.getfixturevalue("postgres"))
    )
    async with opened(where):
        make_tables(where)
    return where


def test_of_several_processes_one_begins_each_key(place: str, spawning: SpawnContext) -> None:
    keys = [f"key {number}" for number in range(60)]
    line_up = spawning.Barrier(PROCESSES)
    results: Queue[dict[str, int]] = spawning.Queue()
    processes = [
        spawning.Process(target=begin_all, args=(place, keys, line_up, results))
        for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    begun = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(key for mine in begun for key in mine) == sorted(keys)
    tokens = [token for mine in begun for token in mine.values()]
    assert len(set(tokens)) == len(keys)


@pytest.mark.parametrize("apply", [apply_inside, apply_outside])
def test_several_processes_apply_versions_in_rising_order(
    place: str, apply: Callable[..., None], spawning: SpawnContext, tmp_path: Path
) -> None:
    log, line_up = tmp_path / "applied", spawning.Barrier(PROCESSES)
    processes = [
        spawning.Process(target=apply, args=(place, seed, 30, log, line_up))
        for seed in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    if apply is apply_outside:
        versions = [int(line) for line in log.read_text().splitlines()]
    else:
        versions = [version for (version,) in execute(place, APPLIED)]
    assert versions == sorted(set(versions))
    assert versions[-1] == 30


def killed(spawning: SpawnContext, *arguments: object) -> None:
    process = spawning.Process(target=consume_and_die, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


#: Where a process dies, and whether its key was done by then.
DEATHS_IN_DATABASE = {
    "after begin": False,
    "after effect, before complete": False,
    "inside, before commit": False,
    "inside, after commit": True,
    "after complete, before delete": True,
}


@pytest.mark.parametrize("step", DEATHS_IN_DATABASE)
async def test_an_effect_in_our_database_is_there_once_wherever_its_process_dies(
    place: str, step: str, tmp_path: Path, spawning: SpawnContext
) -> None:
    killed(spawning, place, tmp_path / "effects", "database", step)
    before = execute(place, "SELECT * FROM payment")
    assert before == ([("o-7",)] if DEATHS_IN_DATABASE[step] else [])
    outcome, waits = await consume_until_done(place, tmp_path / "effects", "database")
    assert outcome == (AlreadyDone(b"paid") if DEATHS_IN_DATABASE[step] else Performed(b"paid"))
    assert waits <= 1
    assert execute(place, "SELECT * FROM payment") == [("o-7",)]


#: Where a process dies, and how often its effect is there in the end.
DEATHS_OUTSIDE = {
    "after begin": 1,
    # Nobody here can know of it: only the other system can, by the key that it is handed.
    "after effect, before record": 2,
    "after record": 1,
    "after complete, before delete": 1,
}


@pytest.mark.parametrize("step", DEATHS_OUTSIDE)
async def test_an_effect_outside_is_there_as_often_as_documented(
    place: str, step: str, tmp_path: Path, spawning: SpawnContext
) -> None:
    effects = tmp_path / "effects"
    killed(spawning, place, effects, "outside", step)
    outcome, waits = await consume_until_done(place, effects, "outside")
    assert outcome.result == b"charged"
    assert waits <= 1
    written = effects.read_text().splitlines()
    assert written == ['business/charge/{"order_id":"o-7"}'] * DEATHS_OUTSIDE[step]
    async with opened(place) as store:
        status = await store.find_message("e-7")
    assert status is not None
    assert status.status is Status.COMPLETED
    assert status.attempts == 2 + waits


async def test_no_effect_is_repeated_although_each_message_kills_a_process_once(
    place: str, tmp_path: Path, spawning: SpawnContext
) -> None:
    """Weakness 5 of document 001: its consumer crashed once and not once for each message."""
    effects = tmp_path / "effects"
    for number in range(5):
        killed(spawning, place, effects, "outside", "after record", number)
    for number in range(5):
        await consume_until_done(place, effects, "outside", number)
    assert len(effects.read_text().splitlines()) == 5
    async with opened(place) as store:
        found = [await store.find_message(f"e-{number}") for number in range(5)]
    assert [each.status for each in found if each] == [Status.COMPLETED] * 5
