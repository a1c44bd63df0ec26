"""A worker or a handler that could handle no message is refused when it is made."""

from __future__ import annotations

from typing import Any

import pytest

from forebay import HttpSqsClient, Limit, PoolPermit, Queue, Router, Worker
from forebay.errors import SettingsError

A_WORKER: Any = Worker
CLIENT, ROUTER = HttpSqsClient("http://127.0.0.1:1"), Router()
POOL = PoolPermit("pool", lambda: 1)


@pytest.mark.parametrize(
    ("arguments", "options", "problem"),
    [
        (
            ("http://sqs", "orders", ROUTER),
            {},
            r"client of a worker is 'http://sqs'. Give one such",
        ),
        (
            (HttpSqsClient, "orders", ROUTER),
            {},
            r"client of a worker is <class .*HttpSqsClient\(\)",
        ),
        ((CLIENT, "orders", print), {}, "router of a worker is <built-in function print>. Give a"),
        ((CLIENT, "orders", None), {}, "router of a worker is None"),
        ((CLIENT, 5, ROUTER), {}, "queues of a worker are 5; give a name, a URL or a Queue"),
        ((CLIENT, ["orders", None], ROUTER), {}, "A queue of a worker is None; give a name"),
        ((CLIENT, "orders", ROUTER), {"permits": POOL}, "permits of a worker is .* must be a list"),
        ((CLIENT, "orders", ROUTER), {"permits": [Limit(running=1)]}, "a Limit is a handler's"),
        ((CLIENT, "orders", ROUTER), {"middleware": print}, "it must be a list of async functions"),
    ],
)
def test_a_worker_of_the_wrong_parts_is_refused(
    arguments: tuple[object, ...], options: dict[str, object], problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem):
        A_WORKER(*arguments, **options)


def test_a_worker_takes_queues_in_every_form() -> None:
    for queues in ("a", Queue("a"), ["a", Queue("b")], ("a",), {"a": 1}):
        assert A_WORKER(CLIENT, queues, ROUTER).queues[0] == Queue("a")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"limits": Limit(running=1)}, "limits of the handler of 'order' is .* a list of Limits"),
        (
            {"limits": [5]},
            r"limits of the handler of 'order' is \[5\]; it must be a list of Limits",
        ),
        ({"breaker": 5}, "breaker of the handler of 'order' is 5; it must be a CircuitBreaker"),
    ],
)
def test_a_handler_with_the_wrong_guards_is_refused(
    options: dict[str, object], problem: str
) -> None:
    router: Any = Router()
    with pytest.raises(SettingsError, match=problem):
        router.handler("order", dict, **options)(print)


def test_a_message_type_is_a_text() -> None:
    router: Any = Router()
    with pytest.raises(SettingsError, match="message type of a handler is 5; give a text"):
        router.handler(5, dict)(print)
