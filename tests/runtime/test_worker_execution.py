"""Calling handlers: the outcome of whatever they do, and what becomes of those that hang."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest

from forebay.worker import Received, Reject, Retry, Router
from forebay.worker.execution import Execution
from forebay.worker.middleware import CallNext, Middleware
from forebay.worker.outcomes import (
    Done,
    Failed,
    HandlerCancelled,
    HandlerReturned,
    HandlerTimedOut,
    Interrupted,
    Outcome,
    PartlyFailed,
    StillRunning,
)
from tests.runtime import virtual_time
from tests.runtime.virtual_time import LoopClock
from tests.runtime.worker_messages import lease


def received_by(function: Callable[[Any], Any], *leases: Any, **options: Any) -> Any:
    router: Any = Router()
    router.raw(int, **options)(function)
    routed = [router.route(each) for each in leases or (lease(body="1"),)]
    return routed[0].route, [each.received for each in routed]


async def performed(function: Callable[[Any], Any], **options: Any) -> Outcome:
    route, received = received_by(function, **options)
    execution = Execution()
    [outcome] = await execution.perform(route, received)
    await execution.close()
    return outcome


async def passes_on(received: Any, call_next: CallNext) -> object:
    return call_next(received)


REJECT, RETRY, ERROR = Reject("never"), Retry(3), ValueError("oops")
EXIT, INTERRUPT, PARTLY_FAILED = SystemExit(1), KeyboardInterrupt(), PartlyFailed({})
GENERATOR_EXIT = GeneratorExit()


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (None, Done()),
        (REJECT, REJECT),
        (RETRY, RETRY),
        (ERROR, Failed(ERROR)),
        (17, Done()),
        (0, Done()),
        (True, Done()),
        ("text", Done()),
    ],
)
async def test_what_a_handler_returns(plain: bool, returned: object, expected: Outcome) -> None:
    async def in_the_loop(received: Received[int]) -> object:
        return returned

    def in_a_thread(received: Received[int]) -> object:
        return returned

    assert await performed(in_a_thread if plain else in_the_loop) == expected


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (REJECT, REJECT),
        (RETRY, RETRY),
        (ERROR, Failed(ERROR)),
        (EXIT, Failed(EXIT)),
        (INTERRUPT, Failed(INTERRUPT)),
        (GENERATOR_EXIT, Failed(GENERATOR_EXIT)),
        (PARTLY_FAILED, Failed(PARTLY_FAILED)),
    ],
)
async def test_what_a_handler_raises(
    plain: bool, raised: BaseException, expected: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    async def in_the_loop(received: Received[int]) -> None:
        raise raised

    def in_a_thread(received: Received[int]) -> None:
        raise raised

    assert await performed(in_a_thread if plain else in_the_loop) == expected
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == isinstance(expected, Failed)
    for record in logged:
        assert "in_" in record.getMessage()
        assert "m-1" in record.getMessage()
        assert record.exc_info


@pytest.mark.parametrize("plain", [False, True])
async def test_a_handler_that_cancels_itself_or_ends_an_iteration_has_failed(plain: bool) -> None:
    for raised, expected in (
        (asyncio.CancelledError, HandlerCancelled),
        (StopIteration, RuntimeError),
    ):

        async def in_the_loop(received: Received[int], raised: Any = raised) -> None:
            raise raised

        def in_a_thread(received: Received[int], raised: Any = raised) -> None:
            raise raised

        outcome = await performed(in_a_thread if plain else in_the_loop)
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, expected)


async def test_what_is_the_opposite_of_done_is_not_taken_for_done() -> None:
    async def falls_through(received: Received[int]) -> bool:
        return False

    async def forgets_the_call(received: Received[int]) -> type[Retry]:
        return Retry

    for function, problem in (
        (falls_through, "falls_through returned False"),
        (forgets_the_call, "forgets_the_call returned the class Retry"),
    ):
        outcome = await performed(function)
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, HandlerReturned)
        assert problem in str(outcome.error)


@pytest.mark.parametrize("middleware", [[], [passes_on]])
@pytest.mark.parametrize("timeout_s", [None, 5])
async def test_what_a_handler_gives_to_await_is_awaited(
    middleware: list[Middleware], timeout_s: float | None
) -> None:
    async def the_work(received: Received[int]) -> Retry:
        assert threading.current_thread() is threading.main_thread()
        await asyncio.sleep(0)
        return RETRY

    @functools.wraps(the_work)
    def decorated(received: Received[int]) -> object:
        return the_work(received)

    async def forgets_to_await(received: Received[int]) -> object:
        return the_work(received)

    execution = Execution(middleware=middleware)
    for function in (decorated, forgets_to_await):
        route, received = received_by(function, timeout_s=timeout_s)
        assert await execution.perform(route, received) == [RETRY]
    await execution.close()


@pytest.mark.parametrize("timeout_s", [None, 5])
async def test_a_cancelled_handler_is_interrupted_and_has_not_failed(
    timeout_s: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def waits(received: Received[int]) -> None:
        await asyncio.sleep(60)

    async def wraps_the_cancellation(received: Received[int]) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            raise ConnectionError from error

    async def finishes(received: Received[int]) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    for function, expected in (
        (waits, Interrupted()),
        (wraps_the_cancellation, Interrupted()),
        (finishes, Done()),
    ):
        route, received = received_by(function, timeout_s=timeout_s)
        task = asyncio.create_task(Execution().perform(route, received))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        assert await task == [expected]
    assert not caplog.records


async def test_a_cancel_that_a_handler_leaves_behind_is_not_the_drain_s() -> None:
    async def leaves_one_behind(received: Received[int]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)

    async def fails(received: Received[int]) -> None:
        raise ERROR

    execution = Execution()
    assert await execution.perform(*received_by(leaves_one_behind)) == [Done()]
    assert await execution.perform(*received_by(fails)) == [Failed(ERROR)]


async def test_a_plain_function_that_is_cancelled_goes_on_and_tells_its_end() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def works(received: Received[int]) -> None:
        begun.set()
        assert go_on.wait(10)

    route, received = received_by(works)
    execution = Execution()
    task = asyncio.create_task(execution.perform(route, received))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    [outcome] = await task
    assert isinstance(outcome, StillRunning)
    assert (outcome.timed_out, execution.hanging) == (False, 1)
    go_on.set()
    assert await outcome.finished == Done()
    assert execution.hanging == 0
    await execution.close()


async def test_a_plain_function_that_outlives_the_worker_still_hangs() -> None:
    """So that whoever ends the process knows that Python would wait for its thread."""
    begun, go_on = threading.Event(), threading.Event()

    def works(received: Received[int]) -> None:
        begun.set()
        assert go_on.wait(10)

    execution = Execution()
    task = asyncio.create_task(execution.perform(*received_by(works)))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await task
    await execution.close()
    assert execution.hanging == 1
    go_on.set()


async def test_a_plain_function_that_has_no_thread_yet_is_interrupted() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def works(received: Received[int]) -> None:
        begun.set()
        assert go_on.wait(10)

    execution = Execution(threads=1)
    first = asyncio.create_task(execution.perform(*received_by(works)))
    await asyncio.to_thread(begun.wait, 10)
    second = asyncio.create_task(execution.perform(*received_by(works)))
    await asyncio.sleep(0)
    second.cancel()
    assert await second == [Interrupted()]
    go_on.set()
    assert await first == [Done()]
    await execution.close()


def test_a_handler_that_takes_too_long_is_cancelled_and_has_failed() -> None:
    async def main() -> None:
        ended = []

        async def waits(received: Received[int]) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(asyncio.get_running_loop().time())

        async def cleans_up_and_returns(received: Received[int]) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(0.5)

        async def asks_for_later(received: Received[int]) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise RETRY from None

        execution = Execution(clock=LoopClock())
        for function in (waits, cleans_up_and_returns):
            [outcome] = await execution.perform(*received_by(function, timeout_s=5))
            assert isinstance(outcome, Failed)
            assert isinstance(outcome.error, HandlerTimedOut)
            assert f"{function.__name__} has not ended within its 5 s" in str(outcome.error)
        assert ended == [virtual_time.START_S + 5]
        assert await execution.perform(*received_by(asks_for_later, timeout_s=5)) == [RETRY]
        assert execution.hanging == 0

    virtual_time.run(main())


def test_a_handler_in_time_is_not_held_up_by_its_timeout() -> None:
    async def main() -> None:
        async def waits(received: Received[int]) -> None:
            assert received.due_ms == (virtual_time.START_S + 5) * 1000
            await asyncio.sleep(4)

        assert await Execution(clock=LoopClock()).perform(*received_by(waits, timeout_s=5)) == [
            Done()
        ]
        assert asyncio.get_running_loop().time() == virtual_time.START_S + 4

    virtual_time.run(main())


@pytest.mark.parametrize("in_the_end", [None, Retry(1), ERROR])
def test_a_handler_that_swallows_its_cancellation_loses_its_place_and_tells_its_end(
    in_the_end: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async def goes_on(received: Received[int]) -> Exception | None:
            for _ in range(10):
                try:
                    await asyncio.sleep(6)
                except asyncio.CancelledError:
                    continue
            return in_the_end

        execution = Execution(clock=LoopClock())
        [outcome] = await execution.perform(*received_by(goes_on, timeout_s=5))
        assert asyncio.get_running_loop().time() == virtual_time.START_S + 6
        assert isinstance(outcome, StillRunning)
        assert (outcome.timed_out, execution.hanging) == (True, 1)
        assert "goes_on of message m-1 of http" in caplog.text
        assert "has not ended within its 5 s" in caplog.text
        finished = await outcome.finished
        expected: object = Done() if in_the_end is None else in_the_end
        if expected is not ERROR:
            assert finished == expected
        assert execution.hanging == 0
        assert "has ended" in caplog.text

    virtual_time.run(main())


async def test_a_thread_that_hangs_is_shown_and_leaves_its_place_to_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go_on = threading.Event()

    def hangs_here(received: Received[int]) -> None:
        assert go_on.wait(10)

    def works(received: Received[int]) -> None: ...

    execution = Execution(threads=1)
    hanging = execution.perform(*received_by(hangs_here, timeout_s=0.05))
    behind = execution.perform(*received_by(works))
    [[outcome], behind_it] = await asyncio.gather(hanging, behind)
    assert isinstance(outcome, StillRunning)
    assert (outcome.timed_out, execution.hanging) == (True, 1)
    assert behind_it == [Done()]
    [record] = caplog.records
    stack = record.getMessage().partition("Its thread is here:\n")[2]
    assert stack.splitlines()[0].endswith("in hangs_here")
    assert "assert go_on.wait(10)" in stack
    go_on.set()
    assert await outcome.finished == Done()
    assert execution.hanging == 0
    await execution.close()


async def test_the_wait_for_a_thread_is_no_part_of_the_time_of_a_handler() -> None:
    go_on = threading.Event()

    def works(received: Received[int]) -> None:
        assert go_on.wait(10)

    def is_quick(received: Received[int]) -> None: ...

    execution = Execution(threads=1)
    first = asyncio.create_task(execution.perform(*received_by(works)))
    await asyncio.sleep(0)
    second = asyncio.create_task(execution.perform(*received_by(is_quick, timeout_s=0.01)))
    done, _ = await asyncio.wait([second], timeout=0.05)
    assert not done
    go_on.set()
    assert await second == [Done()]
    assert await first == [Done()]
    await execution.close()


async def test_a_middleware_that_no_longer_waits_does_not_end_the_thread_s_message() -> None:
    go_on = threading.Event()

    def works(received: Received[int]) -> Retry:
        assert go_on.wait(10)
        return RETRY

    async def is_impatient(received: Any, call_next: Callable[[Any], Awaitable[None]]) -> None:
        async with asyncio.timeout(0.05):
            await call_next(received)

    execution = Execution(middleware=[is_impatient])
    [outcome] = await execution.perform(*received_by(works))
    assert isinstance(outcome, StillRunning)
    go_on.set()
    assert await outcome.finished is RETRY
    await execution.close()


async def test_a_middleware_may_call_a_plain_function_again() -> None:
    calls = []

    def fails_once(received: Received[int]) -> None:
        calls.append(received)
        if len(calls) == 1:
            raise ERROR

    async def tries_twice(received: Any, call_next: CallNext) -> None:
        with contextlib.suppress(ValueError):
            return await call_next(received)
        return await call_next(received)

    execution = Execution(middleware=[tries_twice])
    assert await execution.perform(*received_by(fails_once)) == [Done()]
    assert len(calls) == 2
    await execution.close()


async def test_closing_waits_for_nothing_that_hangs() -> None:
    go_on = threading.Event()

    def hangs(received: Received[int]) -> None:
        assert go_on.wait(10)

    execution = Execution()
    [outcome] = await execution.perform(*received_by(hangs, timeout_s=0.01))
    assert isinstance(outcome, StillRunning)
    await execution.close()
    with pytest.raises(asyncio.CancelledError):
        await outcome.finished
    go_on.set()


async def test_plain_functions_run_in_the_executor_that_is_given_in_the_caller_s_context() -> None:
    seen = []
    trace: ContextVar[str] = ContextVar("trace")

    def works(received: Received[int]) -> None:
        seen.append((threading.current_thread().name, trace.get()))

    trace.set("t-1")
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        assert await Execution(executor=executor).perform(*received_by(works)) == [Done()]
    assert seen == [("mine_0", "t-1")]


async def test_an_async_handler_costs_few_calls_and_no_task() -> None:
    async def does_nothing(received: Received[int]) -> None: ...

    route, received = received_by(does_nothing)
    execution = Execution()
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    tasks = len(asyncio.all_tasks())
    sys.setprofile(count)
    try:
        await execution.perform(route, received)
    finally:
        sys.setprofile(None)
    assert calls <= 6
    assert len(asyncio.all_tasks()) == tasks
