"""The consumer crashes where it is told to, and stops where it is asked to."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from forebay.idempotency import Status
from forebay.lab.consumer import CRASH_EXIT_CODE, StepKind
from tests.lab.consuming import Bench, Crashed, on_bench


@pytest.mark.parametrize("variable", ["CRASH_AFTER_RECEIVE", "CRASH_AFTER_SIDE_EFFECT"])
def test_after_a_crash_the_message_comes_again_and_its_effect_is_done_once(variable: str) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a"})
        variables: dict[str, Any] = {variable: 1}
        with pytest.raises(Crashed) as crashed:
            await bench.consume(**variables)
        assert crashed.value.args == (CRASH_EXIT_CODE,)
        assert CRASH_EXIT_CODE != 0
        assert bench.texts(StepKind.CRASH) == [variable]
        assert bench.performed == (["a"] if "SIDE" in variable else [])
        assert (await bench.status("a")).status is Status.STARTED
        assert await bench.client.counts(bench.url) == (0, 1)
        await bench.consume()
        assert bench.performed == ["a"]
        assert (await bench.status("a")).status is Status.COMPLETED
        assert (await bench.status("a")).attempts == 2
        assert await bench.left() == (0, 0)

    on_bench(scenario)


def test_without_idempotency_a_crash_after_the_effect_doubles_it() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a"})
        with pytest.raises(Crashed):
            await bench.consume(CRASH_AFTER_SIDE_EFFECT=1, without=["idempotency"])
        await bench.consume(without=["idempotency"])
        assert bench.performed == ["a", "a"]

    on_bench(scenario)


def test_without_late_delete_a_crash_loses_the_message() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a"})
        with pytest.raises(Crashed):
            await bench.consume(CRASH_AFTER_RECEIVE=1, without=["late-delete"])
        assert await bench.left() == (0, 0)
        assert bench.performed == []

    on_bench(scenario)


def crashes_of(rate: float, seed: str) -> list[str]:
    """The messages at whose first receive a consumer crashes, of 40."""
    struck: list[str] = []

    async def scenario(bench: Bench) -> None:
        await bench.send(*({"id": f"{number}"} for number in range(40)))
        while sum(await bench.client.counts(bench.url)):
            try:
                await bench.consume(CRASH_RATE=rate, seed=seed, IDLE_TIMEOUT_SECONDS=30)
            except Crashed:
                continue
        assert sorted(bench.performed, key=int) == [f"{number}" for number in range(40)]
        struck.extend(bench.ids(StepKind.CRASH))

    on_bench(scenario, max_receive_count=100)
    return struck


def test_a_crash_rate_strikes_at_about_as_many_messages_and_with_a_seed_at_the_same() -> None:
    struck = crashes_of(0.2, "seed")
    assert 3 <= len(struck) <= 20
    assert crashes_of(0.2, "seed") == struck
    assert crashes_of(0.2, "another") != struck


def test_sigterm_lets_what_is_in_hand_be_done_and_leaves_the_rest() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send(*({"id": f"{n}"} for n in range(5)))
        consuming = asyncio.ensure_future(bench.consume(SIDE_EFFECT_DELAY_SECONDS=5))
        await asyncio.sleep(2)
        signal.raise_signal(signal.SIGTERM)
        consumed = await consuming
        assert (consumed.processed, len(bench.performed)) == (1, 1)
        assert await bench.client.counts(bench.url) == (4, 0)

    on_bench(scenario)


def test_without_a_drain_sigterm_ends_it_with_the_message_in_its_hands() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a"})
        consuming = asyncio.ensure_future(
            bench.consume(SIDE_EFFECT_DELAY_SECONDS=5, without=["drain"])
        )
        await asyncio.sleep(2)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Crashed):
            await consuming
        assert bench.performed == []
        assert await bench.client.counts(bench.url) == (0, 1)

    on_bench(scenario)
