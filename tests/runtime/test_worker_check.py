"""Mistakes in a worker's set-up, one by one."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from forebay.worker import Received, Router, WorkerSettings
from forebay.worker.check import CheckedQueue, DeadLetterFacts, Problem, Severity, drain_s, problems
from forebay.worker.queue import Queue
from forebay.worker.queue_facts import QueueFacts
from forebay.worker.route import Route

DAY_S = 86_400
ARN = "arn:aws:sqs:us-east-1:000000000000:orders-dlq"


def route(**options: Any) -> Route:
    router = Router()

    @router.handler("order", str, **options)
    async def decide(received: Received[str]) -> None: ...

    return router.routes[0]


def plain(**options: Any) -> Route:
    router = Router()

    @router.handler("order", str, **options)
    def print_it(received: Received[str]) -> None: ...

    return router.routes[0]


def checked(queue: Queue | None = None, **changes: Any) -> CheckedQueue:
    """A queue that is as it should be, but for `changes` to what is known of it."""
    facts = QueueFacts(
        url="http://sqs/0/orders",
        arn=ARN.removesuffix("-dlq"),
        visibility_timeout_s=30,
        dead_letter_arn=ARN,
        max_receive_count=8,
    )
    of_facts = {
        name: changes.pop(name) for name in list(changes) if name in facts.__struct_fields__
    }
    usual: dict[str, Any] = {
        "routes": [route()],
        "facts": replace(facts, **of_facts),
        "retention_s": 4 * DAY_S,
        "dead_letter": DeadLetterFacts("orders-dlq", exists=True, retention_s=14 * DAY_S),
    }
    return CheckedQueue(queue=queue or Queue("orders"), **usual | changes)


def found(
    *queues: CheckedQueue, settings: WorkerSettings | None = None
) -> list[tuple[Severity, str, str]]:
    """The problems but for the note that every worker gets."""
    every = problems(queues, settings or WorkerSettings())
    return [
        (each.severity, each.subject, each.text)
        for each in every
        if each.subject != "drain_timeout_s"
    ]


MISTAKE, WARNING, NOTE = Severity.MISTAKE, Severity.WARNING, Severity.NOTE


@pytest.mark.parametrize(
    ("queue", "severity", "text"),
    [
        (checked(), None, ""),
        (checked(exists=False), MISTAKE, "there is no such queue"),
        (checked(facts=None), NOTE, "its attributes cannot be read"),
        (checked(routes=[]), MISTAKE, "no handler takes its messages"),
        (checked(asked=False, facts=None), None, ""),
        # Dead letters.
        (
            checked(dead_letter_arn=None, max_receive_count=None, dead_letter=None),
            MISTAKE,
            "it has no dead-letter queue",
        ),
        (
            checked(
                Queue("orders", dead_letter_queue="dead"),
                dead_letter_arn=None,
                max_receive_count=None,
            ),
            WARNING,
            "it has no RedrivePolicy",
        ),
        (
            checked(dead_letter=DeadLetterFacts("orders-dlq", exists=False)),
            MISTAKE,
            "orders-dlq does not exist",
        ),
        (checked(dead_letter=DeadLetterFacts("orders-dlq")), None, ""),
        (
            checked(dead_letter=DeadLetterFacts("orders-dlq", True, 4 * DAY_S)),
            WARNING,
            "orders-dlq keeps messages for 4 days",
        ),
        (checked(dead_letter=DeadLetterFacts("orders-dlq", True, 5 * DAY_S)), None, ""),
        (
            checked(dead_letter=DeadLetterFacts("orders", True, 5 * DAY_S)),
            MISTAKE,
            "its own dead-letter queue",
        ),
        # A FIFO queue's dead letters are counted anew: their retention begins with the move.
        (
            checked(dead_letter=DeadLetterFacts("orders-dlq", True, 4 * DAY_S), fifo=True),
            None,
            "",
        ),
        # Receives: failures and interruptions.
        (checked(max_receive_count=7), WARNING, "maxReceiveCount is 7"),
        (checked(max_receive_count=1), MISTAKE, "maxReceiveCount is 1"),
        (checked(Queue("orders", failures_max=3), max_receive_count=7), MISTAKE, "Set maxReceiveC"),
        (checked(Queue("orders", failures_max=3), max_receive_count=8), None, ""),
        (checked(Queue("orders", failures_max=4), max_receive_count=8), MISTAKE, "to 9 at least"),
        # Times.
        (checked(visibility_timeout_s=9), WARNING, "its visibility timeout is 9 s"),
        (checked(visibility_timeout_s=10), None, ""),
        (checked(Queue("orders", visibility_timeout_s=5)), WARNING, "its visibility timeout is 5"),
        (checked(retention_s=60, visibility_timeout_s=60), MISTAKE, "it keeps messages for 60 s"),
        (checked(retention_s=300), WARNING, "may stay hidden for 300 s"),
        (checked(retention_s=301), None, ""),
        (checked(routes=[route(batch=10, within_ms=15_001)]), MISTAKE, "gathers for 15.001 s"),
        (checked(routes=[route(batch=10, within_ms=15_000)]), None, ""),
        (checked(routes=[route(batch=10)], fifo=True), WARNING, "which is FIFO"),
        (checked(routes=[route(timeout_s=20.1)]), WARNING, "interrupts it after 20 s"),
        (checked(routes=[route(timeout_s=20)]), None, ""),
        (checked(routes=[plain(timeout_s=50)]), None, ""),
        (checked(routes=[plain(timeout_s=51)]), WARNING, "counts it as lost after 50 s"),
    ],
)
def test_each_mistake_is_found_and_nothing_else(
    queue: CheckedQueue, severity: Severity | None, text: str
) -> None:
    seen = found(queue)
    if severity is None:
        assert seen == []
    else:
        (problem,) = seen
        assert problem[0] is severity
        assert text in problem[2]


def test_a_queue_that_is_served_under_two_names_is_found() -> None:
    twice = [checked(), checked(Queue("http://sqs/0/orders"))]
    ((severity, subject, text),) = found(*twice)
    assert (severity, subject) == (MISTAKE, "http://sqs/0/orders")
    assert "the same queue as orders" in text


def test_a_dead_letter_queue_that_the_worker_serves_itself_is_found() -> None:
    dead = checked(
        Queue("orders-dlq"),
        url="http://sqs/0/orders-dlq",
        dead_letter=DeadLetterFacts("graveyard", True, 14 * DAY_S),
    )
    ((severity, subject, text),) = found(checked(), dead)
    assert (severity, subject) == (WARNING, "orders")
    assert "served by the same worker" in text


def test_short_polling_is_found() -> None:
    ((severity, subject, _),) = found(checked(), settings=WorkerSettings(wait_s=0))
    assert (severity, subject) == (WARNING, "wait_s")


def test_what_cannot_be_known_is_said() -> None:
    note = problems([checked()], WorkerSettings())[-1]
    assert isinstance(note, Problem)
    assert note.severity is NOTE
    assert "a stop may take 27 s" in note.text


def test_a_drain_takes_longer_with_plain_functions() -> None:
    settings = WorkerSettings(wait_s=20, drain_timeout_s=10, thread_timeout_s=7)
    assert (drain_s(settings, plain=False), drain_s(settings, plain=True)) == (35, 42)


def test_mistakes_come_first_and_each_once() -> None:
    shared = route(timeout_s=99, batch=5, within_ms=60_000)
    one, two = checked(routes=[shared]), checked(Queue("b"), url="b", routes=[shared])
    severities = [severity for severity, _, _ in found(one, two)]
    assert severities == sorted(severities, key=list(Severity).index)
    assert severities.count(WARNING) == 1
