"""Redriving dead letters from the command line."""

from __future__ import annotations

import pytest

from forebay.cli.connection import Connection
from tests.cli.conftest import Run, Sqs


@pytest.fixture
def queues(sqs: Sqs) -> tuple[str, str]:
    """A queue, and its dead-letter queue with five messages in it."""
    queue, dead = sqs.create_with_dead_letter_queue("orders")
    for number in range(5):
        sqs.send(queue, f"order {number}")
    sqs.die(queue)
    assert (sqs.count(queue), sqs.count(dead)) == (0, 5)
    return queue, dead


def test_dead_letters_go_back_to_where_they_came_from(
    run: Run, sqs: Sqs, queues: tuple[str, str]
) -> None:
    queue, dead = queues
    ended = run("redrive", "orders-dlq")
    assert ended == (0, "Moved 5 messages to where they came from.\n", "")
    assert (sqs.count(queue), sqs.count(dead)) == (5, 0)


def test_dead_letters_can_go_to_another_queue(run: Run, sqs: Sqs, queues: tuple[str, str]) -> None:
    repair = sqs.create("repair")
    ended = run("redrive", queues[1], "--to", "repair")
    assert ended == (0, "Moved 5 messages to repair.\n", "")
    assert (sqs.count(repair), sqs.count(queues[0])) == (5, 0)


def test_ctrl_c_cancels_the_task_and_says_what_was_moved(
    run: Run, sqs: Sqs, queues: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(connection: Connection, duration_s: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Connection, "sleep", interrupted)
    ended = run("redrive", "orders-dlq", "--rate", "1")
    moved = sqs.count(queues[0])
    assert ended.code == 130
    assert ended.out == (
        f"Cancelled. {moved} of 5 messages were moved to where they came from; the rest is still in"
        " orders-dlq.\n"
    )
    assert moved < 5
    assert sqs.count(queues[1]) == 5 - moved


def test_it_need_not_wait(run: Run, sqs: Sqs, queues: tuple[str, str]) -> None:
    ended = run("redrive", "orders-dlq", "--no-wait")
    assert ended == (0, "Moving the messages of orders-dlq to where they came from.\n", "")


def test_a_task_that_fails_says_why_and_what_to_do(
    run: Run, sqs: Sqs, queues: tuple[str, str]
) -> None:
    sqs.send(queues[1], "not a dead letter, so it came from nowhere")
    ended = run("redrive", "orders-dlq")
    assert ended.code == 1
    assert ended.err == (
        "Error: The task failed after 5 of 6 messages: CouldNotDetermineMessageSource. What was not"
        " moved is still in orders-dlq; name another queue with --to.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("orders",), "must be configured as a Dead Letter Queue"),
        (("orders-dlq", "--to", "repiar"), "has no queue repiar. Did you mean repair?"),
        (("orders-dlq", "--to", "orders-dlq"), "cannot be the same"),
    ],
)
def test_what_cannot_be_moved_is_explained(
    run: Run, sqs: Sqs, queues: tuple[str, str], arguments: tuple[str, ...], reason: str
) -> None:
    sqs.create("repair")
    ended = run("redrive", *arguments)
    assert ended.code == 1
    assert reason in ended.err
