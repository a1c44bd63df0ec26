"""The worker: takes messages from its queues, runs their handlers, and accounts for each."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from typing import Any

from forebay.client.base import SqsClient
from forebay.clock import Clock, SystemClock
from forebay.errors import Closed, SettingsError
from forebay.protocol.actions import Message
from forebay.worker.arguments import queues_of, require_list, require_method
from forebay.worker.autoscaler import Autoscaler
from forebay.worker.context import Context
from forebay.worker.depths import Depth
from forebay.worker.drain import Drain
from forebay.worker.execution import Execution
from forebay.worker.gate import Gate
from forebay.worker.jobs import Jobs
from forebay.worker.ledger import WorkerLedger
from forebay.worker.limits import Limiters
from forebay.worker.loop_watch import LoopWatch
from forebay.worker.middleware import Middleware
from forebay.worker.outcomes import Failed, Reject
from forebay.worker.permits import Permit
from forebay.worker.polling import Line, Polling
from forebay.worker.priority_buffer import Capacities, PriorityBuffer
from forebay.worker.processing import Job, Processing
from forebay.worker.queue import HIGH, LOW, MEDIUM, Queue
from forebay.worker.receiving import Receiver
from forebay.worker.routing import Router
from forebay.worker.scaling import LittlesLaw, ScalingPolicy
from forebay.worker.scheduler import Scheduler, SchedulerSettings, require_queues
from forebay.worker.services import Service, Services
from forebay.worker.settings import ADJUSTABLE, WorkerSettings
from forebay.worker.snapshot import Count, Histogram, WorkerSnapshot
from forebay.worker.source import Source

_log = logging.getLogger(__name__)


class Worker:
    """Runs the handlers of a router on the messages of its queues.

        worker = Worker(client, "orders", router)
        worker = Worker(client, [Queue("orders", HIGH), Queue("mail", LOW)], router)

    Each message received ends in exactly one place of the ledger. A handler that returns has its
    message deleted; see Reject and Retry for the rest. Any other exception is logged, and the
    message becomes visible again after a delay that grows with its receives, so that the queue's
    redrive policy moves it to the dead-letter queue at last. On a FIFO queue the messages behind it
    go back with it, and its group waits.

    Queues are names, URLs or Queue values. `middleware` is called around every handler, the first
    outermost. `executor` runs handlers that are plain functions; without one the worker has threads
    of its own. `permits` hold receives back. `counts` gives what the handlers count of their own
    work, for the metrics. Raises SettingsError for queues that are given twice.
    """

    def __init__(
        self,
        client: SqsClient,
        queues: str | Queue | Sequence[str | Queue],
        router: Router,
        *,
        settings: WorkerSettings | None = None,
        middleware: Sequence[Middleware] = (),
        permits: Sequence[Permit] = (),
        scaling: ScalingPolicy | None = None,
        executor: Executor | None = None,
        counts: Callable[[], list[Count]] = list,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.queues = queues_of(queues)
        require_queues(self.queues)
        require_method(
            "The client of a worker", client, "receive_message", "Give one such as HttpSqsClient()."
        )
        require_method("The router of a worker", router, "route", "Give a Router with handlers.")
        require_list(
            "permits of a worker", permits, "free", "Give a PoolPermit; a Limit is a handler's."
        )
        self.router = router
        self.settings = settings = settings or WorkerSettings()
        self.client = client
        self._others: dict[str, Any] = {
            "middleware": middleware,
            "permits": permits,
            "scaling": scaling,
            "executor": executor,
            "counts": counts,
            "clock": clock,
            "entropy": entropy,
        }
        self._clock = clock = clock or SystemClock()
        self._entropy = entropy
        self._gate = Gate(permits)
        self._counts = counts
        self._loop_watch = LoopWatch(clock)
        self._context = Context(
            client=client,
            settings=settings,
            clock=clock,
            entropy=entropy,
            spawn=self._spawn,
            changed=self._look_again,
            loop_watch=self._loop_watch,
        )
        self._execution = Execution(
            middleware=middleware, executor=executor, threads=settings.threads, clock=clock
        )
        self._buffer: PriorityBuffer[Job] = PriorityBuffer(
            _capacities(settings),
            age_bound_s=settings.age_bound_s,
            overtakes_max=settings.overtakes_max,
        )
        self._processing = Processing(settings.concurrency, self._buffer, Limiters())
        self._services: list[Service] = []
        self._by_source: dict[Source, Service] = {}
        self._served = Services((), self._processing, self._buffer, settings, clock)
        self._autoscaler = Autoscaler(
            scaling or LittlesLaw(),
            pollers=(settings.pollers_min, settings.pollers),
            processors=(settings.fewest_processors, settings.concurrency),
            interval_s=settings.scale_interval_s,
            clock=clock,
            load=lambda: self._served.load(),  # noqa: PLW0108 - what is served changes when queues open
            busy=lambda: (self._polls, self._processing.running),
            changed=self._rescaled,
        )
        self._polling: Polling | None = None
        self._jobs = Jobs(
            self._processing,
            self._execution,
            clock=clock,
            spawn=self._spawn,
            ran=self._ran,
            changed=self._look_again,
            idle=lambda: self._served.flush(),  # noqa: PLW0108 - as above
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._state = "starting"
        self._started = False
        self._drain: Drain | None = None
        self._stop_requested = asyncio.Event()
        self._stop_now = False
        self._woken = asyncio.Event()
        self._changed = asyncio.Event()
        #: What broke in the worker itself; it has drained for that.
        self._broken: Exception | None = None

    def but(self, *, queues: Sequence[str | Queue], settings: WorkerSettings) -> Worker:
        """A worker that has not begun and is like this one but for its queues and settings."""
        return type(self)(self.client, queues, self.router, settings=settings, **self._others)

    @property
    def ledger(self) -> WorkerLedger:
        """Where every message received so far has gone."""
        return sum((each.source.ledger for each in self._services), WorkerLedger())

    def snapshot(self) -> WorkerSnapshot:
        """The worker at this moment. Call it in the event loop's thread."""
        return self._served.snapshot(
            self._autoscaler,
            state=self._state,
            hanging=self._execution.hanging,
            blocked_s=self._loop_watch.blocked_s,
            held_back=self._gate.held_back(self._clock.monotonic_ms()),
            counts=self._counts(),
        )

    def adjust(self, settings: WorkerSettings) -> None:
        """Change how many receives, handlers and waiting messages there may be, while at work.

        Nothing that was received is given up for that. Raises SettingsError when anything else
        differs. Call it in the event loop's thread.
        """
        if settings.fixed() != self.settings.fixed():
            raise SettingsError(
                f"Only {', '.join(ADJUSTABLE)} can be changed while a worker is at work. Make a new"
                " worker for the rest."
            )
        self.settings = self._served.settings = settings
        self._buffer.resize(_capacities(settings))
        self._served.reckon_capacities()
        self._autoscaler.resize(
            (settings.pollers_min, settings.pollers),
            (settings.fewest_processors, settings.concurrency),
        )

    def stop(self, *, now: bool = False) -> None:
        """Begin the drain; `run` returns at its end. Call it in the event loop's thread.

        With `now` nothing is waited for that can be given back: waiting and running messages become
        visible again at once.
        """
        self._stop_now = self._stop_now or now
        self._stop_requested.set()
        if now and self._drain is not None:
            self._drain.hurry()
        self._look_again()

    async def run(self) -> WorkerLedger:
        """Work until `stop`, drain, and return the ledger.

        Whatever the client fails on is logged and tried again. Before the first message comes,
        raises SqsError for a queue that does not exist, and other ForebayErrors that no waiting
        mends. Cancelling it abandons the receives in flight, whose messages then stay hidden until
        their visibility timeout; prefer `stop`. Raises Closed when called a second time.
        """
        if self._started:
            raise Closed("A worker runs once; make a new one.")
        self._started = True
        try:
            if await self._open():
                await self._work()
        finally:
            self._state = "stopped"
            await self._cancel_all()
            self._served.lose_all()
            await self._execution.close()
        ledger = self.ledger
        _log.info("The worker of %s has stopped: %s", self._names, ledger)
        if self._broken is not None:
            raise self._broken
        return ledger

    @property
    def _names(self) -> str:
        return ", ".join(queue.name.rpartition("/")[2] for queue in self.queues)

    @property
    def _polls(self) -> int:
        return 0 if self._polling is None else self._polling.polls

    async def _open(self) -> bool:
        """Find the queues. Returns whether there is work to do: nobody has said stop meanwhile."""
        stopped = asyncio.ensure_future(self._stop_requested.wait())
        opening = asyncio.ensure_future(self._open_sources())
        try:
            await asyncio.wait((stopped, opening), return_when=asyncio.FIRST_COMPLETED)
            if self._stop_requested.is_set():
                return False
            sources = await opening
        finally:
            stopped.cancel()
            opening.cancel()
        self._services = [self._service(source) for source in sources]
        self._by_source = {service.source: service for service in self._services}
        self._served = Services(
            self._services, self._processing, self._buffer, self.settings, self._clock
        )
        return True

    async def _open_sources(self) -> list[Source]:
        opening = [
            asyncio.ensure_future(Source.open(self._context, queue)) for queue in self.queues
        ]
        try:
            return await asyncio.gather(*opening)
        finally:
            for each in opening:
                each.cancel()

    def _service(self, source: Source) -> Service:
        receiver = Receiver(
            self.client,
            source,
            self.settings,
            clock=self._clock,
            entropy=self._entropy,
            stopped=self._stop_requested,
            deliver=lambda *answer: self._take_in(service, *answer),
            ended=self._look_again,
        )
        routes = self._router_of(source).routes
        service = Service(
            source=source,
            receiver=receiver,
            depth=Depth(self.client, source.name, source.url),
            batch_handlers=max((route.batch for route in routes), default=0),
            handling=Histogram(),
        )
        return service

    def _router_of(self, source: Source) -> Router:
        return source.queue.router or self.router

    async def _work(self) -> None:
        self._polling = polling = Polling(
            [service.receiver for service in self._services],
            self.settings,
            clock=self._clock,
            scheduler=Scheduler(
                SchedulerSettings(
                    share_medium=self.settings.poll_share,
                    share_low=self.settings.poll_share,
                    boost_step=self.settings.boost_step,
                )
            ),
            stock=self._served.stock,
            lines=self._lines,
            woken=self._woken,
            stopped=self._stop_requested,
        )
        for service in self._services:
            self._spawn(service.source.run_heartbeat())
            self._spawn(service.depth.run(self._clock, self.settings.attributes_interval_s))
        scaling = self._spawn(self._autoscaler.run())
        self._spawn(polling.run())
        self._state = "working"
        urls = ", ".join(service.source.url for service in self._services)
        _log.info("The worker is at work on %s", urls)
        await self._stop_requested.wait()
        self._state = "draining"
        scaling.cancel()
        self._drain = Drain(
            self._names,
            self._served,
            self._processing,
            self._jobs,
            polling,
            settings=self.settings,
            clock=self._clock,
            changed=self._changed,
        )
        if self._stop_now:
            self._drain.hurry()
        await self._drain.run()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """A mistake of our own ends in a drain, not in handlers that are cut off."""
        try:
            await coroutine
        except Exception as error:
            _log.exception("The worker of %s is broken and drains.", self._names)
            self._broken = self._broken or error
            self.stop()

    async def _cancel_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _look_again(self) -> None:
        """Something has changed that a receive or a drain may wait for."""
        self._woken.set()
        self._changed.set()

    def _rescaled(self) -> None:
        """The policy has decided; and permits are looked at again, since none tells of itself."""
        if self._drain is None:
            self._processing.concurrency = self._autoscaler.processors
        if self._polling is not None:
            self._polling.pollers = self._autoscaler.pollers
            self._polling.pause_ms = self._autoscaler.poll_pause_ms
        self._jobs.give_up_over(self._clock.monotonic_ms())
        self._jobs.start()
        self._woken.set()

    def _lines(self) -> list[Line]:
        now_ms = self._clock.monotonic_ms()
        return [
            self._served.line(service, free=self._gate.free(service.source.name, now_ms))
            for service in self._services
        ]

    def _take_in(
        self, service: Service, messages: list[Message], taken_ms: int, asked_ms: int
    ) -> None:
        source = service.source
        router = self._router_of(source)
        # Before one comes again whose handler hangs, its group must not wait for that any more.
        self._jobs.give_up_over(self._clock.monotonic_ms())
        for lease in source.take_in(messages, taken_ms, asked_ms):
            job = Job(source.priority, [lease])
            try:
                routed = router.route(lease)
            except Reject as rejection:
                job.outcome = rejection
            except Exception as error:
                job.outcome = Failed(error)
            else:
                job.route, job.received = routed.route, [routed.received]
                if routed.route.breaker is not None:
                    self._gate.watch(routed.route.breaker, source.name)
            self._processing.add(job, self._clock.monotonic_ms())
        self._jobs.start()

    def _ran(self, job: Job, took_s: float) -> None:
        self._by_source[job.leases[0].source].handled(took_s, len(job.leases))


def _capacities(settings: WorkerSettings) -> Capacities:
    return Capacities(
        high=settings.buffer_capacity(HIGH),
        medium=settings.buffer_capacity(MEDIUM),
        low=settings.buffer_capacity(LOW),
    )
