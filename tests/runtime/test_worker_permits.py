"""What has to be free before a worker polls."""

from __future__ import annotations

from typing import Any

import pytest

from forebay.errors import SettingsError
from forebay.worker.breaker import CircuitBreaker
from forebay.worker.permits import Permit, PoolPermit, speaks_for


def permit_of(name: str = "database", free: Any = int, **values: Any) -> PoolPermit:
    return PoolPermit(name, free, **values)


@pytest.mark.parametrize(
    ("idle", "keep", "free"), [(5, 0, 5), (5, 2, 3), (2, 2, 0), (0, 2, 0), (-1, 0, 0)]
)
def test_a_pool_permits_what_is_free_and_not_kept(idle: int, keep: int, free: int) -> None:
    permit = PoolPermit("database", lambda: idle, keep=keep)
    assert permit.free(0) == free
    assert permit.reason == ("" if free else "database has nothing free")


def test_a_pool_that_cannot_be_asked_has_nothing_free_and_says_why() -> None:
    answers: list[int] = []
    permit = PoolPermit("database", answers.pop)
    assert permit.free(0) == 0
    assert permit.reason.startswith("database cannot be asked what is free: IndexError(")
    answers.append(3)
    assert permit.free(0) == 3
    assert permit.reason == ""


def test_a_permit_speaks_for_its_queues_or_for_all() -> None:
    everywhere: Permit = PoolPermit("database", int)
    somewhere: Permit = PoolPermit("database", int, queues=["orders"])
    assert speaks_for(everywhere, "orders")
    assert speaks_for(somewhere, "orders")
    assert not speaks_for(somewhere, "mail")


def test_a_breaker_speaks_for_the_queues_that_its_messages_came_from() -> None:
    breaker = CircuitBreaker()
    permit: Permit = breaker
    assert not speaks_for(permit, "orders")
    breaker.queues.add("orders")
    assert speaks_for(permit, "orders")
    assert not speaks_for(permit, "mail")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": ""}, "A permit's name is empty; say what has to be free"),
        ({"free": 3}, "free of permit database is 3; give a function that returns a number"),
        ({"queues": "orders"}, "queues of permit database is a text; give a list of names"),
        ({"keep": -1}, "keep of permit database is -1; it must be at least 0"),
    ],
)
def test_a_permit_that_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        permit_of(**values)
