"""Handlers in tests: run as a worker runs them, without a broker, a network or waiting."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Container, Coroutine, Mapping, Sequence
from concurrent.futures import Executor
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct
from msgspec.structs import replace

from forebay.client.plain import MessageAttribute, send_request
from forebay.clock import ManualClock
from forebay.errors import SettingsError
from forebay.messages.envelope import encode_envelope, envelope_timestamp
from forebay.number_settings import require_number
from forebay.protocol.actions import (
    Message,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageResult,
)
from forebay.protocol.identifiers import FIFO_SUFFIX
from forebay.protocol.limits import BATCH_ENTRIES_MAX
from forebay.testing.ended import Drained, Ended, NotDrained
from forebay.testing.enqueued import Enqueued, enqueued, is_subset, not_enqueued, plain
from forebay.testing.memory import MemorySqsClient, dead_letter_queue
from forebay.worker.context import Context
from forebay.worker.execution import Execution
from forebay.worker.lease import Lease
from forebay.worker.loop_watch import LoopWatch
from forebay.worker.middleware import Middleware
from forebay.worker.outcomes import Done, Outcome, Reject, StillRunning
from forebay.worker.queue import Queue
from forebay.worker.received import Received
from forebay.worker.route import Route
from forebay.worker.routing import Router
from forebay.worker.settings import WorkerSettings
from forebay.worker.settlement import Group
from forebay.worker.source import Source

if TYPE_CHECKING:
    from forebay.app import App

#: The queue of messages for which the test names none.
_QUEUE = "queue"

#: How far the clock goes in one step while SQS is told how messages end, in milliseconds.
_STEP_MS = 10


class _Job(Struct):
    """One call of a handler, or a message that nobody takes."""

    route: Route | None
    leases: list[Lease]
    received: list[Received[Any]]
    rejection: Reject | None = None

    def split(self, groups: Container[str | None]) -> list[Lease]:
        """Take out the messages of these groups."""
        out = [lease for lease in self.leases if lease.group_id in groups]
        self.leases = [lease for lease in self.leases if lease.group_id not in groups]
        self.received = [each for each in self.received if each.lease.group_id not in groups]
        return out


class WorkerHarness:
    """Runs handlers in a test, through the worker's own routing, middleware and execution.

        harness = WorkerHarness(router)
        ended = await harness.perform("order", Order(seat=12), receive_count=3)
        assert ended.is_done

    `client` is for the handlers: what they send with it is there for `assert_enqueued`, and an App
    uses it by itself. Its queues are in memory and appear when they are named, each with a
    dead-letter queue `…-dlq` that gets what was received `max_receive_count` times. `clock` stands
    still until a test, or `drain`, puts it forward: so the time of a handler with a `timeout_s` is
    over when a test has put it forward by as much, however long it really takes.
    """

    def __init__(
        self,
        handlers: Router | App,
        *,
        settings: WorkerSettings | None = None,
        middleware: Sequence[Middleware] | None = None,
        executor: Executor | None = None,
        max_receive_count: int = 3,
    ) -> None:
        """An App has settings and middleware of its own, which these replace."""
        self.clock = ManualClock()
        self.client = self._new_client(max_receive_count)
        self._max_receive_count = max_receive_count
        self._router: Router | None = None
        self._queues: dict[str, Queue] = {}
        if isinstance(handlers, Router):
            self._router = handlers
        else:
            handlers.client = self.client
            self._queues = {_name(queue.name): queue for queue in handlers.queues}
            settings = settings or handlers.settings
            middleware = handlers.middleware if middleware is None else middleware
        self._settings = settings or WorkerSettings()
        self._execution = Execution(
            middleware=middleware or (),
            executor=executor,
            threads=self._settings.threads,
            clock=self.clock,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = count(1)

    @property
    def enqueued(self) -> list[Enqueued]:
        """What was sent with `client`, in order."""
        return enqueued(self.client.requests)

    async def perform(
        self,
        message_type: str | None,
        payload: object,
        *,
        queue: str | None = None,
        key: str | None = None,
        receive_count: int = 1,
        group_id: str | None = None,
        attributes: Mapping[str, MessageAttribute] | None = None,
    ) -> Ended:
        """Run the handler of one message, and say how it ended it.

        Without a type there is no envelope: the payload is sent as JSON, and a text as it is.
        """
        [ended] = await self.perform_batch(
            message_type,
            [payload],
            queue=queue,
            key=key,
            receive_count=receive_count,
            group_id=group_id,
            attributes=attributes,
        )
        return ended

    async def perform_batch(
        self,
        message_type: str | None,
        payloads: Sequence[object],
        *,
        queue: str | None = None,
        key: str | None = None,
        receive_count: int = 1,
        group_id: str | None = None,
        attributes: Mapping[str, MessageAttribute] | None = None,
    ) -> list[Ended]:
        """Run the handler of several messages in one call, and say how it ended each.

        For a handler without `batch` it is one call after another. Raises SettingsError when
        `receive_count` is below 1.
        """
        require_number("receive_count", receive_count, whole=True)
        if receive_count < 1:
            raise SettingsError(f"receive_count is {receive_count}; it must be at least 1.")
        default = next(iter(self._queues), _QUEUE + (FIFO_SUFFIX if group_id else ""))
        name = _name(queue or default)
        client = self._new_client(self._max_receive_count)
        source = await self._open(name, client)
        for payload in payloads:
            number = next(self._numbers)
            client.apply(
                send_request(
                    source.url,
                    self._body(message_type, payload, key, number),
                    attributes=attributes,
                    # Of one group a receive would bring ten at most.
                    group_id=f"{number}" if source.fifo else None,
                    deduplication_id=f"{number}" if source.fifo else None,
                )
            )
        messages = [
            _as_received(message, receive_count, group_id) for message in _receive(client, source)
        ]
        leases = source.take_in(messages, self.clock.monotonic_ms())
        ended: dict[Lease, Ended] = {}
        for job in self._jobs(source, leases):
            for lease, outcome in zip(job.leases, await self._perform(job), strict=True):
                ended[lease] = Ended(outcome)
        return [ended[lease] for lease in leases]

    def enqueue(
        self,
        queue: str,
        message_type: str | None,
        payload: object,
        *,
        key: str | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        delay_s: int | None = None,
        attributes: Mapping[str, MessageAttribute] | None = None,
    ) -> str:
        """Put a message into a queue, and return its MessageId. See `perform` for its body.

        Raises SqsError when SQS would refuse it.
        """
        number = next(self._numbers)
        if queue.endswith(FIFO_SUFFIX):
            group_id = group_id or "group"
            deduplication_id = deduplication_id or f"{number}"
        request = send_request(
            self.client.url(_name(queue)),
            self._body(message_type, payload, key, number),
            group_id=group_id,
            deduplication_id=deduplication_id,
            delay_s=delay_s,
            attributes=attributes,
        )
        return cast("SendMessageResult", self.client.apply(request)).message_id

    async def drain(self, queue: str, *, messages_max: int = 10_000) -> Drained:
        """Handle the messages of a queue, those that come meanwhile too, until it is empty.

        A message that comes back is handled again after its delay, for which the clock is put
        forward, until it was received too often. Limits and breakers keep nothing waiting. Raises
        NotDrained after `messages_max` receives, and SettingsError for a queue that the App does
        not consume.
        """
        queue = _name(queue)
        if self._router is None and queue not in self._queues:
            raise _not_consumed(queue)
        source = await self._open(queue, self.client)
        dead_letters = dead_letter_queue(queue)
        dead_before = sum(self.client.counts(dead_letters)) if dead_letters else 0
        hanging = received = 0
        while True:
            messages = _receive(self.client, source)
            if not messages:
                # That receive may have moved the last ones to the dead-letter queue.
                if not sum(self.client.counts(queue)):
                    break
                self._go_on()
                continue
            received += len(messages)
            if received > messages_max:
                raise NotDrained(f"{queue} is not empty after {messages_max} receives.")
            hanging += await self._handle(source, messages)
            await self._settled(source)
        ledger = source.ledger
        dead = sum(self.client.counts(dead_letters)) - dead_before if dead_letters else 0
        if _name(source.queue.dead_letter_queue or dead_letters or "") == dead_letters:
            dead -= ledger.rejected
        return Drained(
            done=ledger.acked,
            failed=dead,
            retried=ledger.retried,
            rejected=ledger.rejected,
            hanging=hanging,
        )

    def assert_enqueued(
        self,
        message_type: str | None,
        payload: object = None,
        *,
        queue: str | None = None,
        key: str | None = None,
        count: int | None = None,
    ) -> list[Enqueued]:
        """See that handlers sent such a message, and return all that are like it.

        `payload` has the members that matter; the message may have others. `count` is how many
        there must be exactly; None is one at least. Raises AssertionError, which shows what was
        sent instead.
        """
        __tracebackhide__ = True
        expected = None if payload is None else plain(payload)
        sent = self.enqueued
        found = [
            each
            for each in sent
            if each.type == message_type
            and (queue is None or each.queue == _name(queue))
            and (key is None or each.key == key)
            and (expected is None or is_subset(expected, each.payload))
        ]
        if len(found) == count or (found and count is None):
            return found
        wanted = "message without an envelope" if message_type is None else repr(message_type)
        wanted += "" if queue is None else f" to {queue}"
        wanted += "" if key is None else f" with the key {key!r}"
        wanted += "" if expected is None else f" with {json.dumps(expected, sort_keys=True)}"
        times = "No" if not found else f"Not {count} times but {len(found)} times a"
        raise AssertionError(not_enqueued(f"{times} {wanted} was enqueued", expected, sent))

    async def close(self) -> None:
        """Let the threads of plain functions go."""
        await self._execution.close()

    def _new_client(self, max_receive_count: int) -> MemorySqsClient:
        return MemorySqsClient(self.clock, max_receive_count=max_receive_count)

    async def _open(self, name: str, client: MemorySqsClient) -> Source:
        context = Context(
            client=client,
            settings=self._settings,
            clock=self.clock,
            entropy=random.Random(7).randbytes,
            spawn=self._spawn,
            changed=lambda: None,
            loop_watch=LoopWatch(self.clock),
        )
        return await Source.open(context, self._queues.get(name) or Queue(name))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.ensure_future(coroutine))

    def _body(self, message_type: str | None, payload: object, key: str | None, number: int) -> str:
        if message_type is None:
            return payload if isinstance(payload, str) else json.dumps(plain(payload))
        timestamp = envelope_timestamp(self.clock.wall_ms())
        return encode_envelope(
            f"e-{number}", message_type, timestamp, "harness", plain(payload), key=key
        )

    def _jobs(self, source: Source, leases: Sequence[Lease]) -> list[_Job]:
        """The calls of handlers, in the order of the first message of each."""
        router = source.queue.router or self._router
        if router is None:
            raise _not_consumed(source.name)
        jobs: list[_Job] = []
        gathering: dict[Route, _Job] = {}
        for lease in leases:
            try:
                route, received = router.route(lease)
            except Reject as rejection:
                jobs.append(_Job(None, [lease], [], rejection))
                continue
            job = gathering.get(route)
            if job is None or len(job.leases) >= route.batch:
                job = _Job(route, [], [])
                jobs.append(job)
                if route.batch:
                    gathering[route] = job
            job.leases.append(lease)
            job.received.append(received)
        return jobs

    async def _perform(self, job: _Job) -> list[Outcome]:
        if job.route is None:
            return [job.rejection or Done()]
        return await self._execution.perform(job.route, job.received)

    async def _handle(self, source: Source, messages: list[Message]) -> int:
        """Run the handlers of messages, and begin the end of each. Returns how many hang."""
        hanging = 0
        #: After how many seconds the groups come back that a message of theirs has sent back.
        back: dict[str | None, int] = {}
        leases = source.take_in(messages, self.clock.monotonic_ms())
        waiting = [lease.group_id for lease in leases]
        for job in self._jobs(source, leases):
            for lease in job.split(back):
                waiting.remove(lease.group_id)
                source.release_all([lease], back[lease.group_id])
            for lease in job.leases:
                source.start(lease)
            outcomes = await self._perform(job) if job.leases else []
            for lease, outcome in zip(job.leases, outcomes, strict=True):
                waiting.remove(lease.group_id)
                followed = lease.group_id is not None and lease.group_id in waiting
                settled = await source.settle(lease, outcome, followed=followed)
                if lease.group_id is not None and settled.group is not Group.GOES_ON:
                    back.setdefault(lease.group_id, settled.delay_s)
                hanging += isinstance(outcome, StillRunning)
        return hanging

    async def _settled(self, source: Source) -> None:
        """Wait until SQS knows how each message ends."""
        source.flush()
        while tasks := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(tasks, timeout=0)
            self.clock.advance(_STEP_MS)
        for task in self._tasks:
            task.result()
        self._tasks.clear()

    def _go_on(self) -> None:
        """Put the clock forward until something becomes visible."""
        due_ms = self.client.next_due_ms()
        self.clock.advance(max(1, due_ms - self.clock.monotonic_ms()))


def _name(queue: str) -> str:
    """The name of a queue that is given by name, URL or ARN."""
    return queue.rpartition("/")[2].rpartition(":")[2]


def _receive(client: MemorySqsClient, source: Source) -> list[Message]:
    """Every message that is visible now."""
    request = ReceiveMessageRequest(
        queue_url=source.url,
        max_number_of_messages=BATCH_ENTRIES_MAX,
        visibility_timeout=source.visibility_timeout_s,
        message_system_attribute_names=["All"],
        message_attribute_names=["All"],
    )
    found: list[Message] = []
    while messages := cast("ReceiveMessageResult", client.apply(request)).messages:
        found.extend(messages)
    return found


def _as_received(message: Message, receive_count: int, group_id: str | None) -> Message:
    """The message as if it had been received so often, in this group."""
    system = {**(message.attributes or {}), "ApproximateReceiveCount": str(receive_count)}
    if group_id is not None:
        system["MessageGroupId"] = group_id
    return replace(message, attributes=system)


def _not_consumed(queue: str) -> SettingsError:
    return SettingsError(f"The App consumes no queue {queue}.")
