"""What a command line says otherwise about a worker."""

from __future__ import annotations

from typing import Any

import pytest

from forebay.client.fake import ScriptedSqsClient
from forebay.errors import ServiceUnreachable, SettingsError
from forebay.protocol.actions import AnyRequest, AnyResult
from forebay.supervisor.child import ChildSettings, adjusted
from forebay.worker import Received, Router, Worker, WorkerSettings
from forebay.worker.middleware import CallNext
from forebay.worker.queue import HIGH, LOW, Queue

MAIL = "http://sqs.test/000000000000/mail"


async def no_answer(request: AnyRequest) -> AnyResult:
    raise ServiceUnreachable


async def log_it(received: Received[Any], call_next: CallNext) -> None:
    await call_next(received)


def worker() -> Worker:
    return Worker(
        ScriptedSqsClient(no_answer),
        [Queue("orders", priority=HIGH, failures_max=3), Queue(MAIL, priority=LOW)],
        Router(),
        settings=WorkerSettings(concurrency=7),
        middleware=[log_it],
    )


def told(**otherwise: Any) -> ChildSettings:
    return ChildSettings(number=1, target="shop:worker", directory=".", **otherwise)


def test_without_a_word_it_is_the_worker_itself() -> None:
    own = worker()
    assert adjusted(own, told()) is own


@pytest.mark.parametrize("name", ["mail", MAIL])
def test_only_named_queues_are_served_by_name_or_url(name: str) -> None:
    own = worker()
    less = adjusted(own, told(queues=[name]))
    assert less.queues == (Queue(MAIL, priority=LOW),)
    assert (less.client, less.router, less.settings) == (own.client, own.router, own.settings)


def test_the_drain_timeout_is_another_and_the_rest_stays() -> None:
    own = worker()
    longer = adjusted(own, told(drain_timeout_s=90.0))
    assert longer.settings == WorkerSettings(concurrency=7, drain_timeout_s=90.0)
    assert longer.queues == own.queues


def test_a_queue_that_it_does_not_serve_is_refused() -> None:
    with pytest.raises(SettingsError, match="--queue oders: shop:worker serves orders, mail only"):
        adjusted(worker(), told(queues=["oders"]))


def test_a_timeout_out_of_range_is_refused() -> None:
    with pytest.raises(SettingsError, match="drain_timeout_s"):
        adjusted(worker(), told(drain_timeout_s=1e9))
