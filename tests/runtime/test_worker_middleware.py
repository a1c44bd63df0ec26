"""What runs around handlers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from forebay.errors import SettingsError
from forebay.worker import Received, Reject, Retry, Router
from forebay.worker.execution import Execution
from forebay.worker.middleware import CallNext, Middleware
from forebay.worker.outcomes import Done, Failed, Outcome
from tests.runtime.worker_messages import lease

LATER, NEVER, OOPS = Retry(3), Reject("never"), ValueError("oops")


def middleware(name: str, seen: list[str]) -> Middleware:
    async def tell(received: Received[Any] | list[Received[Any]], call_next: CallNext) -> None:
        seen.append(f"{name} begins")
        try:
            await call_next(received)
        except Exception as error:
            seen.append(f"{name} sees {type(error).__name__}")
            raise
        seen.append(f"{name} ends")

    return tell


async def performed(function: Any, *middlewares: Middleware, **options: Any) -> list[Outcome]:
    router: Any = Router()
    router.raw(int, **options)(function)
    routed = [router.route(lease(f"m-{number}", body=str(number))) for number in range(3)]
    messages = [each.received for each in routed][: 3 if options.get("batch") else 1]
    execution = Execution(middleware=middlewares)
    outcomes = await execution.perform(routed[0].route, messages)
    assert await execution.perform(routed[0].route, messages) == outcomes
    await execution.close()
    return outcomes


@pytest.mark.parametrize("timeout_s", [None, 10])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("batch", [None, 5])
@pytest.mark.parametrize(
    ("said", "outcome"),
    [(None, Done()), (LATER, LATER), (NEVER, NEVER), (OOPS, Failed(OOPS))],
)
async def test_each_sees_what_the_one_inside_it_says(
    timeout_s: float | None,
    plain: bool,
    batch: int | None,
    said: Exception | None,
    outcome: Outcome,
) -> None:
    seen: list[str] = []

    def says(received: Any) -> Exception | None:
        assert (threading.current_thread() is threading.main_thread()) is not plain
        assert isinstance(received, list) is (batch is not None)
        seen.append("handler")
        return said

    async def says_it_in_the_loop(received: Any) -> Exception | None:
        return says(received)

    options: dict[str, Any] = {"timeout_s": timeout_s} | ({} if batch is None else {"batch": batch})
    outcomes = await performed(
        says if plain else says_it_in_the_loop,
        middleware("outer", seen),
        middleware("inner", seen),
        **options,
    )
    assert outcomes == [outcome] * (1 if batch is None else 3)
    ended = "ends" if said is None else f"sees {type(said).__name__}"
    once = ["outer begins", "inner begins", "handler", f"inner {ended}", f"outer {ended}"]
    assert seen == once * 2


async def test_a_middleware_sees_a_batch_fail_in_part() -> None:
    seen: list[str] = []

    async def fails_one(batch: list[Received[int]]) -> dict[Received[int], Exception]:
        return {batch[1]: LATER}

    outcomes = await performed(fails_one, middleware("outer", seen), batch=5)
    assert outcomes == [Done(), LATER, Done()]
    assert seen == ["outer begins", "outer sees PartlyFailed"] * 2


async def test_what_a_middleware_says_counts() -> None:
    async def fails(received: Received[int]) -> None:
        raise OOPS

    async def forgives(received: Any, call_next: CallNext) -> None:
        with pytest.raises(ValueError, match="oops"):
            await call_next(received)

    async def turns_away(received: Any, call_next: CallNext) -> Reject:
        return NEVER

    async def breaks(received: Any, call_next: CallNext) -> None:
        raise OOPS

    assert await performed(fails, forgives) == [Done()]
    assert await performed(fails, turns_away) == [NEVER]
    assert await performed(fails, forgives, turns_away, breaks) == [NEVER]
    assert await performed(fails, breaks, turns_away) == [Failed(OOPS)]


def test_a_middleware_is_an_async_function() -> None:
    def plain(received: Any, call_next: CallNext) -> None: ...

    with pytest.raises(SettingsError, match=r"middleware .*plain is not an async function"):
        Execution(middleware=[plain])  # type: ignore[list-item]
