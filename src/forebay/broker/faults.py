"""Faults between a queue service and its clients: refusals, duplicates, disorder, lost answers.

A fault never breaks a promise of SQS. What is refused is not carried out; what is carried out stays
durable, even when its answer is lost; only standard queues deliver twice or out of order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec

from forebay.broker.core.engine import Caller
from forebay.broker.duplicates import Duplicates, Kept
from forebay.broker.polls import Answer, ParkedPoll, Reply
from forebay.broker.purge_lag import PurgeLag
from forebay.clock import Clock
from forebay.errors import SettingsError
from forebay.fault_injection import FaultPlane, FaultRates
from forebay.protocol.actions import (
    ACTION_OF,
    AnyRequest,
    ChangeMessageVisibilityRequest,
    DeleteMessageRequest,
    DeleteQueueRequest,
    Message,
    PurgeQueueRequest,
    QueueRequest,
    ReceiveMessageResult,
)
from forebay.protocol.errors import REQUEST_THROTTLED, SqsError
from forebay.protocol.identifiers import FIFO_SUFFIX, QueueKey, queue_key_from_url

#: What carries requests out, as `Broker.submit` does.
Submit: TypeAlias = Callable[[AnyRequest, Caller, Reply], ParkedPoll | None]


def read_rates(path: Path) -> FaultRates:
    """The rates in a TOML file. Raises SettingsError, which names the file and the field."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=FaultRates)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise SettingsError(f"The fault rates in {path} could not be read: {error}.") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


class Fate(StrEnum):
    """How a call ended for its client."""

    ANSWERED = "answered"
    #: It was carried out, and the answer was lost.
    LOST = "lost"
    #: It was refused by a fault, and not carried out.
    THROTTLED = "throttled"
    #: A partition took it: before it was carried out, when it has no answer, or after.
    CUT = "cut"


class Deed(StrEnum):
    """What was done to an answer or a message."""

    DELAYED = "delayed"
    REORDERED = "reordered"
    #: A message was delivered once more because a fault had it so.
    DOUBLED = "doubled"
    #: A message that was sent soon after a purge will never be delivered.
    PURGED = "purged"
    #: A partition began.
    PARTED = "parted"


class Witness(Protocol):
    """Is told what happened to calls. A request that names no queue has None for it."""

    def call(
        self, request: AnyRequest, queue: QueueKey | None, fate: Fate, answer: Answer | None
    ) -> None:
        """A call ended."""
        ...

    def deed(self, deed: Deed, queue: QueueKey | None, message_id: str | None = None) -> None:
        """Something was done, to this message if it was to one."""
        ...


class Unwitnessed:
    """Nobody wants to know."""

    def call(
        self, request: AnyRequest, queue: QueueKey | None, fate: Fate, answer: Answer | None
    ) -> None:
        pass

    def deed(self, deed: Deed, queue: QueueKey | None, message_id: str | None = None) -> None:
        pass


class _Call:
    """A request on its way, and the two ways in which it may end."""

    __slots__ = ("answer_is_lost", "caller", "cut", "lose", "queue", "reply", "request")

    def __init__(
        self, request: AnyRequest, caller: Caller, reply: Reply, lose: Callable[[], None]
    ) -> None:
        self.request = request
        self.caller = caller
        self.reply = reply
        self.lose = lose
        #: Whether a partition has taken it.
        self.cut = False
        url = getattr(request, "queue_url", "")
        self.queue = queue_key_from_url(url, caller.region, caller.account_id) if url else None

    @property
    def fifo(self) -> bool:
        return self.queue is not None and self.queue.name.endswith(FIFO_SUFFIX)


class FaultySubmit:
    """Hands requests to what carries them out, and gets in the way as a fault plane says.

    `clock` tells the time of the queues: latency, limits and partitions are in its seconds. A
    message that is to be delivered once more is made visible at once, and stays when its receiver
    deletes it before that: the second delivery is certain if anybody goes on receiving.
    """

    def __init__(
        self, submit: Submit, plane: FaultPlane, clock: Clock, witness: Witness | None = None
    ) -> None:
        self._submit = submit
        self._plane = plane
        self._clock = clock
        self._witness = witness or Unwitnessed()
        self._loop = asyncio.get_running_loop()
        self._began_ms = clock.monotonic_ms()
        self._duplicates: dict[QueueKey, Duplicates] = {}
        self._purges: dict[QueueKey, PurgeLag] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: The calls that the next partition will cut.
        self._open: set[_Call] = set()
        self._closed = False
        if plane.partition(0) is not None:
            self._begin(self._make_partitions())

    def close(self) -> None:
        """Let go of the answers that are held back, and begin no partition any more."""
        self._closed = True
        for task in self._tasks:
            task.cancel()

    def submit(
        self, request: AnyRequest, caller: Caller, reply: Reply, lose: Callable[[], None]
    ) -> ParkedPoll | None:
        """As `Broker.submit`. `lose` is called instead of `reply` when the answer is lost."""
        call = _Call(request, caller, reply, lose)
        now_ms = self._clock.monotonic_ms()
        partition = self._plane.partition(now_ms - self._began_ms)
        if partition is not None:
            if partition.begins_ms <= now_ms - self._began_ms:
                self._witness.call(request, call.queue, Fate.CUT, None)
                self._loop.call_soon(lose)
                return None
            self._open.add(call)
        action = ACTION_OF[type(request)].name
        named = getattr(request, "queue_url", "")
        if self._plane.throttles(action, named, fifo=call.fifo, now_ms=now_ms):
            self._loop.call_soon(self._end, call, Fate.THROTTLED, SqsError(REQUEST_THROTTLED))
            return None
        duplicates = None if call.queue is None else self._duplicates.get(call.queue)
        kept = Kept(request) if duplicates is None else duplicates.keep(request)
        if kept.rest is None:
            self._loop.call_soon(self._deliver, call, kept.answer(None))
            return None
        return self._submit(
            kept.rest, caller, lambda answer: self._deliver(call, kept.answer(answer))
        )

    def _deliver(self, call: _Call, answer: Answer) -> None:
        """Give an answer to whom it is for, or see to it that it gets lost."""
        if call.queue is not None:
            self._purge(call, call.queue, answer)
        if call.cut:
            self._end(call, Fate.CUT, answer)
            return
        if self._plane.loses_reply():
            self._end(call, Fate.LOST, answer)
            return
        if call.queue is not None and not call.fifo and isinstance(answer, ReceiveMessageResult):
            self._disturb(call, call.queue, answer.messages or [])
        latency_s = 0.0 if self._closed else self._plane.latency_s()
        if latency_s:
            self._witness.deed(Deed.DELAYED, call.queue)
            self._begin(self._deliver_late(call, answer, latency_s))
        else:
            self._end(call, Fate.ANSWERED, answer)

    async def _deliver_late(self, call: _Call, answer: Answer, latency_s: float) -> None:
        try:
            await self._clock.sleep(latency_s)
        finally:
            self._end(call, Fate.ANSWERED, answer)

    def _end(self, call: _Call, fate: Fate, answer: Answer) -> None:
        self._open.discard(call)
        self._witness.call(call.request, call.queue, Fate.CUT if call.cut else fate, answer)
        if call.cut:
            return
        if fate is Fate.LOST:
            call.lose()
        else:
            call.reply(answer)

    def _disturb(self, call: _Call, queue: QueueKey, messages: list[Message]) -> None:
        """Have some messages delivered twice, and change the order."""
        for message in messages:
            duplicates = self._duplicates.get(queue)
            if duplicates is not None and duplicates.came_again(message.message_id):
                self._witness.deed(Deed.DOUBLED, queue, message.message_id)
            elif self._plane.duplicates():
                self._double(call, queue, message)
        if self._plane.reorder(messages):
            self._witness.deed(Deed.REORDERED, queue)

    def _double(self, call: _Call, queue: QueueKey, message: Message) -> None:
        """Make a message visible again, for another delivery."""
        duplicates = self._duplicates.setdefault(queue, Duplicates())
        duplicates.expect(message)

        def made_visible(answer: Answer) -> None:
            if isinstance(answer, SqsError) and duplicates.give_up(message.message_id):
                self._delete(call, message)

        again = ChangeMessageVisibilityRequest(
            queue_url=_queue_url(call),
            receipt_handle=message.receipt_handle,
            visibility_timeout=0,
        )
        self._submit(again, call.caller, made_visible)

    def _purge(self, call: _Call, queue: QueueKey, answer: Answer) -> None:
        """Have a purge take some of what is sent soon after it."""
        if isinstance(answer, SqsError):
            return
        now_ms = self._clock.monotonic_ms()
        if isinstance(call.request, PurgeQueueRequest | DeleteQueueRequest):
            self._duplicates.pop(queue, None)
            self._purges.pop(queue, None)
        if isinstance(call.request, PurgeQueueRequest):
            self._purges[queue] = PurgeLag(now_ms)
        purge = self._purges.get(queue)
        if purge is None:
            return
        for message_id in purge.may_take(answer, now_ms):
            if self._plane.purge_takes():
                purge.doom(message_id)
                self._witness.deed(Deed.PURGED, queue, message_id)
        if isinstance(answer, ReceiveMessageResult):
            for message in purge.take_out(answer):
                self._delete(call, message)

    def _delete(self, call: _Call, message: Message) -> None:
        deletion = DeleteMessageRequest(
            queue_url=_queue_url(call), receipt_handle=message.receipt_handle
        )
        self._submit(deletion, call.caller, _unheard)

    async def _make_partitions(self) -> None:
        """Cut the calls that are under way when a partition begins."""
        while True:
            elapsed_ms = self._clock.monotonic_ms() - self._began_ms
            partition = self._plane.partition(elapsed_ms)
            if partition is None:
                return
            if elapsed_ms < partition.begins_ms:
                await self._clock.sleep((partition.begins_ms - elapsed_ms) / 1000)
                continue
            self._witness.deed(Deed.PARTED, None)
            for call in self._open:
                call.cut = True
                call.lose()
            self._open.clear()
            await self._clock.sleep((partition.ends_ms - elapsed_ms) / 1000)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _queue_url(call: _Call) -> str:
    assert isinstance(call.request, QueueRequest)
    return call.request.queue_url


def _unheard(_: Answer) -> None:
    """Nobody waits for the answer to a fault."""
