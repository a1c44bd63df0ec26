"""Long polls that found nothing and wait for a message."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from forebay.broker.core.deadlines import Deadlines
from forebay.broker.core.engine import Caller, Wait
from forebay.protocol.actions import AnyRequest, AnyResult
from forebay.protocol.errors import SqsError

#: What a request is answered with.
Answer: TypeAlias = AnyResult | SqsError

#: Takes the answer of one request, once.
Reply: TypeAlias = Callable[[Answer], None]


class ParkedPoll:
    """A receive that waits. It ends with an answer, or without one when nobody wants it."""

    __slots__ = ("caller", "queue_number", "reply", "request", "ticket", "until_ms")

    def __init__(self, request: AnyRequest, caller: Caller, reply: Reply, wait: Wait) -> None:
        self.request = request
        self.caller = caller
        self.reply = reply
        self.queue_number = wait.queue_number
        #: Engine time at which the poll is answered empty.
        self.until_ms = wait.until_ms
        #: Its place in the order of arrival.
        self.ticket = 0


class ParkedPolls:
    """The waiting polls of all queues, each queue's in order of arrival.

    A poll costs nothing while it waits: no task and no timer, only its place here. Every operation
    takes the same short time however many polls wait.
    """

    def __init__(self) -> None:
        self._polls: dict[int, ParkedPoll] = {}
        # An OrderedDict, because the first key of a dict is behind all that were removed before it.
        self._by_queue: dict[int, OrderedDict[int, ParkedPoll]] = {}
        self._deadlines = Deadlines()
        self._next_ticket = 0

    def __len__(self) -> int:
        return len(self._polls)

    def park(self, poll: ParkedPoll) -> None:
        """Let a poll wait behind those that wait on its queue already."""
        self._next_ticket = poll.ticket = self._next_ticket + 1
        self._polls[poll.ticket] = poll
        self._by_queue.setdefault(poll.queue_number, OrderedDict())[poll.ticket] = poll
        self._deadlines.add(poll.ticket, poll.until_ms)

    def remove(self, poll: ParkedPoll) -> bool:
        """Take a poll out; False when it is not here any more."""
        if self._polls.pop(poll.ticket, None) is None:
            return False
        self._deadlines.discard(poll.ticket)
        waiting = self._by_queue[poll.queue_number]
        del waiting[poll.ticket]
        if not waiting:
            del self._by_queue[poll.queue_number]
        return True

    def first(self, queue_number: int) -> ParkedPoll | None:
        """The poll that has waited longest on a queue."""
        waiting = self._by_queue.get(queue_number)
        return next(iter(waiting.values())) if waiting else None

    def next_due(self) -> int:
        """When the first poll gives up, in engine time, or earlier; NEVER_MS when none waits."""
        return self._deadlines.first_ms

    def take_due(self, now_ms: int) -> list[ParkedPoll]:
        """Take out the polls that have waited long enough."""
        due = []
        while (ticket := self._deadlines.pop_due(now_ms)) is not None:
            due.append(self._polls[ticket])
            self.remove(due[-1])
        return due

    def take_all(self) -> list[ParkedPoll]:
        """Take out every poll, in order of arrival."""
        polls = list(self._polls.values())
        for poll in polls:
            self.remove(poll)
        return polls
