"""Redriving dead letters from the command line."""

from __future__ import annotations

import json

import pytest

from forebay.broker.core import move_tasks
from forebay.cli import rejected_copies
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


@pytest.fixture
def without_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that knows no more of rejected copies than Amazon SQS does."""
    monkeypatch.setattr(move_tasks, "_rejected_from", lambda *_: None)
    monkeypatch.setattr(rejected_copies, "_WAIT_S", 0)


def with_rejected_copies(sqs: Sqs, queues: tuple[str, str]) -> None:
    """Behind the dead letters come rejected copies, and another dead letter."""
    queue, dead = queues
    sqs.reject(queue, dead, "rejected 1")
    sqs.reject(queue, dead, "rejected 2")
    sqs.send(queue, "order 5")
    sqs.die(queue)
    assert sqs.count(dead) == 8


def test_rejected_copies_go_back_like_any_dead_letter(
    run: Run, sqs: Sqs, queues: tuple[str, str]
) -> None:
    with_rejected_copies(sqs, queues)
    ended = run("redrive", "orders-dlq")
    assert ended == (0, "Moved 8 messages to where they came from.\n", "")
    assert (sqs.count(queues[0]), sqs.count(queues[1])) == (8, 0)


@pytest.mark.usefixtures("without_help")
def test_where_sqs_cannot_move_rejected_copies_they_are_sent_back(
    run: Run, sqs: Sqs, queues: tuple[str, str]
) -> None:
    with_rejected_copies(sqs, queues)
    ended = run("redrive", "orders-dlq", "--rate", "500")
    assert ended == (0, "Moved 8 messages to where they came from.\n", "")
    assert (sqs.count(queues[0]), sqs.count(queues[1])) == (8, 0)
    by_body = {message.body: message for message in sqs.receive(queues[0])}
    assert by_body["rejected 1"].message_attributes is None


@pytest.mark.usefixtures("without_help")
def test_what_is_no_copy_stays_visible(run: Run, sqs: Sqs, queues: tuple[str, str]) -> None:
    with_rejected_copies(sqs, queues)
    sqs.send(queues[1], "not a dead letter, so it came from nowhere")
    ended = run("redrive", "orders-dlq")
    assert ended.code == 1
    assert "CouldNotDetermineMessageSource" in ended.err
    assert sqs.count(queues[0]) == 8
    assert sqs.bodies(queues[1]) == ["not a dead letter, so it came from nowhere"]


@pytest.mark.usefixtures("without_help")
def test_ctrl_c_while_copies_are_sent_back_loses_none(
    run: Run, sqs: Sqs, queues: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_rejected_copies(sqs, queues)
    slept = Connection.sleep

    def interrupted(connection: Connection, duration_s: float) -> None:
        if duration_s == 1 / 500:
            raise KeyboardInterrupt
        slept(connection, duration_s)

    monkeypatch.setattr(Connection, "sleep", interrupted)
    ended = run("redrive", "orders-dlq", "--rate", "500")
    assert ended.code == 130
    assert ended.out.startswith("Cancelled. 6 of ")
    assert sqs.count(queues[0]) == 6


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


def test_json_is_the_task_as_sqs_shows_it(run: Run, sqs: Sqs, queues: tuple[str, str]) -> None:
    task = json.loads(run("redrive", "orders-dlq", "--json").out)
    assert task["Status"] == "COMPLETED"
    assert task["SourceArn"] == sqs.arn(queues[1])
    assert task["ApproximateNumberOfMessagesMoved"] == 5
    assert list(json.loads(run("redrive", "orders-dlq", "--no-wait", "--json").out)) == [
        "TaskHandle"
    ]


def test_queues_can_be_named_by_their_arns(run: Run, sqs: Sqs, queues: tuple[str, str]) -> None:
    ended = run("redrive", sqs.arn(queues[1]), "--to", sqs.arn(queues[0]))
    assert ended == (0, "Moved 5 messages to orders.\n", "")
