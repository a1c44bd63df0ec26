"""The broker: the engine, the journal and the clock joined, whatever carries the requests."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future

from forebay.broker.access import ProtectedQueue
from forebay.broker.auto_create import create_missing
from forebay.broker.commit import GroupCommit
from forebay.broker.core.changes import Page, PageRequest, Snapshot
from forebay.broker.core.deadlines import NEVER_MS
from forebay.broker.core.engine import Caller, Engine, MessageView, QueueView, Wait
from forebay.broker.core.message import State
from forebay.broker.core.window import Window
from forebay.broker.journal.base import Durability, Journal, Room
from forebay.broker.memory_limit import MemoryLimit
from forebay.broker.policy import parse_policy
from forebay.broker.polls import Answer, ParkedPoll, ParkedPolls, Reply
from forebay.clock import Clock, SystemClock
from forebay.errors import DiskError
from forebay.protocol.actions import AnyRequest, AnyResult, EmptyResult, ReceiveMessageResult
from forebay.protocol.errors import (
    INTERNAL_FAILURE,
    QUEUE_DOES_NOT_EXIST,
    SERVICE_UNAVAILABLE,
    SqsError,
)
from forebay.protocol.identifiers import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, QueueKey
from forebay.protocol.limits import RECREATE_INTERVAL_MS

#: Where queue URLs point when a caller in this process does not say, scheme, host and port.
DEFAULT_ENDPOINT_URL = "http://127.0.0.1:9324"

#: Time between two looks at the room that the journal has, in seconds.
_LOOK_S = 1.0

#: How long a journal that cannot be read is left alone before it is tried again, and the least time
#: from one engine to the next when engines fail by themselves, in seconds.
_RETRY_S = 1.0

_log = logging.getLogger(__name__)


class Broker:
    """An SQS without a transport. Made, used and closed on one event loop.

    Every answer leaves after the changes that it tells of are durable at the journal's level. When
    a commit fails, the answers that waited for it and all that were applied since are
    ServiceUnavailable, the engine is rebuilt from the journal, and polls keep waiting; the broker
    serves again as soon as the journal does. An error of our own in the engine, which may leave it
    half changed, is handled alike: the request that met it is answered InternalFailure, and nothing
    that was not being committed already ever is.

    The constructor reads the journal and raises JournalError when it cannot. `executor` runs
    whatever waits for a disk. Engine time is wall time at the start plus the monotonic clock since,
    and never falls behind what the journal has seen, so that a step of the machine's clock neither
    loses nor releases a message; a step forward between two runs alone counts as time that the
    broker was away. With a `time_scale` of 60 it runs a minute in a second, so that
    tests of long settings are short. `memory_limit_bytes` bounds what messages take of memory; 0
    sets no bound. `region` is that of requests that name none.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        executor: Executor,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        recreate_interval_ms: int = RECREATE_INTERVAL_MS,
        time_scale: float = 1.0,
        region: str = DEFAULT_REGION,
        endpoint_url: str = DEFAULT_ENDPOINT_URL,
        window: Window = Window(),  # noqa: B008 - frozen
        memory_limit_bytes: int = 0,
        auto_create: bool = False,
    ) -> None:
        self._journal = journal
        self._window = window
        self._executor = executor
        self._clock = clock or SystemClock()
        self._entropy = entropy
        self._recreate_interval_ms = recreate_interval_ms
        #: Whether a queue that a request names and that is missing is created.
        self.auto_create = auto_create
        self._caller = Caller(DEFAULT_ACCOUNT_ID, region, endpoint_url)
        self._loop = asyncio.get_running_loop()
        snapshot = journal.load()
        start_ms = max(self._clock.wall_ms(), snapshot.clock_ms)
        self._time_scale = time_scale
        self._origin_ms = start_ms - self._scaled_ms()
        #: None while it is being rebuilt from the journal.
        self._engine: Engine | None = self._engine_from(snapshot)
        #: Engine time of the turn of the event loop that is being gathered.
        self._turn_ms = start_ms
        self._engine_made_s = self._loop.time()
        #: Loop time before which an engine that failed is not rebuilt.
        self._rebuild_from_s = 0.0
        self._rebuilding = False
        self._polls = ParkedPolls()
        self._commits = GroupCommit(
            journal=journal,
            paged=self._page_in,
            executor=executor,
            loop=self._loop,
            committed=self._committed,
            failed=self._commit_failed,
        )
        self._memory = MemoryLimit(
            memory_limit_bytes, drains_by_receiving=journal.durability is Durability.MEMORY
        )
        #: Engine time of the next look at the memory.
        self._memory_due_ms = start_ms
        self._turn_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_ms = 0
        self._idle: asyncio.Future[None] | None = None
        self._closed = False
        self._look_timer: asyncio.TimerHandle | None = None
        if journal.durability is not Durability.MEMORY:
            self._look_timer = self._loop.call_later(_LOOK_S, self._look)
        self._turn_now()

    @property
    def durability(self) -> Durability:
        """What survives of a request that was answered."""
        return self._journal.durability

    @property
    def region(self) -> str:
        """The region of requests that name none."""
        return self._caller.region

    @property
    def available(self) -> bool:
        """Whether requests are carried out now; False while the engine is being rebuilt."""
        return self._engine is not None

    @property
    def alarms(self) -> dict[str, str | None]:
        """Why messages are refused, by what is short; None for what is not."""
        return {"disk": self._journal.shortage, "memory": self._memory.shortage}

    @property
    def memory(self) -> MemoryLimit:
        """How much memory messages may take, and how much they do."""
        return self._memory

    @property
    def room(self) -> Room | None:
        """The room that the journal has; None when nothing bounds it."""
        return self._journal.room

    def submit(self, request: AnyRequest, caller: Caller, reply: Reply) -> ParkedPoll | None:
        """Carry out a request and call `reply` once, later, with its result or its SqsError.

        Answers the poll when the request is one that waits; give it to `abandon` when nobody wants
        its answer any more.
        """
        if not self._turn_scheduled:
            self._read_clocks()
            self._schedule_turn()
        if self._engine is None:
            self._commits.gathering.append((reply, SqsError(SERVICE_UNAVAILABLE)))
            return None
        wait = self._apply(self._engine, request, caller, reply)
        if wait is None:
            return None
        poll = ParkedPoll(request, caller, reply, wait)
        self._polls.park(poll)
        return poll

    def abandon(self, poll: ParkedPoll) -> bool:
        """Let a poll take no message any more; False when it has its answer already."""
        return self._polls.remove(poll)

    def resume(self, poll: ParkedPoll) -> ParkedPoll | None:
        """Let an abandoned poll take a message again, and wait for as long as it would have.

        Answers the poll when it waits.
        """
        again = self.submit(poll.request, poll.caller, poll.reply)
        if again is not None:
            self._polls.remove(again)
            again.until_ms = poll.until_ms
            self._polls.park(again)
        return again

    async def call(self, request: AnyRequest, caller: Caller | None = None) -> AnyResult:
        """Carry out a request of this process. Raises SqsError when it is refused.

        A poll whose task is cancelled takes no message.
        """
        answer: asyncio.Future[Answer] = self._loop.create_future()

        def reply(result: Answer) -> None:
            if not answer.done():
                answer.set_result(result)

        poll = self.submit(request, caller or self._caller, reply)
        try:
            result = await answer
        finally:
            if poll is not None:
                self.abandon(poll)
        if isinstance(result, SqsError):
            raise result
        return result

    def reset(self, account_id: str | None, reply: Reply) -> None:
        """Delete all queues of an account, or of all, and forget when others were deleted.

        Calls `reply` later, when that is durable or failed. Raises SqsError (ServiceUnavailable).
        """
        engine = self._available_engine()
        self._read_clocks()
        self._schedule_turn()
        engine.reset(account_id, self._turn_ms)
        self._commits.gathering.append((reply, EmptyResult()))

    def view_queues(self) -> list[QueueView]:
        """Every queue as it is now. Raises SqsError (ServiceUnavailable)."""
        return self._available_engine().view_queues(self._now_ms())

    def peek(self, queue_url: str, caller: Caller, limit: int) -> list[MessageView]:
        """The oldest messages of a queue, none of them received.

        Raises SqsError: ServiceUnavailable, QueueDoesNotExist.
        """
        return self._available_engine().peek(queue_url, caller, self._now_ms(), limit)

    def look(
        self, queue_url: str, caller: Caller, states: frozenset[State]
    ) -> ReceiveMessageResult:
        """The oldest messages of a queue in some states, none of them received.

        Raises SqsError: ServiceUnavailable, QueueDoesNotExist.
        """
        messages = self._available_engine().look(queue_url, caller, self._now_ms(), states)
        return ReceiveMessageResult(messages=messages or None)

    def find_queue(self, key: QueueKey) -> ProtectedQueue | None:
        """What decides who may use a queue. Raises SqsError (ServiceUnavailable)."""
        found = self._available_engine().find_policy(key)
        return None if found is None else ProtectedQueue(*found)

    def _available_engine(self) -> Engine:
        if self._engine is None:
            raise SqsError(SERVICE_UNAVAILABLE)
        return self._engine

    async def close(self) -> None:
        """Answer the waiting polls empty, let the last group go, and refuse whatever comes after.

        The journal stays open; whoever opened it closes it.
        """
        for poll in self._polls.take_all():
            self._commits.gathering.append((poll.reply, ReceiveMessageResult()))
        if not self._turn_scheduled:
            self._turn_now()
        while not self._commits.idle or self._rebuilding:
            self._idle = self._loop.create_future()
            await self._idle
        self._closed = True
        self._engine = None
        for timer in (self._timer, self._look_timer):
            if timer is not None:
                timer.cancel()

    def _look(self) -> None:
        """Have the journal look at the room it has, and look again later."""
        self._executor.submit(self._journal.look).add_done_callback(self._looked_in_thread)

    def _looked_in_thread(self, looked: Future[None]) -> None:
        self._loop.call_soon_threadsafe(self._looked, looked)

    def _looked(self, looked: Future[None]) -> None:
        if self._closed:
            return
        if (error := looked.exception()) is not None:
            _log.error("The journal could not be looked at", exc_info=error)
        self._turn_now()
        self._look_timer = self._loop.call_later(_LOOK_S, self._look)

    def _look_at_memory(self, engine: Engine, now_ms: int) -> None:
        again_ms = self._memory.look(engine.memory_use(now_ms), self._journal.memory_bytes)
        self._memory_due_ms = now_ms + again_ms
        engine.redelivers_alone = self._memory.redelivers_alone

    def _read_clocks(self) -> None:
        """Have all requests of this turn carried out at the time that it is now."""
        self._turn_ms = self._now_ms()
        if self._engine is not None:
            self._engine.wall_offset_ms = self._clock.wall_ms() - self._turn_ms

    def _now_ms(self) -> int:
        return self._origin_ms + self._scaled_ms()

    def _scaled_ms(self) -> int:
        if self._time_scale == 1:
            return self._clock.monotonic_ms()
        return int(self._clock.monotonic_ms() * self._time_scale)

    def _apply(
        self,
        engine: Engine,
        request: AnyRequest,
        caller: Caller,
        reply: Reply,
        *,
        has_waited: bool = False,
    ) -> Wait | None:
        """Carry out a request and see to its answer, unless it has to wait for one.

        A poll that has waited does not bring a queue back that was deleted meanwhile.
        """
        answer: Answer | Wait
        try:
            answer = engine.apply(request, caller, self._turn_ms)
        except SqsError as error:
            answer = error
            if (
                self.auto_create
                and not has_waited
                and error.fault is QUEUE_DOES_NOT_EXIST
                and create_missing(engine, request, caller, self._turn_ms)
            ):
                return self._apply(engine, request, caller, reply)
        except Exception as error:
            self._go_back(f"{type(request).__name__} failed", error)
            # Not held back with the others, because it tells of no change.
            self._loop.call_soon(reply, SqsError(INTERNAL_FAILURE))
            return None
        if isinstance(answer, Wait):
            return answer
        self._commits.gathering.append((reply, answer))
        return None

    def _schedule_turn(self) -> None:
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._loop.call_soon(self._turn_when_gathered)

    def _turn_when_gathered(self) -> None:
        if self._commits.are_more_coming():
            self._read_clocks()
            self._loop.call_soon(self._turn_when_gathered)
        else:
            self._turn_scheduled = False
            self._turn()

    def _turn_now(self) -> None:
        self._read_clocks()
        self._turn()

    def _turn(self) -> None:
        """Do all that requests and time have made due."""
        now_ms = self._turn_ms
        if self._engine is not None:
            if now_ms >= self._memory_due_ms:
                self._look_at_memory(self._engine, now_ms)
            self._engine.shortage = self._journal.shortage or self._memory.shortage
            self._advance(self._engine, now_ms)
        if now_ms >= self._polls.next_due():
            for poll in self._polls.take_due(now_ms):
                self._commits.gathering.append((poll.reply, ReceiveMessageResult()))
        if self._engine is not None:
            if not self._commits.in_flight:
                self._commits.start(self._engine.take_changes(), self._engine.take_pages())
        elif not self._rebuilding:
            self._commits.refuse(SERVICE_UNAVAILABLE)
        self._set_timer(now_ms)
        if self._idle is not None and self._commits.idle and not self._idle.done():
            self._idle.set_result(None)

    def _advance(self, engine: Engine, now_ms: int) -> None:
        try:
            engine.tick(now_ms)
        except Exception as error:
            self._go_back("What fell due could not be done", error, _RETRY_S)
        else:
            self._wake_polls(engine)

    def _wake_polls(self, engine: Engine) -> None:
        """Try the polls of the queues that became readable again, longest waiting first."""
        while numbers := engine.take_readable():
            if not self._polls:
                return
            for number in numbers:
                while (poll := self._polls.first(number)) is not None:
                    wait = self._apply(
                        engine, poll.request, poll.caller, poll.reply, has_waited=True
                    )
                    if wait is not None:
                        break
                    self._polls.remove(poll)
                    if self._engine is not engine:
                        return

    def _page_in(self, request: PageRequest, page: Page | Exception) -> None:
        if self._engine is None:
            return
        if isinstance(page, Exception):
            if not isinstance(page, DiskError):
                _log.error("Messages could not be read; trying again soon", exc_info=page)
            self._loop.call_later(_RETRY_S, self._ask_again, self._engine, request)
            return
        try:
            self._engine.page_in(request, page, self._now_ms())
        except Exception as error:
            self._go_back("A page could not be taken in", error, _RETRY_S)

    def _ask_again(self, engine: Engine, request: PageRequest) -> None:
        engine.ask_again(request)
        self._turn_now()

    def _set_timer(self, now_ms: int) -> None:
        due_ms = self._polls.next_due()
        if self._engine is not None:
            due_ms = min(due_ms, self._engine.next_due())
        if self._memory.shortage is not None:
            # A look that ends an alarm must not wait for a request.
            due_ms = min(due_ms, self._memory_due_ms)
        if due_ms == NEVER_MS:
            return
        if self._timer is not None:
            if self._timer_due_ms <= due_ms:
                return
            self._timer.cancel()
        self._timer_due_ms = due_ms
        delay_s = max(due_ms - now_ms, 1) / 1000 / self._time_scale
        self._timer = self._loop.call_later(delay_s, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._turn_now()

    def _commit_failed(self, error: BaseException) -> None:
        self._go_back("A commit failed", error)

    def _go_back(self, failure: str, error: BaseException, pace_s: float = 0.0) -> None:
        """Have what the journal holds take the place of an engine that went wrong.

        `pace_s` is the least time from one engine to the next, for what fails without a request.
        """
        if not isinstance(error, DiskError):
            _log.error("%s; going back to what the journal holds", failure, exc_info=error)
        self._engine = None
        self._rebuild_from_s = self._engine_made_s + pace_s
        # The journal does one thing at a time; after a commit that is under way comes `_committed`.
        if not self._commits.in_flight:
            self._rebuild_in_time()

    def _committed(self) -> None:
        if self._engine is None:
            self._rebuild_in_time()
        self._schedule_turn()

    def _rebuild_in_time(self) -> None:
        wait_s = self._rebuild_from_s - self._loop.time()
        if wait_s > 0:
            self._loop.call_later(wait_s, self._rebuild)
        else:
            self._rebuild()

    def _rebuild(self) -> None:
        if not self._closed:
            self._rebuilding = True
            self._executor.submit(self._load_engine).add_done_callback(self._rebuilt_in_thread)

    def _load_engine(self) -> Engine:
        return self._engine_from(self._journal.load())

    def _engine_from(self, snapshot: Snapshot) -> Engine:
        return Engine(
            entropy=self._entropy,
            recreate_interval_ms=self._recreate_interval_ms,
            window=self._window,
            policy_problems=lambda text: parse_policy(text).problems,
            snapshot=snapshot,
        )

    def _rebuilt_in_thread(self, future: Future[Engine]) -> None:
        self._loop.call_soon_threadsafe(self._rebuilt, future)

    def _rebuilt(self, future: Future[Engine]) -> None:
        self._rebuilding = False
        error = future.exception()
        if error is not None:
            if not isinstance(error, DiskError):
                _log.error("The journal could not be read; trying again soon", exc_info=error)
            self._loop.call_later(_RETRY_S, self._rebuild)
        self._commits.refuse(SERVICE_UNAVAILABLE)
        if error is None:
            self._engine = future.result()
            self._engine_made_s = self._loop.time()
            self._read_clocks()
            self._park_again()
        self._turn_now()

    def _park_again(self) -> None:
        """Have the polls wait on a rebuilt engine, which may not know their queues any more."""
        for poll in self._polls.take_all():
            if self._engine is not None:
                wait = self._apply(
                    self._engine, poll.request, poll.caller, poll.reply, has_waited=True
                )
                if wait is None:
                    continue
                poll.queue_number = wait.queue_number
            self._polls.park(poll)
