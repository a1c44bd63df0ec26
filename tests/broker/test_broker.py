"""The broker under virtual time: when answers leave, and what becomes of waiting polls."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec
from unittest.mock import patch

import pytest

from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.core.changes import PageRequest
from forebay.broker.core.engine import Caller
from forebay.broker.core.window import Window
from forebay.broker.journal.base import Durability, Journal
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.polls import Answer
from forebay.protocol.actions import (
    AnyRequest,
    CreateQueueRequest,
    DeleteQueueRequest,
    GetQueueUrlRequest,
    GetQueueUrlResult,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageRequest,
    SendMessageResult,
)
from forebay.protocol.errors import SqsError
from tests.broker.journals import FailingJournal, HeldExecutor
from tests.runtime.virtual_time import LoopClock, run

_P = ParamSpec("_P")

CALLER = Caller("000000000000", "us-east-1", "http://sqs.test")


def broker_on(
    journal: MemoryJournal,
    executor: HeldExecutor | None = None,
    window: Window = Window(),  # noqa: B008 - frozen
) -> Broker:
    """A broker; the executor, if there is one, makes its commits."""
    journal.is_quick = executor is None
    return Broker(
        journal,
        executor=executor or InlineExecutor(),
        clock=LoopClock(),
        entropy=bytes,
        recreate_interval_ms=0,
        window=window,
    )


def bodies_in(journal: Journal) -> list[str]:
    """The messages that the first queue of a journal holds and nobody received."""
    return [row[3] for row in journal.page(PageRequest(1, 1, (0, 0), 100, 1_000_000)).rows]


def all_bodies_in(journal: Journal) -> list[str]:
    """The messages that the first queue of a journal holds, those that were received too."""
    received = [row[3] for row, _ in journal.load().messages]
    return sorted(received + bodies_in(journal))


def send(queue: str, body: str = "hello", **members: Any) -> SendMessageRequest:
    return SendMessageRequest(queue_url=queue, message_body=body, **members)


def receive(queue: str, wait_s: int = 0, limit: int = 1) -> ReceiveMessageRequest:
    return ReceiveMessageRequest(
        queue_url=queue, wait_time_seconds=wait_s, max_number_of_messages=limit
    )


async def create(broker: Broker, name: str = "jobs", **attributes: str) -> None:
    await broker.call(CreateQueueRequest(queue_name=name, attributes=attributes))


async def bodies(poll: Coroutine[Any, Any, Any]) -> list[str]:
    result = await poll
    assert isinstance(result, ReceiveMessageResult)
    return [message.body for message in result.messages or []]


def in_virtual_time(story: Callable[_P, Coroutine[Any, Any, None]]) -> Callable[_P, None]:
    """A test whose sleeps cost nothing."""

    @functools.wraps(story)
    def test(*args: _P.args, **kwargs: _P.kwargs) -> None:
        run(story(*args, **kwargs))

    return test


async def settle() -> None:
    """Let everything that is due without a wait happen."""
    for _ in range(10):
        await asyncio.sleep(0)


class Asked:
    """A request on its way."""

    def __init__(self, broker: Broker, request: AnyRequest) -> None:
        self.answers: list[Answer] = []
        self.poll = broker.submit(request, CALLER, self.answers.append)

    @property
    def answer(self) -> Answer:
        assert len(self.answers) == 1
        return self.answers[0]

    @property
    def code(self) -> str:
        assert isinstance(self.answer, SqsError)
        return self.answer.code


@in_virtual_time
async def test_an_answer_leaves_only_after_its_commit() -> None:
    executor = HeldExecutor()
    broker = broker_on(MemoryJournal(), executor)
    created = Asked(broker, CreateQueueRequest(queue_name="jobs"))
    await settle()
    assert created.answers == []
    executor.release()
    await settle()
    assert not isinstance(created.answer, SqsError)


@in_virtual_time
async def test_requests_that_arrive_during_a_commit_share_the_next_one() -> None:
    executor, journal = HeldExecutor(), FailingJournal()
    broker = broker_on(journal, executor)
    Asked(broker, CreateQueueRequest(queue_name="jobs"))
    await settle()
    sends = [Asked(broker, send("jobs", body)) for body in "abc"]
    await settle()
    executor.release()
    await settle()
    assert [sent.answers for sent in sends] == [[], [], []]
    executor.release()
    await settle()
    assert [type(sent.answer) for sent in sends] == [SendMessageResult] * 3
    assert [len(changes.messages) for changes in journal.commits] == [0, 3]


@in_virtual_time
async def test_a_quick_commit_is_made_without_the_executor() -> None:
    journal, executor = FailingJournal(), HeldExecutor()
    broker = broker_on(journal, executor)
    journal.is_quick = True
    await create(broker)
    sent = [Asked(broker, send("jobs", str(number))) for number in range(3)]
    await settle()
    assert executor.held == []
    assert [len(asked.answers) for asked in sent] == [1, 1, 1]
    assert [len(commit.messages) for commit in journal.commits] == [0, 3]
    await broker.close()


@in_virtual_time
async def test_a_quick_commit_that_fails_refuses_what_waited_for_it_and_the_broker_recovers() -> (
    None
):
    journal = FailingJournal()
    broker = broker_on(journal)
    await create(broker)
    journal.failing_commits = 1
    lost = Asked(broker, send("jobs", "lost"))
    await settle()
    assert lost.code == "ServiceUnavailable"
    await broker.call(send("jobs", "kept"))
    assert bodies_in(journal) == ["kept"]
    await broker.close()


@in_virtual_time
async def test_a_sync_is_put_off_while_every_turn_of_the_loop_brings_more_requests() -> None:
    journal = FailingJournal()
    journal.durability = Durability.FSYNC
    broker = broker_on(journal)
    await create(broker)
    asked = []
    for number in range(5):
        asked.append(Asked(broker, send("jobs", str(number))))
        await asyncio.sleep(0)
    assert [one.answers for one in asked] == [[]] * 5
    await settle()
    assert [len(commit.messages) for commit in journal.commits] == [0, 5]
    await broker.close()


@in_virtual_time
async def test_an_answer_without_changes_waits_for_what_it_may_tell_of() -> None:
    executor = HeldExecutor()
    broker = broker_on(MemoryJournal(), executor)
    created = Asked(broker, CreateQueueRequest(queue_name="jobs"))
    found = Asked(broker, GetQueueUrlRequest(queue_name="jobs"))
    await settle()
    executor.release()
    asked_during_commit = Asked(broker, GetQueueUrlRequest(queue_name="jobs"))
    assert [created.answers, found.answers, asked_during_commit.answers] == [[], [], []]
    await settle()
    assert not isinstance(created.answer, SqsError)
    assert found.answer == GetQueueUrlResult(queue_url="http://sqs.test/000000000000/jobs")
    assert asked_during_commit.answer == found.answer
    assert executor.held == []


@in_virtual_time
async def test_a_duplicate_send_is_answered_when_the_original_is_durable() -> None:
    executor = HeldExecutor()
    broker = broker_on(MemoryJournal(), executor)
    Asked(broker, CreateQueueRequest(queue_name="q.fifo", attributes={"FifoQueue": "true"}))
    await settle()
    executor.release()
    await settle()
    request = send("q.fifo", message_group_id="g", message_deduplication_id="d")
    original = Asked(broker, request)
    await settle()
    duplicate = Asked(broker, request)
    await settle()
    assert [original.answers, duplicate.answers] == [[], []]
    executor.release()
    await settle()
    assert original.answer == duplicate.answer


@in_virtual_time
async def test_a_failed_commit_refuses_all_that_waited_and_the_broker_recovers() -> None:
    executor, journal = HeldExecutor(), FailingJournal()
    broker = broker_on(journal, executor)
    Asked(broker, CreateQueueRequest(queue_name="jobs"))
    await settle()
    executor.release()
    await settle()
    journal.failing_commits = 1
    in_the_group = Asked(broker, send("jobs", "lost"))
    await settle()
    behind_the_group = Asked(broker, send("jobs", "lost as well"))
    executor.release()
    await settle()
    during_the_rebuild = Asked(broker, send("jobs", "and this"))
    assert in_the_group.answers == []
    executor.release()
    await settle()
    refused = [in_the_group, behind_the_group, during_the_rebuild]
    assert [asked.code for asked in refused] == ["ServiceUnavailable"] * 3
    kept = Asked(broker, send("jobs", "kept"))
    await settle()
    executor.release()
    await settle()
    assert isinstance(kept.answer, SendMessageResult)
    assert bodies_in(journal) == ["kept"]


@in_virtual_time
async def test_a_waiting_poll_survives_a_failed_commit() -> None:
    journal = FailingJournal()
    broker = broker_on(journal)
    await create(broker)
    poll = asyncio.create_task(bodies(broker.call(receive("jobs", wait_s=20))))
    await settle()
    journal.failing_commits = 1
    with pytest.raises(SqsError, match="ServiceUnavailable"):
        await broker.call(CreateQueueRequest(queue_name="other"))
    assert not poll.done()
    await broker.call(send("jobs", "at last"))
    assert await poll == ["at last"]


@in_virtual_time
async def test_a_poll_on_a_queue_that_was_never_durable_fails_with_it() -> None:
    journal, executor = FailingJournal(), HeldExecutor()
    broker = broker_on(journal, executor)
    journal.failing_commits = 1
    created = Asked(broker, CreateQueueRequest(queue_name="jobs"))
    poll = Asked(broker, receive("jobs", wait_s=20))
    await settle()
    executor.release()
    await settle()
    executor.release()
    await settle()
    assert created.code == "ServiceUnavailable"
    assert poll.code == "AWS.SimpleQueueService.NonExistentQueue"


@in_virtual_time
async def test_an_unreadable_journal_is_tried_again_until_it_can_be_read() -> None:
    journal = FailingJournal()
    broker = broker_on(journal)
    await create(broker)
    journal.failing_commits, journal.failing_loads = 1, 3
    for _ in range(2):
        with pytest.raises(SqsError, match="ServiceUnavailable"):
            await broker.call(send("jobs"))
        assert not broker.available
    await asyncio.sleep(5)
    assert broker.available
    assert isinstance(await broker.call(send("jobs")), SendMessageResult)


@in_virtual_time
async def test_a_poll_is_answered_by_the_send_that_it_waits_for() -> None:
    broker = broker_on(MemoryJournal())
    await create(broker)
    poll = asyncio.create_task(bodies(broker.call(receive("jobs", wait_s=20))))
    await asyncio.sleep(7)
    await broker.call(send("jobs", "hello"))
    assert await poll == ["hello"]
    assert asyncio.get_running_loop().time() == pytest.approx(1007)


@in_virtual_time
async def test_a_poll_that_finds_nothing_is_answered_empty_when_its_time_is_up() -> None:
    broker = broker_on(MemoryJournal())
    await create(broker)
    loop = asyncio.get_running_loop()
    polls = [bodies(broker.call(receive("jobs", wait_s=wait_s))) for wait_s in (3, 1, 20)]
    ends: list[float] = []
    for poll in asyncio.as_completed(polls):
        assert await poll == []
        ends.append(loop.time() - 1000)
    assert ends == pytest.approx([1, 3, 20], abs=0.01)


@in_virtual_time
async def test_polls_are_served_in_the_order_they_came() -> None:
    broker = broker_on(MemoryJournal())
    await create(broker)
    polls = [Asked(broker, receive("jobs", wait_s=20)) for _ in range(3)]
    for number in range(2):
        await broker.call(send("jobs", f"message {number}"))
    first, second, third = polls
    assert isinstance(first.answer, ReceiveMessageResult)
    assert [message.body for message in first.answer.messages or []] == ["message 0"]
    assert isinstance(second.answer, ReceiveMessageResult)
    assert third.answers == []


@in_virtual_time
async def test_a_poll_is_woken_by_the_end_of_a_delay_and_of_a_visibility_timeout() -> None:
    broker = broker_on(MemoryJournal())
    await create(broker, VisibilityTimeout="5")
    loop = asyncio.get_running_loop()
    await broker.call(send("jobs", "later", delay_seconds=3))
    assert await bodies(broker.call(receive("jobs", wait_s=20))) == ["later"]
    assert loop.time() - 1000 == pytest.approx(3, abs=0.01)
    assert await bodies(broker.call(receive("jobs", wait_s=20))) == ["later"]
    assert loop.time() - 1000 == pytest.approx(8, abs=0.01)


@in_virtual_time
async def test_polls_at_the_quota_of_messages_in_flight_wait_for_room() -> None:
    with patch("forebay.broker.core.receive.IN_FLIGHT_MESSAGES_MAX", 1):
        broker = broker_on(MemoryJournal())
        await create(broker, VisibilityTimeout="5")
        for body in "abc":
            await broker.call(send("jobs", body))
        assert await bodies(broker.call(receive("jobs"))) == ["a"]
        polls = [
            asyncio.ensure_future(bodies(broker.call(receive("jobs", wait_s))))
            for wait_s in (20, 3)
        ]
        with pytest.raises(SqsError, match="OverLimit"):
            await broker.call(receive("jobs"))
        await asyncio.sleep(4)
        assert [poll.done() for poll in polls] == [False, True]
        assert await polls[1] == []
        assert await polls[0] == ["a"], "its visibility timeout ended"
        await broker.close()


@in_virtual_time
async def test_sends_of_one_moment_reach_a_poll_together() -> None:
    broker = broker_on(MemoryJournal())
    await create(broker)
    poll = asyncio.create_task(bodies(broker.call(receive("jobs", wait_s=20, limit=10))))
    await settle()
    await asyncio.gather(*(broker.call(send("jobs", body)) for body in "abc"))
    assert sorted(await poll) == ["a", "b", "c"]


@in_virtual_time
async def test_an_abandoned_poll_takes_no_message() -> None:
    broker = broker_on(MemoryJournal())
    await create(broker)
    poll = asyncio.create_task(broker.call(receive("jobs", wait_s=20)))
    await settle()
    poll.cancel()
    await settle()
    await broker.call(send("jobs", "hello"))
    assert await bodies(broker.call(receive("jobs"))) == ["hello"]


@in_virtual_time
async def test_deleting_a_queue_ends_its_polls() -> None:
    broker = broker_on(MemoryJournal())
    await create(broker)
    poll = asyncio.create_task(broker.call(receive("jobs", wait_s=20)))
    await settle()
    await broker.call(DeleteQueueRequest(queue_url="jobs"))
    with pytest.raises(SqsError, match="NonExistentQueue"):
        await poll


@in_virtual_time
async def test_closing_answers_polls_empty_commits_and_refuses_what_comes_after() -> None:
    journal, executor = MemoryJournal(), HeldExecutor()
    broker = broker_on(journal, executor)
    Asked(broker, CreateQueueRequest(queue_name="jobs"))
    await settle()
    executor.release()
    await settle()
    poll = Asked(broker, receive("jobs", wait_s=20))
    sent = Asked(broker, send("jobs", delay_seconds=1))
    closing = asyncio.create_task(broker.close())
    await settle()
    assert not closing.done()
    executor.release()
    await closing
    assert poll.answer == ReceiveMessageResult()
    assert isinstance(sent.answer, SendMessageResult)
    late = Asked(broker, send("jobs"))
    await settle()
    assert late.code == "ServiceUnavailable"
    assert len(bodies_in(journal)) == 1


@in_virtual_time
async def test_ten_thousand_waiting_polls_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = broker_on(MemoryJournal())
    await create(broker)
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    call_later = loop.call_later

    def counting(delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        timers.append(call_later(delay, callback, *args))
        return timers[-1]

    monkeypatch.setattr(loop, "call_later", counting)
    polls = [Asked(broker, receive("jobs", wait_s=20)) for _ in range(10_000)]
    await settle()
    assert len([timer for timer in timers if not timer.cancelled()]) == 1
    await asyncio.sleep(20.1)
    assert [poll.answer for poll in polls] == [ReceiveMessageResult()] * 10_000


SMALL = Window(messages=4, page_messages=3)


@in_virtual_time
async def test_what_is_beyond_the_window_is_received_without_a_wait() -> None:
    broker = broker_on(MemoryJournal(), window=SMALL)
    await create(broker)
    for index in range(30):
        await broker.call(send("jobs", f"m{index}"))
    received = []
    while more := await bodies(broker.call(receive("jobs", limit=10))):
        received += more
    assert received == [f"m{index}" for index in range(30)]


@in_virtual_time
async def test_a_backlog_is_there_after_a_restart() -> None:
    journal = MemoryJournal()
    broker = broker_on(journal, window=SMALL)
    await create(broker)
    for index in range(10):
        await broker.call(send("jobs", f"m{index}"))
    assert await bodies(broker.call(receive("jobs"))) == ["m0"]
    await broker.close()
    broker = broker_on(journal, window=SMALL)
    assert (broker.view_queues()[0].visible, broker.view_queues()[0].in_flight) == (9, 1)
    assert await bodies(broker.call(receive("jobs"))) == ["m1"]


@in_virtual_time
async def test_a_look_into_a_queue_shows_its_first_messages_soon_after_a_restart() -> None:
    journal = MemoryJournal()
    broker = broker_on(journal)
    await create(broker)
    for index in range(10):
        await broker.call(send("jobs", f"m{index}"))
    await broker.close()
    broker = broker_on(journal)
    await settle()
    shown = broker.peek("jobs", CALLER, 3)
    assert [message.body for message in shown] == ["m0", "m1", "m2"]


@in_virtual_time
async def test_a_page_that_cannot_be_read_is_tried_again_and_costs_no_message() -> None:
    journal = FailingJournal()
    broker = broker_on(journal, window=SMALL)
    await create(broker)
    for index in range(10):
        await broker.call(send("jobs", f"m{index}"))
    received = await bodies(broker.call(receive("jobs")))
    journal.failing_pages = 2
    while len(received) < 10:
        received += await bodies(broker.call(receive("jobs", wait_s=5)))
    assert sorted(received) == [f"m{index}" for index in range(10)]
    assert journal.failing_pages == 0


@in_virtual_time
async def test_a_page_that_can_never_be_read_keeps_nobody_from_other_queues() -> None:
    journal = FailingJournal()
    broker = broker_on(journal, window=SMALL)
    await create(broker)
    await create(broker, "others")
    for index in range(10):
        await broker.call(send("jobs", f"m{index}"))
    await broker.close()
    broker = broker_on(journal, window=SMALL)
    await settle()
    journal.failing_pages = 1_000
    assert await bodies(broker.call(receive("jobs", limit=10))) == ["m0", "m1", "m2"]
    polls = [asyncio.create_task(bodies(broker.call(receive("jobs", wait_s=20)))) for _ in "ab"]
    for index in range(10):
        await broker.call(send("others", f"m{index}"))
        assert await bodies(broker.call(receive("others"))) == [f"m{index}"]
        await asyncio.sleep(1)
    assert [await poll for poll in polls] == [[], []]
    assert 1_000 - journal.failing_pages in range(19, 23)
    await broker.close()


@in_virtual_time
async def test_a_page_is_read_after_the_sends_that_it_was_asked_behind() -> None:
    """Whatever is being committed when it is asked for."""
    journal = MemoryJournal()
    broker = broker_on(journal)
    await create(broker)
    await broker.call(send("jobs", "before the restart"))
    await broker.close()
    executor = HeldExecutor()
    broker = broker_on(journal, executor)
    answers: list[Answer] = []
    broker.submit(send("jobs", "in the commit under way"), CALLER, answers.append)
    await settle()
    broker.submit(send("jobs", "in the next commit"), CALLER, answers.append)
    broker.submit(receive("jobs", limit=10), CALLER, answers.append)
    while executor.held:
        executor.release()
        await settle()
    assert isinstance(answers[-1], ReceiveMessageResult)
    assert [message.body for message in answers[-1].messages or []] == [
        "before the restart",
        "in the commit under way",
        "in the next commit",
    ]
