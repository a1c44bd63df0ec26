"""Settings that must be numbers and are not: as read from the environment, say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from forebay import (
    CircuitBreaker,
    HttpSqsClient,
    Limit,
    PoolPermit,
    ProducerSettings,
    Queue,
    Reject,
    Retry,
    Router,
    WorkerSettings,
)
from forebay.client.retry import RetryPolicy
from forebay.errors import SettingsError
from forebay.worker.scaling import Document002, LittlesLaw


def handler(**options: Any) -> None:
    router: Any = Router()
    router.handler("order", dict, **options)(print)


@pytest.mark.parametrize(
    ("make", "setting", "value", "problem"),
    [
        (WorkerSettings, "concurrency", "5", "concurrency is '5'; it must be a whole number"),
        (WorkerSettings, "concurrency", 2.5, "concurrency is 2.5; it must be a whole number"),
        (WorkerSettings, "batch", True, "batch is True; it must be a whole number"),
        (WorkerSettings, "visibility_timeout_s", 30.5, "is 30.5; it must be a whole number"),
        (WorkerSettings, "drain_timeout_s", None, "drain_timeout_s is None; it must be a number"),
        (WorkerSettings, "drain_timeout_s", "20", "drain_timeout_s is '20'; it must be a number"),
        (Queue, "weight", "1", "Queue orders: weight is '1'; it must be a number"),
        (Queue, "failures_max", 2.5, "Queue orders: failures_max is 2.5; it must be a whole"),
        (Queue, "name", 5, "A queue's name is 5; give its name or its URL"),
        (Limit, "running", "5", "Limit: running is '5'; it must be a whole number"),
        (Limit, "per_s", "5", "Limit: per_s is '5'; it must be a number"),
        (CircuitBreaker, "open_s", "5", "open_s is '5'; it must be a number"),
        (CircuitBreaker, "of", 2.5, "of is 2.5; it must be a whole number"),
        (LittlesLaw, "age_objective_s", "5", "age_objective_s is '5'; it must be a number"),
        (Document002, "threshold", None, "threshold is None; it must be a number"),
        (RetryPolicy, "deadline_ms", "5", "RetryPolicy.deadline_ms is '5'; it must be a whole"),
        (ProducerSettings, "flush_ms", "5", "ProducerSettings.flush_ms is '5'; it must be a whole"),
        (HttpSqsClient, "timeout_s", "5", "HttpSqsClient timeout_s is '5'; it must be a number"),
        (PoolPermit, "keep", "1", "keep of permit pool is '1'; it must be a whole number"),
        (handler, "timeout_s", "5", "timeout_s of the handler of 'order' is '5'; it must be a num"),
        (handler, "batch", "5", "batch of the handler of 'order' is '5'; it must be a whole num"),
        (Retry, "delay_s", "5", "Retry: delay_s is '5'; it must be a number"),
        (Retry, "delay_s", None, "Retry: delay_s is None; it must be a number"),
        (Reject, "reason", ValueError("no"), "say in words why the message is rejected"),
    ],
)
def test_what_is_no_number_is_refused_by_name(
    make: Callable[..., object], setting: str, value: object, problem: str
) -> None:
    beside: dict[Any, dict[str, object]] = {
        Queue: {"name": "orders"},
        PoolPermit: {"name": "pool", "free": lambda: 1},
    }
    with pytest.raises(SettingsError, match=problem):
        make(**{**beside.get(make, {}), setting: value})
