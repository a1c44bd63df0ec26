"""The window of a queue: what is in memory, what is not, and how it comes back."""

from __future__ import annotations

import json

import pytest

from forebay.broker.core.changes import PageRequest, Tally
from forebay.broker.core.engine import Wait
from forebay.broker.core.window import Window
from forebay.protocol.actions import PurgeQueueRequest, ReceiveMessageRequest, ReceiveMessageResult
from tests.core.harness import CALLER, JournaledSqs, arn_of, url_of


def in_memory(sqs: JournaledSqs, queue: str = "jobs") -> int:
    """How many messages a look into the queue finds."""
    return len(sqs.engine.peek(url_of(queue), CALLER, sqs.now_ms))


def drained(sqs: JournaledSqs, queue: str = "jobs") -> list[str]:
    """Every body that can be received, deleted as it comes."""
    bodies = []
    while messages := sqs.receive(queue):
        for message in messages:
            bodies.append(message.body)
            sqs.delete(queue, message)
    return bodies


def send_all(sqs: JournaledSqs, count: int, delay_s: int = 0, prefix: str = "m") -> list[str]:
    bodies = [f"{prefix}{index}" for index in range(count)]
    for body in bodies:
        sqs.send("jobs", body, delay_s=delay_s)
    return bodies


def ask(sqs: JournaledSqs, queue: str = "jobs") -> Wait | ReceiveMessageResult:
    """A receive that does not wait, applied once and without pages."""
    request = ReceiveMessageRequest(queue_url=url_of(queue))
    result = sqs.engine.apply(request, CALLER, sqs.now_ms)
    assert isinstance(result, Wait | ReceiveMessageResult)
    return result


def test_a_queue_holds_its_window_in_memory_however_deep_it_is() -> None:
    sqs = JournaledSqs(Window(messages=100, page_messages=10))
    sqs.create("jobs")
    bodies = send_all(sqs, 1000)
    assert in_memory(sqs) == 100
    assert sqs.counts("jobs") == (1000, 0, 0)
    assert drained(sqs) == bodies


def test_large_messages_fill_a_window_by_their_size() -> None:
    sqs = JournaledSqs(Window(size=1000))
    sqs.create("jobs")
    bodies = [str(index) * 400 for index in range(9)]
    for body in bodies:
        sqs.send("jobs", body)
    assert in_memory(sqs) == 3
    assert drained(sqs) == bodies


def test_immediate_messages_push_delayed_ones_out_of_memory() -> None:
    sqs = JournaledSqs(Window(messages=10, page_messages=5))
    sqs.create("jobs")
    delayed = send_all(sqs, 30, delay_s=60, prefix="later")
    immediate = send_all(sqs, 30)
    assert in_memory(sqs) <= 10
    assert sqs.counts("jobs") == (30, 0, 30)
    assert drained(sqs) == immediate
    sqs.wait(60)
    assert drained(sqs) == delayed


def test_a_page_is_void_when_the_horizon_came_closer_meanwhile() -> None:
    sqs = JournaledSqs(Window(messages=8, page_messages=3))
    sqs.create("jobs")
    delayed = send_all(sqs, 8, delay_s=60, prefix="later")
    sqs.restart()
    in_memory(sqs)
    sqs.bring_all()
    in_memory(sqs)
    sqs.take()
    assert len(sqs.to_read) == 1
    immediate = send_all(sqs, 9)
    sqs.read()
    sqs.bring()
    assert drained(sqs) == immediate
    sqs.wait(60)
    assert drained(sqs) == delayed


def test_a_receive_waits_for_a_page_and_for_no_message() -> None:
    sqs = JournaledSqs()
    sqs.create("jobs")
    send_all(sqs, 1)
    sqs.restart()
    assert isinstance(ask(sqs), Wait)
    sqs.bring_all()
    assert sqs.engine.take_readable() == [1]
    result = ask(sqs)
    assert isinstance(result, ReceiveMessageResult)
    assert [message.body for message in result.messages or []] == ["m0"]
    assert ask(sqs) == ReceiveMessageResult()


def test_a_receive_does_not_wait_for_a_page_of_delayed_messages() -> None:
    sqs = JournaledSqs()
    sqs.create("jobs")
    send_all(sqs, 1, delay_s=60)
    sqs.restart()
    assert ask(sqs) == ReceiveMessageResult()
    assert sqs.counts("jobs") == (0, 0, 1)


def test_a_purge_answers_what_waits_for_a_page_and_voids_it() -> None:
    sqs = JournaledSqs(Window(messages=4, page_messages=2))
    sqs.create("jobs")
    send_all(sqs, 9)
    sqs.restart()
    assert isinstance(ask(sqs), Wait)
    sqs.take()
    sqs.read()
    sqs.call(PurgeQueueRequest(queue_url=url_of("jobs")))
    assert sqs.engine.take_readable() == [1]
    assert ask(sqs) == ReceiveMessageResult()
    sqs.bring()
    assert sqs.counts("jobs") == (0, 0, 0)
    bodies = send_all(sqs, 9)
    sqs.restart()
    assert drained(sqs) == bodies


def test_an_empty_queue_knows_after_a_restart_where_its_last_purge_was() -> None:
    sqs = JournaledSqs()
    sqs.create("jobs")
    sqs.send("jobs", "purged")
    sqs.call(PurgeQueueRequest(queue_url=url_of("jobs")))
    purged_at_ms = sqs.now_ms
    sqs.restart()
    sqs.wait(1)
    sqs.send("jobs", "later")
    sqs.commit()
    [backlog] = sqs.journal.load().backlogs
    assert backlog.tally == Tally(1, purged_at_ms)


def test_pages_are_asked_for_one_at_a_time_and_each_behind_the_last() -> None:
    sqs = JournaledSqs(Window(messages=8, page_messages=2))
    sqs.create("jobs")
    send_all(sqs, 9)
    sqs.restart()
    asked: list[PageRequest] = []
    for _ in range(2):
        ask(sqs)
        ask(sqs)
        asked += sqs.engine.take_pages()
        sqs.to_read.append(asked[-1])
        sqs.read()
        sqs.bring()
    assert [(request.number, request.after[1], request.messages_max) for request in asked] == [
        (1, 0, 2),
        (2, 2, 2),
    ]


@pytest.mark.parametrize(("searched", "found"), [(20, []), (50, ["free"])])
def test_a_fifo_queue_looks_for_a_group_as_far_as_it_may(searched: int, found: list[str]) -> None:
    sqs = JournaledSqs(Window(messages=8, page_messages=4, searched_messages=searched))
    sqs.create("jobs.fifo")
    for index in range(40):
        sqs.send("jobs.fifo", f"m{index}", group="busy")
    sqs.send("jobs.fifo", "free", group="idle")
    [busy] = sqs.receive("jobs.fifo", 1)
    assert sqs.bodies("jobs.fifo") == found
    sqs.delete("jobs.fifo", busy)
    assert sqs.bodies("jobs.fifo", 3) == ["m1", "m2", "m3"]


def test_a_backlog_expires_in_slices_though_nobody_receives() -> None:
    sqs = JournaledSqs(Window(messages=4, page_messages=3))
    sqs.create("jobs", {"MessageRetentionPeriod": 60})
    send_all(sqs, 20)
    sqs.restart()
    sqs.wait(59)
    late = send_all(sqs, 2, prefix="late")
    sqs.wait(1)
    for _ in range(20):
        sqs.engine.tick(sqs.now_ms)
        sqs.bring_all()
    assert sqs.counts("jobs") == (2, 0, 0)
    sqs.restart()
    assert drained(sqs) == late


def test_dead_letters_keep_their_receive_count_in_the_backlog() -> None:
    sqs = JournaledSqs(Window(messages=4, page_messages=3))
    sqs.create("dead")
    policy = {"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": 2}
    sqs.create("jobs", {"RedrivePolicy": json.dumps(policy)})
    bodies = send_all(sqs, 12)
    for _ in range(3):
        for _ in range(12):
            sqs.receive("jobs", 1, timeout_s=1)
        sqs.wait(1)
    assert sqs.counts("dead") == (12, 0, 0)
    sqs.restart()
    dead = [message for _ in range(12) for message in sqs.receive("dead", 1)]
    assert sorted(message.body for message in dead) == sorted(bodies)
    for message in dead:
        assert message.attributes is not None
        assert message.attributes["ApproximateReceiveCount"] == "3"
