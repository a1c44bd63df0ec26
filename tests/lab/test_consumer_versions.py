"""Versions: the newest is applied, in whatever order the messages come and whatever crashes."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from forebay.idempotency import Status
from forebay.lab.consumer import StepKind
from tests.lab.consuming import Bench, Crashed, on_bench


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """What switches versions on."""
    return {
        "VERSIONING_ENABLED": 1,
        "VERSION_STATE_PATH": tmp_path / "state.sqlite3",
        "VERSION_LOG_PATH": tmp_path / "applied.log",
        "VERSION_SEEN_LOG_PATH": tmp_path / "seen.log",
    }


def lines(files: dict[str, Any], which: str) -> list[str]:
    path: Path = files[f"VERSION_{which}PATH"]
    return path.read_text().split() if path.exists() else []


def shuffled(seed: int) -> list[dict[str, Any]]:
    versions = [
        {"id": f"v-{number}", "entity_id": "acct-1", "version": number} for number in range(1, 11)
    ]
    random.Random(seed).shuffle(versions)
    return versions


@pytest.mark.parametrize("seed", range(5))
def test_five_consumers_apply_rising_versions_and_end_with_the_newest(
    files: dict[str, Any], seed: int
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send(*shuffled(seed))
        await asyncio.gather(
            *(bench.consume(**files, SIDE_EFFECT_DELAY_SECONDS=0.1) for _ in range(5))
        )
        for number in range(1, 11):
            assert (await bench.status(f"v-{number}")).status is Status.COMPLETED
        assert await bench.left() == (0, 0)
        assert await bench.store.newest_version("acct-1") == 10
        noted = [step.value for step in bench.steps if step.kind is StepKind.APPLIED]
        assert noted == [int(line) for line in lines(files, "LOG_")]

    on_bench(scenario)
    applied = [int(line) for line in lines(files, "LOG_")]
    assert applied == sorted(set(applied))
    assert applied[-1] == 10
    assert sorted(map(int, lines(files, "SEEN_LOG_"))) == list(range(1, 11))


def test_without_versions_whatever_comes_last_is_applied(files: dict[str, Any]) -> None:
    async def scenario(bench: Bench) -> None:
        for payload in shuffled(3):
            await bench.send(payload)
            await bench.consume(**files, MESSAGE_LIMIT=1, without=["versions"])

    on_bench(scenario)
    assert [int(line) for line in lines(files, "LOG_")] == [each["version"] for each in shuffled(3)]


@pytest.mark.parametrize("variable", ["CRASH_AFTER_RECEIVE", "CRASH_AFTER_SIDE_EFFECT"])
def test_a_crash_applies_no_version_twice_and_the_message_is_completed_later(
    files: dict[str, Any], variable: str
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a", "entity_id": "acct-1", "version": 1})
        crashing: dict[str, Any] = {**files, variable: 1}
        with pytest.raises(Crashed):
            await bench.consume(**crashing)
        assert lines(files, "LOG_") == (["1"] if "SIDE" in variable else [])
        assert (await bench.status("a")).status is Status.STARTED
        await bench.consume(**files)
        assert (await bench.status("a")).status is Status.COMPLETED
        assert lines(files, "LOG_") == ["1"]

    on_bench(scenario)


def test_entities_have_versions_of_their_own_under_the_names_that_are_given(
    files: dict[str, Any],
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"account": "a", "at": "2026-11-28T10:00:00Z"})
        await bench.consume(**files, VERSION_KEY="at", ENTITY_KEY="account", MESSAGE_LIMIT=1)
        await bench.send(
            {"account": 7, "at": "2026-11-28T09:00:00+00:00"},
            {"account": "a", "at": "2026-11-28T10:00:00+01:00"},
        )
        await bench.consume(**files, VERSION_KEY="at", ENTITY_KEY="account")
        applied = {step.subject for step in bench.steps if step.kind is StepKind.APPLIED}
        assert applied == {"a", "7"}
        assert bench.texts(StepKind.SKIPPED) == ["its version is stale"]

    on_bench(scenario)
    assert lines(files, "LOG_") == ["2026-11-28T10:00:00Z", "2026-11-28T09:00:00+00:00"]


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({"version": 1}, "names no entity: its field 'entity_id', as ENTITY_KEY says"),
        ({"entity_id": "a"}, "has no field 'version', which VERSION_KEY names"),
        ({"entity_id": "a", "version": "soon"}, "is no time in ISO 8601"),
        ({"entity_id": "a", "version": 1.5}, "it must be a whole number or a time"),
    ],
)
def test_what_cannot_be_compared_is_rejected_with_its_reason(
    files: dict[str, Any], payload: dict[str, Any], says: str
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a", **payload})
        await bench.consume(**files)
        assert await bench.left() == (0, 1)
        status = await bench.status("a")
        assert status.status is Status.FAILED
        assert says in str(status.error_reason)

    on_bench(scenario)
