"""A broker for tests. The pytest plugin hands it out; any other test runner can use it as well."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

from botocore.session import Session

from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.core.engine import Caller, MessageView, QueueView
from forebay.broker.core.views import PEEK_MESSAGES_MAX
from forebay.broker.embedded import EmbeddedBroker
from forebay.broker.server import HttpServer
from forebay.client.http import HttpSqsClient
from forebay.client.plain import (
    MAX_RECEIVE_COUNT,
    MessageAttribute,
    QueueAttribute,
    create_queue_request,
    send_request,
)
from forebay.errors import Closed, ForebayError, SettingsError
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    CreateQueueResult,
    DeleteQueueRequest,
    GetQueueUrlRequest,
    GetQueueUrlResult,
    ListQueuesRequest,
    SendMessageResult,
)
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.identifiers import (
    DEFAULT_ACCOUNT_ID,
    DEFAULT_REGION,
    QueueKey,
    queue_arn,
    queue_key_from_url,
    queue_url,
)
from forebay.protocol.limits import MESSAGE_RETENTION_SECONDS_MAX
from forebay.protocol.sigv4 import Credentials
from forebay.spying import (
    Expectation,
    NotAsExpected,
    Pending,
    SeenMessage,
    SpiedJournal,
    Spy,
    Status,
)
from forebay.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mypy_boto3_sqs import SQSClient

__all__ = ["BrokerForTests", "NotAsExpected", "Pending", "SeenMessage", "Status", "VirtualClock"]

T = TypeVar("T")

#: What signs the requests of tests. It opens nothing, on AWS or elsewhere.
_CREDENTIALS = Credentials("test", "test")


class BrokerForTests(EmbeddedBroker):
    """An SQS in memory, with its HTTP endpoint on a free port of this machine.

        with BrokerForTests() as broker:
            url = broker.create_queue("orders", VisibilityTimeout=5)

    Its methods may be called from any thread, inside and outside of event loops; they answer at
    once, and mean queues of `region`. The name of a deleted queue is free again at once, unlike on
    AWS.
    """

    def __init__(self, *, virtual_clock: bool = False, region: str = DEFAULT_REGION) -> None:
        super().__init__(region=region)
        self._clock = VirtualClock(self._take_turn) if virtual_clock else None
        self._broker: Broker | None = None
        self._clients: list[SQSClient] = []
        self._spy = Spy()
        self._pending: list[Pending[Any]] = []

    @property
    def clock(self) -> VirtualClock:
        """What puts the broker's time forward. Raises SettingsError when it was not asked for."""
        __tracebackhide__ = True
        if self._clock is None:
            raise SettingsError(
                "This broker runs on the machine's clock. Ask for the fixture forebay_clock, mark"
                " the test @pytest.mark.forebay(virtual_clock=True), or make a"
                " BrokerForTests(virtual_clock=True)."
            )
        return self._clock

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that lead every AWS SDK here, and away from real accounts."""
        return {
            "AWS_ENDPOINT_URL_SQS": self.endpoint_url,
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_ACCESS_KEY_ID": _CREDENTIALS.access_key_id,
            "AWS_SECRET_ACCESS_KEY": _CREDENTIALS.secret_access_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def create_queue(
        self,
        name: str,
        *,
        tags: Mapping[str, str] | None = None,
        dead_letter_queue: str | None = None,
        max_receive_count: int = MAX_RECEIVE_COUNT,
        **attributes: QueueAttribute,
    ) -> str:
        """Create a queue and return its URL.

        Attributes have SQS's names, and values as Python has them: VisibilityTimeout=5,
        ContentBasedDeduplication=True. A name that ends in .fifo makes a FIFO queue.
        `dead_letter_queue` is the URL or the name of the queue that gets what was received
        `max_receive_count` times; one that is missing is created. Raises SqsError.
        """
        __tracebackhide__ = True
        request = create_queue_request(
            name,
            attributes,
            tags=tags,
            dead_letter_arn=self.arn(self._queue_url(dead_letter_queue))
            if dead_letter_queue is not None
            else None,
            max_receive_count=max_receive_count,
        )
        return cast("CreateQueueResult", self.call(request)).queue_url

    def send(
        self,
        queue: str,
        body: str | Mapping[str, object],
        *,
        attributes: Mapping[str, MessageAttribute] | None = None,
        delay_s: int | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
    ) -> str:
        """Send a message, and return its id.

        `queue` is a URL or a name. A mapping is sent as JSON. Attributes have values as Python has
        them. Raises SqsError.
        """
        __tracebackhide__ = True
        request = send_request(
            queue,
            body,
            attributes=attributes,
            delay_s=delay_s,
            group_id=group_id,
            deduplication_id=deduplication_id,
        )
        return cast("SendMessageResult", self.call(request)).message_id

    def wait_for(
        self,
        queue: str | None = None,
        *,
        status: Status,
        body: str | Mapping[str, object] | None = None,
        message_id: str | None = None,
        within_s: float = 5.0,
    ) -> Pending[SeenMessage]:
        """Wait until something has happened to a message, and answer what was seen.

            await broker.wait_for(orders, body="A-12", status="deleted")
            broker.wait_for(orders, body="A-12", status="deleted").result()  # not in a coroutine

        What happened since the test began counts. `queue` is a URL or a name, of a queue that may
        come later; None is any queue. A mapping means a body that is a JSON object with these
        members, and maybe others. Raises NotAsExpected, which shows what was seen instead, after
        `within_s`.
        """
        __tracebackhide__ = True
        pending: Pending[SeenMessage] = self._expect(queue, status, body, message_id)
        self._tell_spy(lambda spy: spy.wait_for(pending, within_s))
        return pending

    def expect_none(
        self,
        queue: str | None = None,
        *,
        within_s: float,
        status: Status = "sent",
        body: str | Mapping[str, object] | None = None,
        message_id: str | None = None,
    ) -> Pending[None]:
        """Wait `within_s`, and see that nothing like it has happened since the test began.

        Used as `wait_for` is. Raises NotAsExpected at once when it happens.
        """
        __tracebackhide__ = True
        pending: Pending[None] = self._expect(queue, status, body, message_id)
        self._tell_spy(lambda spy: spy.expect_none(pending, within_s))
        return pending

    def take_forgotten(self) -> list[Expectation]:
        """What was to be waited for, and nobody has awaited since the last call."""
        pending, self._pending = self._pending, []
        return [each.expectation for each in pending if not each.asked]

    def arn(self, queue: str) -> str:
        """The ARN of a queue, as redrive policies want it."""
        __tracebackhide__ = True
        return queue_arn(self._key(queue))

    def messages(self, queue: str) -> list[MessageView]:
        """The oldest thousand messages of a queue, whatever their state, without receiving them.

        Raises SqsError when there is no such queue.
        """

        __tracebackhide__ = True

        async def peek(broker: Broker) -> list[MessageView]:
            return broker.peek(queue, self._caller(), PEEK_MESSAGES_MAX)

        return self._ask(peek)

    def call(self, request: AnyRequest) -> AnyResult:
        """Carry out any SQS request. Raises SqsError when the broker refuses it."""
        __tracebackhide__ = True
        return self._call(request, self._caller())

    def client(self) -> HttpSqsClient:
        """A new async client. Use it as an async context manager in the test's event loop."""
        return HttpSqsClient(self.endpoint_url, region=self._region, credentials=_CREDENTIALS)

    def boto3_client(self, **options: Any) -> SQSClient:
        """A new client, as boto3.client("sqs", **options) makes one. It is closed for you."""
        client = _session().create_client(
            "sqs",
            **{
                "endpoint_url": self.endpoint_url,
                "region_name": self._region,
                "aws_access_key_id": _CREDENTIALS.access_key_id,
                "aws_secret_access_key": _CREDENTIALS.secret_access_key,
                **options,
            },
        )
        self._clients.append(cast("SQSClient", client))
        return self._clients[-1]

    @contextmanager
    def cleaned_up(self) -> Iterator[None]:
        """Delete the queues that appear in the block, whoever created them, and close its clients.

        Queues from before the block stay, with what the block has left in them. What happened
        before it is no longer waited for.
        """
        self._tell_spy(Spy.forget)
        before = self._queue_keys()
        clients, self._clients = self._clients, []
        try:
            yield
        finally:
            self._close_clients()
            self._clients = clients
            for key in self._queue_keys() - before:
                # Something that still runs may delete it first.
                with suppress(SqsError):
                    self._call(
                        DeleteQueueRequest(queue_url=queue_url(self.endpoint_url, key)),
                        Caller(key.account_id, key.region, self.endpoint_url),
                    )

    def stop(self) -> None:
        self._close_clients()
        super().stop()
        self._broker = None

    async def _serve(self, started: Future[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._spy = spy = Spy()
        self._broker = Broker(
            SpiedJournal(spy.saw),
            executor=InlineExecutor(),
            clock=self._clock,
            recreate_interval_ms=0,
            region=self._region,
        )
        server = HttpServer(self._broker)
        await server.start("127.0.0.1", 0)
        started.set_result(server.endpoint_url)
        try:
            await self._stop.wait()
        finally:
            await server.stop()
            spy.give_up(Closed("The broker was stopped."))

    def _ask(self, question: Callable[[Broker], Coroutine[Any, Any, T]]) -> T:
        """Ask the broker something on its own loop, from any other thread."""
        __tracebackhide__ = True
        broker, loop = self._running()
        answer = asyncio.run_coroutine_threadsafe(question(broker), loop)
        try:
            return answer.result()
        except ForebayError as error:
            # Where in the broker a refusal was made is nothing that a test wants to read.
            raise error.with_traceback(None) from None

    def _running(self) -> tuple[Broker, asyncio.AbstractEventLoop]:
        __tracebackhide__ = True
        if self._broker is None or self._loop is None:
            raise Closed("The broker does not run. Call start(), or use it in a `with`.")
        return self._broker, self._loop

    def _tell_spy(self, order: Callable[[Spy], None]) -> None:
        __tracebackhide__ = True
        _, loop = self._running()
        loop.call_soon_threadsafe(order, self._spy)

    def _expect(
        self,
        queue: str | None,
        status: Status,
        body: str | Mapping[str, object] | None,
        message_id: str | None,
    ) -> Pending[Any]:
        __tracebackhide__ = True
        if status not in get_args(Status):
            raise SettingsError(
                f"{status!r} is not a status. Wait for {', '.join(get_args(Status))}."
            )
        key = None if queue is None else self._key(queue)
        pending: Pending[Any] = Pending(Expectation(key, status, body, message_id))
        self._pending.append(pending)
        return pending

    def _key(self, queue: str) -> QueueKey:
        __tracebackhide__ = True
        key = queue_key_from_url(queue, self._region)
        if key is None:
            raise SettingsError(f"{queue!r} is neither the URL nor the name of a queue.")
        return key

    def _queue_url(self, queue: str) -> str:
        """The URL of a queue that is given by URL or by name. It is created when it is missing."""
        __tracebackhide__ = True
        if "://" in queue:
            return queue
        try:
            found = self.call(GetQueueUrlRequest(queue_name=queue))
        except SqsError as error:
            if error.fault is not QUEUE_DOES_NOT_EXIST:
                raise
            return self.create_queue(queue, MessageRetentionPeriod=MESSAGE_RETENTION_SECONDS_MAX)
        return cast("GetQueueUrlResult", found).queue_url

    def _call(self, request: AnyRequest, caller: Caller) -> AnyResult:
        __tracebackhide__ = True
        return self._ask(lambda broker: broker.call(request, caller))

    def _caller(self) -> Caller:
        return Caller(DEFAULT_ACCOUNT_ID, self._region, self.endpoint_url)

    def _take_turn(self) -> None:
        """The broker does what is due whenever it is asked something, before it answers."""
        self.call(ListQueuesRequest(max_results=1))

    def _queue_keys(self) -> set[QueueKey]:
        async def view(broker: Broker) -> list[QueueView]:
            return broker.view_queues()

        return {QueueKey(view.region, view.account_id, view.name) for view in self._ask(view)}

    def _close_clients(self) -> None:
        for client in self._clients:
            client.close()
        self._clients = []


@cache
def _session() -> Session:
    """One session for all clients: it reads its model of SQS once."""
    return Session()
