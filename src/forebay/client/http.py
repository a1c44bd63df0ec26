"""SQS over HTTP: the embedded broker or AWS, by endpoint URL."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from msgspec.structs import replace

from forebay.backoff import jitter
from forebay.client.base import SqsClient, attempt_timeout_s
from forebay.client.clock_skew import service_time_ms
from forebay.client.credentials import CredentialChain
from forebay.client.endpoint import Endpoint, resolve_endpoint
from forebay.client.heads import Head
from forebay.client.pool import Pool
from forebay.client.retry import RetryPolicy
from forebay.clock import Clock, SystemClock
from forebay.errors import Closed, ForebayError, ServiceUnreachable, SettingsError
from forebay.number_settings import require_number
from forebay.protocol import awsjson
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    ReceiveMessageRequest,
    SendMessageBatchRequest,
    SendMessageRequest,
)
from forebay.protocol.errors import SERIALIZATION_EXCEPTION, SqsError
from forebay.protocol.identifiers import FIFO_SUFFIX, message_id
from forebay.protocol.sigv4 import Credentials

_log = logging.getLogger(__name__)

#: How long one attempt may take unless the call says otherwise, in seconds. A durable send takes
#: milliseconds; a service that is silent for this long is not going to answer.
CALL_TIMEOUT_S = 5.0

#: How many queues' endpoints are remembered at once.
_ENDPOINTS_MAX = 10_000


class HttpSqsClient(SqsClient):
    """A signed SQS client that survives an outage as long as its retry policy says.

    Without `endpoint_url`, in the environment either, it speaks to where the queue's URL is, or to
    AWS in the region; the region comes from the argument, the environment or the queue's URL.
    Without `credentials` it uses botocore's chain, and signs with a stand-in when the endpoint is
    local and the chain finds nothing. At most `connections` calls are under way at once; more wait,
    and the wait counts in their timeout. Use it in one event loop at a time.

    Transport failures, answers of 500 and above and throttling are tried again: a send may
    therefore be carried out twice, which a FIFO queue collapses by its deduplication id. A receive
    from a FIFO queue carries a ReceiveRequestAttemptId, so that a repeated one gets the messages
    whose answer was lost. When SQS refuses a signature because this machine's clock is wrong,
    signatures go by SQS's from then on.
    """

    def __init__(
        self,
        endpoint_url: str | None = None,
        *,
        region: str | None = None,
        credentials: Credentials | None = None,
        retry: RetryPolicy | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
        connections: int = 128,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        executor: Executor | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Raises SettingsError when a setting is out of range or `endpoint_url` is no URL."""
        for name, value in (("timeout_s", timeout_s), ("connections", connections)):
            require_number(f"HttpSqsClient {name}", value)
            if value <= 0:
                raise SettingsError(f"HttpSqsClient {name} is {value}; it must be above 0.")
        self._endpoint_url = endpoint_url
        self._region = region
        self._environment = environment
        self._credentials = credentials
        self._retry = retry or RetryPolicy()
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._entropy = entropy
        self._executor = executor
        self._endpoints: dict[str | None, Endpoint] = {}
        self._chains: dict[bool, CredentialChain] = {}
        self._heads: dict[tuple[str, str], Head] = {}
        self._pool = Pool(connections)
        #: How far this machine's clock is behind SQS's, where that has refused a signature for it.
        self._behind_ms = 0
        self._closed = False
        if endpoint_url is not None:
            resolve_endpoint(endpoint_url, region, environment)

    async def call(
        self,
        request: AnyRequest,
        *,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AnyResult:
        """Besides what SqsClient says: raises Closed, SettingsError and NoCredentials."""
        endpoint = self._endpoint(getattr(request, "queue_url", None))
        timeout_s = attempt_timeout_s(request, self._timeout_s if timeout_s is None else timeout_s)
        if isinstance(request, ReceiveMessageRequest):
            request = self._named(request)
        action, body = _encode(request)
        repeatable = _is_repeatable(request)
        retry = retry or self._retry
        attempt = 0
        timed_anew = False
        failing_since_ms: int | None = None
        while True:
            self._check_open()
            attempt += 1
            try:
                return await self._attempt(endpoint, action, body, timeout_s, repeatable=repeatable)
            except ForebayError as error:
                self._check_open()
                if not timed_anew and self._goes_by_time_of(error):
                    timed_anew = True
                    continue
                now_ms = self._clock.monotonic_ms()
                if failing_since_ms is None:
                    failing_since_ms = now_ms
                delay_ms = retry.decide(
                    attempt, error, now_ms - failing_since_ms, jitter(self._entropy)
                )
                if delay_ms is None:
                    raise
            await self._clock.sleep(delay_ms / 1000)

    @property
    def place(self) -> str:
        return self._endpoint(None).url

    async def close(self) -> None:
        self._closed = True
        await self._pool.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("The SQS client was closed; make a new one.")

    async def _attempt(
        self,
        endpoint: Endpoint,
        action: str,
        body: bytes,
        timeout_s: float,
        *,
        repeatable: bool,
    ) -> AnyResult:
        try:
            credentials = self._credentials or await self._chain(endpoint).current(timeout_s)
            head = self._heads.get((endpoint.url, action))
            if head is None or head.credentials is not credentials:
                head = self._heads[endpoint.url, action] = Head(endpoint, action, credentials)
            answer = await self._pool.exchange(
                endpoint.address,
                head.request(body, self._clock.wall_ms() + self._behind_ms),
                deadline_s=asyncio.get_running_loop().time() + timeout_s,
                repeatable=repeatable,
            )
        except ForebayError:
            raise
        except Exception as error:
            raise _unreachable(endpoint, action, timeout_s, error) from error
        if answer.status == 200:
            return awsjson.decode_result(action, answer.body)
        raise awsjson.decode_error(answer.status, answer.query_error, answer.body)

    def _goes_by_time_of(self, error: ForebayError) -> bool:
        """Sign with SQS's time from now on, if that is what the error is about."""
        service_ms = service_time_ms(error)
        if service_ms is None:
            return False
        self._behind_ms = service_ms - self._clock.wall_ms()
        _log.warning(
            "The clock of this machine is %.0f s %s that of %s, which refuses its signatures. They"
            " are made with that time now; set the clock.",
            abs(self._behind_ms) / 1000,
            "behind" if self._behind_ms > 0 else "ahead of",
            self.place,
        )
        return True

    def _endpoint(self, queue_url: str | None) -> Endpoint:
        endpoint = self._endpoints.get(queue_url)
        if endpoint is None:
            if len(self._endpoints) >= _ENDPOINTS_MAX:
                self._endpoints.clear()
            endpoint = resolve_endpoint(
                self._endpoint_url, self._region, self._environment, queue_url
            )
            self._endpoints[queue_url] = endpoint
        return endpoint

    def _chain(self, endpoint: Endpoint) -> CredentialChain:
        chain = self._chains.get(endpoint.local)
        if chain is None:
            chain = CredentialChain(local=endpoint.local, executor=self._executor)
            self._chains[endpoint.local] = chain
        return chain

    def _named(self, request: ReceiveMessageRequest) -> ReceiveMessageRequest:
        if request.receive_request_attempt_id or not request.queue_url.endswith(FIFO_SUFFIX):
            return request
        return replace(request, receive_request_attempt_id=message_id(self._entropy(16)))


def _is_repeatable(request: AnyRequest) -> bool:
    """Whether a request that was perhaps carried out may be made again without being asked.

    Any but sending: to a standard queue that would send twice.
    """
    if isinstance(request, SendMessageRequest | SendMessageBatchRequest):
        return request.queue_url.endswith(FIFO_SUFFIX)
    return True


def _encode(request: AnyRequest) -> tuple[str, bytes]:
    try:
        return awsjson.encode_request(request)
    except (TypeError, ValueError) as error:
        raise SqsError(
            SERIALIZATION_EXCEPTION, f"The request cannot be written as JSON: {error}."
        ) from error


def _unreachable(
    endpoint: Endpoint, action: str, timeout_s: float, error: Exception
) -> ServiceUnreachable:
    what = f"{action} at {endpoint.url} failed: "
    if isinstance(error, ssl.SSLError):
        return ServiceUnreachable(
            f"{what}no trusted TLS connection: {error}. Name the certificate's authority with"
            " SSL_CERT_FILE, or check that the endpoint speaks TLS."
        )
    reason = f"{error} in {timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
    advice = (
        "Check that the broker runs (`forebay serve`) and that this is its URL."
        if endpoint.local
        else "Check the endpoint URL, the region and the network."
    )
    return ServiceUnreachable(f"{what}{reason or type(error).__name__}. {advice}")
