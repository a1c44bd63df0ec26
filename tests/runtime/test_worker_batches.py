"""How the messages of a batch end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.worker import Received, Reject, Retry, Router
from forebay.worker.execution import Execution
from forebay.worker.outcomes import (
    Done,
    Failed,
    HandlerReturned,
    Interrupted,
    Outcome,
    PartlyFailed,
)
from tests.runtime.worker_messages import lease

LATER, NEVER, OOPS = Retry(3), Reject("never"), ValueError("oops")


async def performed(function: Any, groups: list[str | None], **options: Any) -> list[Outcome]:
    router: Any = Router()
    router.raw(int, batch=100, **options)(function)
    leases = [lease(f"m-{each}", group, body=str(each)) for each, group in enumerate(groups)]
    routed = [router.route(each) for each in leases]
    execution = Execution()
    outcomes = await execution.perform(routed[0].route, [each.received for each in routed])
    await execution.close()
    return outcomes


async def test_a_batch_is_a_list_in_order_and_done_when_its_handler_returns() -> None:
    async def takes(batch: list[Received[int]]) -> None:
        assert type(batch) is list
        assert [each.payload for each in batch] == [0, 1, 2]

    assert await performed(takes, [None] * 3) == [Done()] * 3


@pytest.mark.parametrize("raised", [False, True])
@pytest.mark.parametrize("said", [LATER, NEVER, OOPS])
async def test_what_holds_for_a_batch_holds_for_each_of_its_messages(
    said: Exception, raised: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def says(batch: list[Received[int]]) -> Exception:
        if raised:
            raise said
        return said

    expected = Failed(said) if said is OOPS else said
    assert await performed(says, [None] * 3) == [expected] * 3
    assert len(caplog.records) == (said is OOPS)
    if said is OOPS:
        assert "message m-0 and 2 more of" in caplog.text


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("raised", [False, True])
async def test_the_messages_that_are_not_done_are_named_with_their_exceptions(
    plain: bool, raised: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def says(batch: list[Received[int]]) -> dict[Received[int], Exception | None]:
        failures: dict[Received[int], Exception | None] = {
            batch[1]: LATER,
            batch[2]: NEVER,
            batch[4]: OOPS,
            batch[5]: None,
        }
        if raised:
            raise PartlyFailed(failures)
        return failures

    async def says_it_in_the_loop(batch: list[Received[int]]) -> Any:
        return says(batch)

    outcomes = await performed(says if plain else says_it_in_the_loop, [None] * 6)
    assert outcomes == [Done(), LATER, NEVER, Done(), Failed(OOPS), Done()]
    [record] = caplog.records
    assert "message m-4 of" in record.getMessage()


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ([1], "returned list. A handler of a batch returns None when all is done, or a dict"),
        ([], "returned list"),
        (3, "returned int"),
        (True, "returned bool"),
        ({"m-1": LATER}, "an outcome for a str that is not a message of its batch"),
        ({"first": "broken"}, "returned 'broken' for a message. Give its exception"),
        ({"first": Retry}, "returned <class .* for a message"),
    ],
)
async def test_a_report_that_cannot_be_understood_deletes_nothing(said: Any, problem: str) -> None:
    async def says(batch: list[Received[int]]) -> Any:
        return {batch[0]: said["first"]} if isinstance(said, dict) and "first" in said else said

    outcomes = await performed(says, [None] * 2)
    for outcome in outcomes:
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, HandlerReturned)
    with pytest.raises(HandlerReturned, match=problem):
        raise outcomes[0].error  # type: ignore[union-attr]


async def test_an_empty_report_means_that_all_is_done() -> None:
    async def says(batch: list[Received[int]]) -> dict[Received[int], Exception]:
        return {}

    assert await performed(says, [None] * 2) == [Done()] * 2


async def test_a_cancelled_batch_is_interrupted() -> None:
    async def waits(batch: list[Received[int]]) -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(performed(waits, [None] * 3))
    await asyncio.sleep(0)
    task.cancel()
    assert await task == [Interrupted()] * 3


SAID = {"done": None, "later": LATER, "never": NEVER, "oops": OOPS}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(sorted(SAID))), min_size=1))
def test_in_each_group_nothing_ends_before_what_goes_back(
    messages: list[tuple[str, str]],
) -> None:
    async def says(batch: list[Received[int]]) -> dict[Received[int], Exception | None]:
        return {each: SAID[messages[each.payload][1]] for each in batch}

    outcomes = asyncio.run(performed(says, [group for group, _ in messages]))
    for wanted in "abc":
        group = [
            (said, outcome)
            for (name, said), outcome in zip(messages, outcomes, strict=True)
            if name == wanted
        ]
        going_back = False
        for said, outcome in group:
            if going_back:
                assert outcome == Interrupted()
            elif said == "oops":
                assert outcome == Failed(OOPS)
            else:
                assert outcome == (SAID[said] or Done())
            going_back = going_back or said in ("later", "oops")
