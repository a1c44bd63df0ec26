"""Consumers in few lines: an application knows its queues, and makes its client and worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from msgspec import Struct
from msgspec.structs import replace

from forebay.client.base import SqsClient
from forebay.client.http import HttpSqsClient
from forebay.client.late import LateClient
from forebay.errors import SettingsError
from forebay.producer.producer import Producer, ProducerOptions, Published
from forebay.worker.codecs import Codec
from forebay.worker.drain import run_until_signalled
from forebay.worker.ledger import WorkerLedger
from forebay.worker.limits import Limit
from forebay.worker.middleware import Middleware
from forebay.worker.permits import Permit
from forebay.worker.queue import Priority, Queue
from forebay.worker.route import WITHIN_MS_DEFAULT, RouteOptions
from forebay.worker.routing import BatchHandler, BatchR, Handler, R, Router
from forebay.worker.scaling import ScalingPolicy
from forebay.worker.settings import WorkerSettings
from forebay.worker.worker import Worker

_log = logging.getLogger(__name__)

T = TypeVar("T")
_Function = TypeVar("_Function", bound=Callable[[Any], Any])


class App:
    """Handlers by their queues, with a client and a worker that it makes when they are needed.

        app = App()

        @app.consume("orders", Order)
        async def take(received: Received[Order]) -> None: ...

    Run it with `forebay worker run shop:app`, or call `app.run()` in a script. Without
    `endpoint_url` the endpoint comes from the environment, and else is AWS. A `client` that is
    given stays the caller's to close. The rest is the worker's.
    """

    def __init__(
        self,
        endpoint_url: str | None = None,
        *,
        client: SqsClient | None = None,
        settings: WorkerSettings | None = None,
        middleware: Sequence[Middleware] = (),
        permits: Sequence[Permit] = (),
        scaling: ScalingPolicy | None = None,
        executor: Executor | None = None,
    ) -> None:
        if client is not None and endpoint_url is not None:
            raise SettingsError("Give an App either an endpoint_url or a client, which has one.")
        self.settings = settings or WorkerSettings()
        self.middleware = tuple(middleware)
        self._endpoint_url = endpoint_url
        self._permits = tuple(permits)
        self._scaling = scaling
        self._executor = executor
        self._client = client
        self._made_client: SqsClient | None = None
        self._queues: dict[str, _Consumed] = {}
        self._worker: Worker | None = None
        self._producers: dict[str, _Produced] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @overload
    def consume(
        self,
        queue: str | Queue,
        payload_type: type[T],
        *,
        message_type: str | None = None,
        priority: Priority | None = None,
        codec: Codec | None = None,
        concurrency: int | None = None,
        **options: Unpack[RouteOptions],
    ) -> Callable[[Handler[T, R]], Handler[T, R]]: ...

    @overload
    def consume(
        self,
        queue: str | Queue,
        payload_type: type[T],
        *,
        batch: int,
        within_ms: int = WITHIN_MS_DEFAULT,
        message_type: str | None = None,
        priority: Priority | None = None,
        codec: Codec | None = None,
        concurrency: int | None = None,
        **options: Unpack[RouteOptions],
    ) -> Callable[[BatchHandler[T, BatchR]], BatchHandler[T, BatchR]]: ...

    def consume(
        self,
        queue: str | Queue,
        payload_type: type[Any],
        *,
        message_type: str | None = None,
        priority: Priority | None = None,
        codec: Codec | None = None,
        concurrency: int | None = None,
        **options: Any,
    ) -> Callable[[_Function], _Function]:
        """Register the decorated function for the messages of a queue.

        It takes plain JSON, and the payload of an envelope of any type that has no handler of its
        own; with `message_type`, only that of envelopes of this type. So a queue may have several
        consumers. Give a Queue for what is set about a queue; `priority` is short for one of them,
        and `codec` says what its bodies are. At most `concurrency` calls of the function run at a
        time. For the rest it is as Router.handler.

        Raises SettingsError also when the queue is consumed already and is set otherwise there.
        """
        router = self._consumed(queue, priority, codec).router
        if concurrency is not None:
            options["limits"] = [*options.get("limits", ()), Limit(running=concurrency)]
        if message_type is None:
            return router.every(payload_type, **options)
        return router.handler(message_type, payload_type, **options)

    @property
    def queues(self) -> list[Queue]:
        """The queues that are consumed, each with its handlers."""
        return [replace(each.queue, router=each.router) for each in self._queues.values()]

    @property
    def client(self) -> SqsClient:
        """The client that all of it uses. Assign another one before its worker is made."""
        if self._client is None:
            self._client = self._made_client = HttpSqsClient(self._endpoint_url)
        return self._client

    @client.setter
    def client(self, client: SqsClient) -> None:
        if self._worker is not None:
            raise SettingsError("The App's worker has its client already. Assign another before.")
        self._client = client

    def worker(self) -> Worker:
        """The worker of all queues. It is the same at each call, until `close`.

        Raises SettingsError when nothing is consumed.
        """
        if not self._queues:
            raise SettingsError(
                'The App consumes no queue. Register a handler: @app.consume("orders", Order).'
            )
        if self._worker is None:
            self._worker = Worker(
                self.client,
                self.queues,
                Router(),
                settings=self.settings,
                middleware=self.middleware,
                permits=self._permits,
                scaling=self._scaling,
                executor=self._executor,
            )
        return self._worker

    def run(self) -> WorkerLedger:
        """Work until SIGTERM or Ctrl-C, drain, and return the ledger. For scripts."""
        return asyncio.run(self._run())

    def producer(self, queue: str, **options: Unpack[ProducerOptions]) -> Producer:
        """The producer to a queue, with this App's client. It is the same at each call.

        It sends while the App runs or is entered (`async with`), and until `close`; what is sent
        before waits in its buffer. `options` are the Producer's, for its first call.

        Raises SettingsError for other options than it has, and what Producer raises.
        """
        known = self._producers.get(queue)
        if known is None or known.is_left:
            if known is not None and (left := known.producer.ledger.buffered):
                _log.warning(
                    "%d envelopes for %s are lost: the loop that sent them has ended, and nobody"
                    " had closed the App. Use `async with app`.",
                    left,
                    queue,
                )
            producer = Producer(LateClient(lambda: self.client), queue, **options)
            known = self._producers[queue] = _Produced(producer, options)
        elif options and options != known.options:
            raise SettingsError(
                f"The producer to {queue} is there already with other options. Give them once, at"
                " the first call."
            )
        try:
            known.start(asyncio.get_running_loop())
        except RuntimeError:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(known.start, self._loop)
        return known.producer

    async def publish(
        self,
        queue: str,
        message_type: str,
        payload: object,
        *,
        key: str | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
    ) -> Published:
        """Send a message in an envelope, and return when SQS has acknowledged it.

        Raises what Producer.publish raises: SqsError when there is no such queue.
        """
        producer = self.producer(queue)
        await self._producers[queue].started()
        return await producer.publish(
            message_type, payload, key=key, group_id=group_id, deduplication_id=deduplication_id
        )

    async def close(self) -> None:
        """Send what is being published, and let go of the worker and of a client of its own."""
        producers, self._producers = self._producers, {}
        self._loop = None
        await asyncio.gather(*[each.close() for each in producers.values()])
        self._worker = None
        if self._made_client is not None:
            made, self._made_client = self._made_client, None
            if self._client is made:
                self._client = None
            await made.close()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for each in self._producers.values():
            each.start(self._loop)
        await asyncio.gather(*[each.started() for each in self._producers.values()])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self) -> WorkerLedger:
        async with self:
            [ledger] = await run_until_signalled(self.worker())
        return ledger

    def _consumed(
        self, queue: str | Queue, priority: Priority | None, codec: Codec | None
    ) -> _Consumed:
        name = queue if isinstance(queue, str) else queue.name
        known = self._queues.get(name)
        if known is None:
            if self._worker is not None:
                raise SettingsError(
                    f"The App has its worker already, which does not serve {name}. Register every"
                    " consumer before the worker is made."
                )
            wanted = Queue(queue) if isinstance(queue, str) else queue
            if priority is not None:
                wanted = replace(wanted, priority=priority)
            router = wanted.router or Router(codec=codec)
            known = self._queues[name] = _Consumed(wanted, router, codec)
        elif (
            (isinstance(queue, Queue) and queue != known.queue)
            or (priority is not None and priority != known.queue.priority)
            or (codec is not None and codec is not known.codec)
        ):
            raise SettingsError(
                f"{name} is consumed already with other settings. Give them once, to its first"
                " consumer."
            )
        return known


class _Produced:
    """A producer, and the loop that it sends in once there is one."""

    def __init__(self, producer: Producer, options: ProducerOptions) -> None:
        self.producer = producer
        self.options = options
        self._starting: asyncio.Task[None] | None = None

    @property
    def is_left(self) -> bool:
        """Whether its loop has ended without the App's `close`."""
        return self._starting is not None and self._starting.get_loop().is_closed()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to send, in this loop, which runs."""
        if self._starting is None:
            self._starting = loop.create_task(self.producer.start())

    async def started(self) -> None:
        """Return when it sends. Raises what its start raised."""
        if self._starting is not None:
            await self._starting

    async def close(self) -> None:
        """Send what it was given, and end it."""
        if self._starting is not None:
            await asyncio.wait({self._starting})
        await self.producer.close()


class _Consumed(Struct, frozen=True):
    """A queue as it was asked for, and its handlers."""

    queue: Queue
    router: Router
    codec: Codec | None
