"""No input makes the broker crash, answer 500 or answer what is not HTTP."""

from __future__ import annotations

import pytest

from tests.fuzz.inputs import Inputs
from tests.fuzz.target import Violation, target

#: Inputs for each seed here. `make soak` runs a million.
INPUTS = 4_000


@pytest.mark.parametrize("seed", range(4))
async def test_no_input_gets_the_broker_off_its_feet(seed: int) -> None:
    inputs = Inputs(seed)
    accepted = 0
    async with target() as broker:
        for _ in range(INPUTS):
            answers = await broker.feed(inputs.next())
            accepted += len(answers)
            for answer in answers:
                inputs.learn(answer)
    assert accepted > INPUTS / 20, "the inputs must get past the first check"


async def test_the_fuzzer_sees_an_error_when_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("forebay.broker.core.state.EngineState.add_queue", broken)
    inputs = Inputs(0)
    async with target() as broker:

        async def feed_all() -> None:
            for _ in range(INPUTS):
                await broker.feed(inputs.next())

        with pytest.raises(Violation):
            await feed_all()
