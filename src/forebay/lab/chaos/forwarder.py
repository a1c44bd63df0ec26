"""Has the requests of clients carried out by another SQS."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from forebay.broker.core.engine import Caller, Wait
from forebay.broker.polls import Answer, ParkedPoll, Reply
from forebay.client.base import SqsClient
from forebay.client.endpoint import ENDPOINT_VARIABLES, region_of_url, resolve_endpoint
from forebay.client.http import HttpSqsClient
from forebay.client.retry import NO_RETRY
from forebay.clock import Clock
from forebay.errors import ForebayError
from forebay.lab.chaos.queue_urls import QueueUrls
from forebay.protocol.actions import AnyRequest, ReceiveMessageRequest, ReceiveMessageResult
from forebay.protocol.errors import SERVICE_UNAVAILABLE, SqsError
from forebay.protocol.limits import WAIT_TIME_SECONDS_MAX

#: How long the service may take over one call beside its wait for messages, in seconds. Clients
#: give up after 60 (botocore) or later.
_CALL_TIMEOUT_S = 30.0

#: Calls at once. Who may make how many is the clients' affair.
_CONNECTIONS = 10_000

#: How long `close` waits for the service, in seconds.
_STOP_S = 3.0

_log = logging.getLogger(__name__)


class Forwarder:
    """Makes one call for each request, with the credentials of this process.

    A client's own signature could not be passed on: it is made for the host that the client knows.
    Nothing is tried again; a service that does not answer is ServiceUnavailable, which every SDK
    tries again. `client` makes a client of the service for a region.

    Raises SettingsError when `endpoint_url` is no URL.
    """

    def __init__(
        self,
        endpoint_url: str,
        clock: Clock,
        *,
        region: str | None = None,
        client: Callable[[str], SqsClient] | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        resolve_endpoint(endpoint_url, region, environment)
        self._endpoint_url = endpoint_url
        self._clock = clock
        self._region = region or region_of_url(endpoint_url)
        self._environment = {
            name: value for name, value in environment.items() if name not in ENDPOINT_VARIABLES
        }
        self._make_client = client or self._http_client
        self._urls = QueueUrls(endpoint_url)
        self._clients: dict[str, SqsClient] = {}
        self._polls: dict[ParkedPoll, asyncio.Task[None]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._away = False

    def submit(self, request: AnyRequest, caller: Caller, reply: Reply) -> ParkedPoll | None:
        """As `Broker.submit`: every receive is a poll."""
        call = asyncio.get_running_loop().create_task(self._forward(request, caller, reply))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        if not isinstance(request, ReceiveMessageRequest):
            return None
        wait_s = request.wait_time_seconds
        wait_ms = 1000 * (WAIT_TIME_SECONDS_MAX if wait_s is None else wait_s)
        until_ms = self._clock.monotonic_ms() + wait_ms
        poll = ParkedPoll(request, caller, reply, Wait(queue_number=0, until_ms=until_ms))
        self._polls[poll] = call
        call.add_done_callback(lambda _: self._polls.pop(poll, None))
        return poll

    def abandon(self, poll: ParkedPoll) -> bool:
        """Let a poll take no message any more; False when it has its answer already.

        The service sees the end of the connection, as it would that of the client's.
        """
        call = self._polls.pop(poll, None)
        return call is not None and call.cancel()

    def resume(self, poll: ParkedPoll) -> ParkedPoll | None:
        """Let an abandoned poll wait again, for as long as it would have."""
        assert isinstance(poll.request, ReceiveMessageRequest)
        left_ms = max(poll.until_ms - self._clock.monotonic_ms(), 0)
        request = replace(poll.request, wait_time_seconds=left_ms // 1000)
        return self.submit(request, poll.caller, poll.reply)

    async def close(self) -> None:
        """Answer the waiting polls empty, wait for the other calls, and let go of connections.

        A service that does not answer is not waited for for long.
        """
        for poll in list(self._polls):
            if self.abandon(poll):
                poll.reply(ReceiveMessageResult())
        if self._calls:
            _, unanswered = await asyncio.wait(self._calls, timeout=_STOP_S)
            for call in unanswered:
                call.cancel()
        for client in self._clients.values():
            await client.close()

    async def _forward(self, request: AnyRequest, caller: Caller, reply: Reply) -> None:
        region = self._region or caller.region
        answer: Answer
        try:
            there = self._urls.request_there(request, region)
            result = await self._client(region).call(there, retry=NO_RETRY)
            answer = self._urls.result_here(result, region, caller.endpoint_url)
        except SqsError as error:
            answer = error
        except ForebayError as error:
            self._note_absence(error)
            reply(SqsError(SERVICE_UNAVAILABLE, f"{self._endpoint_url} gives no answer."))
            return
        if self._away:
            self._away = False
            _log.info("%s answers again", self._endpoint_url)
        reply(answer)

    def _note_absence(self, error: ForebayError) -> None:
        if not self._away:
            self._away = True
            _log.warning("Clients are told to try again later (503). %s", error)

    def _client(self, region: str) -> SqsClient:
        client = self._clients.get(region)
        if client is None:
            client = self._clients[region] = self._make_client(region)
        return client

    def _http_client(self, region: str) -> SqsClient:
        return HttpSqsClient(
            self._endpoint_url,
            region=region,
            timeout_s=_CALL_TIMEOUT_S,
            connections=_CONNECTIONS,
            environment=self._environment,
        )
