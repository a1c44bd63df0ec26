"""A broker for tests. The pytest plugin hands it out; any other test runner can use it as well."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from botocore.session import Session

from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.core.engine import Caller, MessageView, QueueView
from forebay.broker.core.views import PEEK_MESSAGES_MAX
from forebay.broker.embedded import EmbeddedBroker
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.server import HttpServer
from forebay.client.http import HttpSqsClient
from forebay.clock import SystemClock
from forebay.errors import Closed, SettingsError
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    CreateQueueRequest,
    CreateQueueResult,
    DeleteQueueRequest,
    ListQueuesRequest,
)
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import (
    DEFAULT_ACCOUNT_ID,
    DEFAULT_REGION,
    FIFO_SUFFIX,
    QueueKey,
    queue_arn,
    queue_key_from_url,
    queue_url,
)
from forebay.protocol.sigv4 import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mypy_boto3_sqs import SQSClient

T = TypeVar("T")

#: What signs the requests of tests. It opens nothing, on AWS or elsewhere.
_CREDENTIALS = Credentials("test", "test")


class VirtualClock:
    """The machine's clock, until a test puts it forward.

    It runs on in between, so that a long poll on an empty queue ends as it always does.
    """

    def __init__(self, moved: Callable[[], None]) -> None:
        self._machine = SystemClock()
        self._ahead_ms = 0
        self._moved = moved

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Put the broker's clock forward.

        When this returns, all that fell due has happened: visibility timeouts and delays have
        ended, and what was kept for too long is gone. Raises SettingsError when the time is
        negative.
        """
        duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if duration < timedelta():
            raise SettingsError(f"A clock cannot be put back; {duration} is below 0.")
        self._ahead_ms += duration // timedelta(milliseconds=1)
        self._moved()

    def wall_ms(self) -> int:
        return self._machine.wall_ms() + self._ahead_ms

    def monotonic_ms(self) -> int:
        return self._machine.monotonic_ms() + self._ahead_ms

    async def sleep(self, duration_s: float) -> None:
        await self._machine.sleep(duration_s)


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

    @property
    def clock(self) -> VirtualClock:
        """What puts the broker's time forward. Raises SettingsError when it was not asked for."""
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

    def create_queue(self, name: str, **attributes: str | int | bool | Mapping[str, object]) -> str:
        """Create a queue and return its URL.

        Attributes have SQS's names, and values as Python has them: VisibilityTimeout=5,
        ContentBasedDeduplication=True, RedrivePolicy={"deadLetterTargetArn": broker.arn(dead),
        "maxReceiveCount": 3}. A name that ends in .fifo makes a FIFO queue. Raises SqsError.
        """
        wanted = {key: _attribute_text(value) for key, value in attributes.items()}
        if name.endswith(FIFO_SUFFIX):
            wanted.setdefault("FifoQueue", "true")
        answer = self.call(CreateQueueRequest(queue_name=name, attributes=wanted))
        return cast("CreateQueueResult", answer).queue_url

    def arn(self, queue_url: str) -> str:
        """The ARN of a queue, as redrive policies want it."""
        key = queue_key_from_url(queue_url, self._region)
        if key is None:
            raise SettingsError(f"{queue_url!r} is not the URL of a queue.")
        return queue_arn(key)

    def messages(self, queue_url: str) -> list[MessageView]:
        """The oldest thousand messages of a queue, whatever their state, without receiving them.

        Raises SqsError when there is no such queue.
        """

        async def peek(broker: Broker) -> list[MessageView]:
            return broker.peek(queue_url, self._caller(), PEEK_MESSAGES_MAX)

        return self._ask(peek)

    def call(self, request: AnyRequest) -> AnyResult:
        """Carry out any SQS request. Raises SqsError when the broker refuses it."""
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

        Queues from before the block stay, with what the block has left in them.
        """
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
        self._broker = Broker(
            MemoryJournal(),
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

    def _ask(self, question: Callable[[Broker], Coroutine[Any, Any, T]]) -> T:
        """Ask the broker something on its own loop, from any other thread."""
        if self._broker is None or self._loop is None:
            raise Closed("The broker does not run. Call start(), or use it in a `with`.")
        return asyncio.run_coroutine_threadsafe(question(self._broker), self._loop).result()

    def _call(self, request: AnyRequest, caller: Caller) -> AnyResult:
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


def _attribute_text(value: str | int | bool | Mapping[str, object]) -> str:
    """An attribute's value as SQS takes it: a text, whatever it means."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


@cache
def _session() -> Session:
    """One session for all clients: it reads its model of SQS once."""
    return Session()
