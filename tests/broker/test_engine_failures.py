"""What becomes of requests, polls and changes when the engine meets an error of our own.

The errors are raised where they do the most harm: after the engine has made its changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from forebay.broker.broker import Broker
from forebay.broker.core.changes import Page, PageRequest
from forebay.broker.core.engine import Engine
from forebay.protocol.actions import (
    CreateQueueRequest,
    DeleteMessageRequest,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageRequest,
    SendMessageResult,
)
from forebay.protocol.errors import SqsError
from tests.broker.journals import FailingJournal, HeldExecutor
from tests.broker.test_broker import (
    SMALL,
    Asked,
    all_bodies_in,
    bodies,
    bodies_in,
    broker_on,
    create,
    in_virtual_time,
    receive,
    send,
    settle,
)

#: Errors after which a bug is gone, so that a broker that runs into it without end is found out.
_ERRORS_MAX = 100


class Bug:
    """Makes a method of every engine raise, after it has done its work."""

    def __init__(
        self, patch: pytest.MonkeyPatch, method: str, raises: Callable[..., bool] = lambda *_: True
    ) -> None:
        self.is_there = True
        self.errors = 0
        whole = getattr(Engine, method)

        def broken(engine: Engine, *arguments: Any) -> Any:
            result = whole(engine, *arguments)
            if self.is_there and self.errors < _ERRORS_MAX and raises(*arguments):
                self.errors += 1
                raise ZeroDivisionError
            return result

        patch.setattr(Engine, method, broken)


def is_poison(request: object, *_: object) -> bool:
    return isinstance(request, SendMessageRequest) and request.message_body == "poison"


#: What a receive that is to meet the bug asks for.
POISON_TIMEOUT_S = 13


def is_poison_receive(request: object, *_: object) -> bool:
    return (
        isinstance(request, ReceiveMessageRequest)
        and request.visibility_timeout == POISON_TIMEOUT_S
    )


def received(asked: Asked) -> list[str]:
    assert isinstance(asked.answer, ReceiveMessageResult)
    return [message.body for message in asked.answer.messages or []]


@in_virtual_time
async def test_the_request_that_meets_it_gets_internal_failure_and_the_broker_serves_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Bug(monkeypatch, "apply", is_poison)
    journal = FailingJournal()
    broker = broker_on(journal)
    await create(broker)
    with pytest.raises(SqsError, match="InternalFailure"):
        await broker.call(send("jobs", "poison"))
    assert "SendMessageRequest failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    await settle()
    assert broker.available
    assert isinstance(await broker.call(send("jobs", "kept")), SendMessageResult)
    assert bodies_in(journal) == ["kept"]


@pytest.mark.parametrize("commit_fails", [False, True])
@in_virtual_time
async def test_a_commit_under_way_finishes_and_nothing_behind_it_is_kept(
    monkeypatch: pytest.MonkeyPatch, *, commit_fails: bool
) -> None:
    Bug(monkeypatch, "apply", is_poison)
    executor, journal = HeldExecutor(), FailingJournal()
    broker = broker_on(journal, executor)
    Asked(broker, CreateQueueRequest(queue_name="jobs"))
    await settle()
    executor.release()
    await settle()
    under_way = Asked(broker, send("jobs", "under way"))
    await settle()
    before = Asked(broker, send("jobs", "before"))
    poison = Asked(broker, send("jobs", "poison"))
    after = Asked(broker, send("jobs", "after"))
    assert poison.answers == []
    await settle()
    assert poison.code == "InternalFailure"
    assert [before.code, after.code] == ["ServiceUnavailable"] * 2
    assert under_way.answers == []
    assert len(executor.held) == 1
    journal.failing_commits = int(commit_fails)
    executor.release()
    await settle()
    assert len(executor.held) == 1
    executor.release()
    await settle()
    if commit_fails:
        assert under_way.code == "ServiceUnavailable"
    else:
        assert isinstance(under_way.answer, SendMessageResult)
    assert broker.available
    while executor.held:
        executor.release()
        await settle()
    assert bodies_in(journal) == ([] if commit_fails else ["under way"])


@in_virtual_time
async def test_a_poll_that_meets_it_is_taken_out_and_the_others_keep_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bug = Bug(monkeypatch, "apply", is_poison_receive)
    bug.is_there = False
    journal = FailingJournal()
    broker = broker_on(journal)
    await create(broker)
    await create(broker, "others")
    poison = Asked(
        broker,
        ReceiveMessageRequest(
            queue_url="jobs", wait_time_seconds=20, visibility_timeout=POISON_TIMEOUT_S
        ),
    )
    behind_it = Asked(broker, receive("jobs", wait_s=20))
    elsewhere = Asked(broker, receive("others", wait_s=20))
    bug.is_there = True
    refused = [Asked(broker, send("jobs", "refused")) for _ in range(2)]
    await settle()
    assert [sent.code for sent in refused] == ["ServiceUnavailable"] * 2
    assert poison.code == "InternalFailure"
    assert [behind_it.answers, elsewhere.answers] == [[], []]
    for queue in ("jobs", "others"):
        await broker.call(send(queue, f"for {queue}"))
    assert received(behind_it) == ["for jobs"]
    assert received(elsewhere) == ["for others"]


@in_virtual_time
async def test_polls_that_meet_it_after_a_rebuild_are_taken_out_and_the_order_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bug = Bug(monkeypatch, "apply", is_poison_receive)
    bug.is_there = False
    journal = FailingJournal()
    broker = broker_on(journal)
    await create(broker)
    polls = [
        Asked(
            broker,
            ReceiveMessageRequest(
                queue_url="jobs",
                wait_time_seconds=20,
                visibility_timeout=POISON_TIMEOUT_S if number % 2 else None,
            ),
        )
        for number in range(6)
    ]
    bug.is_there = True
    journal.failing_commits = 1
    with pytest.raises(SqsError, match="ServiceUnavailable"):
        await create(broker, "others")
    await asyncio.sleep(0.1)
    assert [poll.code for poll in polls[1::2]] == ["InternalFailure"] * 3
    for number, poll in enumerate(polls[::2]):
        assert poll.answers == []
        await broker.call(send("jobs", str(number)))
        assert received(poll) == [str(number)]


@in_virtual_time
async def test_what_fails_with_time_is_tried_again_at_a_pace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = FailingJournal()
    broker = broker_on(journal)
    await create(broker)
    poll = Asked(broker, receive("jobs", wait_s=20))
    await asyncio.sleep(2)
    bug = Bug(monkeypatch, "tick")
    loads = journal.loads
    for _ in range(2):
        with pytest.raises(SqsError, match="ServiceUnavailable"):
            await broker.call(send("jobs", "refused"))
        await asyncio.sleep(5)
    assert 9 <= journal.loads - loads <= 12
    bug.is_there = False
    await asyncio.sleep(1)
    assert poll.answers == []
    await broker.call(send("jobs", "kept"))
    assert received(poll) == ["kept"]


@in_virtual_time
async def test_what_fails_once_costs_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = broker_on(FailingJournal())
    await create(broker)
    await asyncio.sleep(2)
    ticks = count()
    Bug(monkeypatch, "tick", lambda *_: next(ticks) == 0)
    with pytest.raises(SqsError, match="ServiceUnavailable"):
        await broker.call(send("jobs"))
    assert isinstance(await broker.call(send("jobs")), SendMessageResult)


@in_virtual_time
async def test_a_page_that_cannot_be_taken_in_costs_no_message_and_no_hot_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = FailingJournal()
    broker = broker_on(journal, window=SMALL)
    await create(broker)
    for index in range(10):
        await broker.call(send("jobs", f"m{index}"))
    await broker.close()
    broker = broker_on(journal, window=SMALL)
    bug = Bug(monkeypatch, "page_in")
    poll = Asked(broker, receive("jobs", wait_s=20, limit=10))
    loads = journal.loads
    await asyncio.sleep(5)
    assert 4 <= journal.loads - loads <= 6
    assert poll.answers == []
    bug.is_there = False
    await asyncio.sleep(1)
    found = received(poll)
    while more := await bodies(broker.call(receive("jobs", limit=10))):
        found += more
    assert sorted(found) == [f"m{index}" for index in range(10)]


@in_virtual_time
async def test_a_page_for_an_engine_that_failed_is_not_given_to_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal, executor = FailingJournal(), HeldExecutor()
    broker = broker_on(journal, window=SMALL)
    await create(broker)
    for index in range(10):
        await broker.call(send("jobs", f"m{index}"))
    await broker.close()
    Bug(monkeypatch, "apply", is_poison)
    pages: list[PageRequest] = []
    page_in = Engine.page_in

    def noting(engine: Engine, request: PageRequest, page: Page, now_ms: int) -> None:
        pages.append(request)
        page_in(engine, request, page, now_ms)

    monkeypatch.setattr(Engine, "page_in", noting)
    broker = broker_on(journal, executor, window=SMALL)
    Asked(broker, receive("jobs", wait_s=20))
    await settle()
    poison = Asked(broker, send("jobs", "poison"))
    await settle()
    assert poison.code == "InternalFailure"
    executor.release()
    await settle()
    assert pages == []
    while executor.held:
        executor.release()
        await settle()
    assert pages != []
    assert broker.available


@in_virtual_time
async def test_closing_does_not_wait_for_an_engine_that_keeps_failing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal, executor = FailingJournal(), HeldExecutor()
    broker = broker_on(journal, executor)
    created = Asked(broker, CreateQueueRequest(queue_name="jobs"))
    await settle()
    Bug(monkeypatch, "tick")
    sent = Asked(broker, send("jobs"))
    await settle()
    closing = asyncio.create_task(broker.close())
    await settle()
    assert not closing.done()
    executor.release()
    await closing
    await asyncio.sleep(5)
    assert not isinstance(created.answer, SqsError)
    assert sent.code == "ServiceUnavailable"
    assert executor.held == []


async def use(broker: Broker, number: int, sent: set[str], deleted: set[str]) -> None:
    """Send a message and receive and delete one, noting what was acknowledged."""
    body = f"m{number}"
    with suppress(SqsError):
        await broker.call(send("jobs", body, delay_seconds=number % 3))
        sent.add(body)
        result = await broker.call(receive("jobs", wait_s=1))
        assert isinstance(result, ReceiveMessageResult)
        for message in result.messages or []:
            await broker.call(
                DeleteMessageRequest(queue_url="jobs", receipt_handle=message.receipt_handle)
            )
            deleted.add(message.body)


@pytest.mark.parametrize("method", ["apply", "tick", "page_in"])
@pytest.mark.parametrize("nth", [1, 2, 3, 5, 8, 13, 21, 34])
@in_virtual_time
async def test_whenever_it_happens_the_journal_holds_what_was_acknowledged_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, method: str, nth: int
) -> None:
    journal = FailingJournal()
    broker = broker_on(journal, window=SMALL)
    await create(broker)
    calls = count()
    bug = Bug(monkeypatch, method, lambda *_: next(calls) % nth == nth - 1)
    sent: set[str] = set()
    deleted: set[str] = set()
    for start in range(0, 40, 4):
        users = (use(broker, start + n, sent, deleted) for n in range(4))
        await asyncio.gather(*users)
    bug.is_there = False
    await broker.close()
    assert all_bodies_in(journal) == sorted(sent - deleted)
