"""The HTTP endpoint of a broker."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from ssl import SSLContext
from urllib.parse import quote

from msgspec.structs import replace

from forebay.broker.access import Access, Identity
from forebay.broker.auto_create import creation_of, named_queue
from forebay.broker.broker import Broker
from forebay.broker.callers import Callers
from forebay.broker.connection import Exchange, HttpConnection, Service
from forebay.broker.core.engine import Caller
from forebay.broker.core.message import State
from forebay.broker.faults import FaultySubmit
from forebay.broker.head import Call, Head, RememberedHeads
from forebay.broker.http import Answers, with_headers
from forebay.broker.localstack import is_look, look_call, read_look
from forebay.broker.origins import Origins, preflight
from forebay.broker.pages import METRICS, RESET, is_page, permission_for, show
from forebay.broker.policy import Context
from forebay.broker.polls import Answer, ParkedPoll
from forebay.broker.request_log import (
    REFUSALS_TOGETHER_S,
    Refusals,
    RequestLog,
    logs_every_request,
)
from forebay.clock import Clock, SystemClock
from forebay.errors import AddressInUse, ForebayError
from forebay.protocol import awsquery, errors
from forebay.protocol.actions import (
    ACTION_OF,
    ACTIONS,
    AnyRequest,
    DeleteQueueRequest,
    GetQueueAttributesRequest,
    GetQueueUrlRequest,
    ListDeadLetterSourceQueuesRequest,
    ListMessageMoveTasksRequest,
    ListQueuesRequest,
    ListQueueTagsRequest,
    ReceiveMessageRequest,
    add_trace_header,
)
from forebay.protocol.awsjson import TARGET_HEADER, TARGET_PREFIX, decode_request
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import QueueKey, queue_url
from forebay.protocol.sigv4_verify import HttpRequest

#: How long a connection may be idle, or take over one request, before it is closed, in seconds.
#: nginx keeps 75, and SDKs open a new connection when they find one closed.
IDLE_S = 75

#: Time between two looks for idle connections, in seconds.
_IDLE_CHECK_S = 15

#: How long `stop` waits for clients to take their last answers, in seconds.
_STOP_S = 5.0

#: Connections at a time; each may hold a request body of the largest size.
CONNECTIONS_MAX = 20_000

#: Connections that may wait to be accepted: a spike of clients arrives at once.
_BACKLOG = 4_096

_TARGET = TARGET_HEADER.lower().encode()

#: The header that becomes a message's AWSTraceHeader.
#: Source: SQSDeveloperGuide/sqs-message-metadata.html
_TRACE_HEADER = b"x-amzn-trace-id"

#: The requests that change nothing, and may therefore come as an unsigned GET.
_READING = (
    GetQueueAttributesRequest,
    GetQueueUrlRequest,
    ListDeadLetterSourceQueuesRequest,
    ListMessageMoveTasksRequest,
    ListQueueTagsRequest,
    ListQueuesRequest,
)

#: What OPTIONS answers to who is no web page of another site.
_ALLOW = b"Allow: GET, POST, OPTIONS\r\n"

_ACTIONS = {(TARGET_PREFIX + name).encode(): name for name in ACTIONS}


class HttpServer:
    """Serves a broker on a TCP port, in both protocols of SQS and with a few pages of its own.

    With `access` that has keys, every request but /health must be signed. With `tls` it speaks
    HTTPS only. `origins` says which web pages and host names may use it: none but its own unless
    given. More than `connections_max` connections at a time are turned away. `faults` is for tests
    of clients.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        access: Access | None = None,
        origins: Origins | None = None,
        tls: SSLContext | None = None,
        connections_max: int = CONNECTIONS_MAX,
        faults: FaultySubmit | None = None,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._broker = broker
        self._access = access or Access()
        self._open = not self._access.has_keys
        self._origins = origins or Origins()
        self._tls = tls
        self._scheme = "http" if tls is None else "https"
        self._connections_max = connections_max
        self._clock = clock or SystemClock()
        self._faults = faults
        self._answers = Answers(entropy(16))
        self._answers.set_date(self._clock.wall_ms())
        self._callers = Callers(self._scheme, broker.region)
        self._heads = RememberedHeads()
        self._refusals = Refusals()
        self._service: Service = RequestLog(self) if logs_every_request() else self
        self._connections: set[HttpConnection] = set()
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Future[None] | None = None
        self._ticks = 0
        self.stopping = False
        #: Scheme, host and port, once the server listens.
        self.endpoint_url = ""

    async def start(self, host: str, port: int) -> None:
        """Listen. Port 0 takes a free one.

        Raises AddressInUse when the port is taken, and ForebayError when the address is not ours.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self.connection,
                host,
                port,
                ssl=self._tls,
                backlog=_BACKLOG,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(
                    f"Port {port} of {host} is taken by another process."
                    " Stop it or choose another --port."
                ) from error
            raise ForebayError(
                f"Cannot listen on port {port} of {host}: {error}. Choose another --host or --port."
            ) from error
        self._origins.listen(host, [socket.getsockname()[0] for socket in self._server.sockets])
        port = self._server.sockets[0].getsockname()[1]
        host = f"[{host}]" if ":" in host else host
        self.endpoint_url = f"{self._scheme}://{host}:{port}"
        self._tick()

    def connection(self) -> HttpConnection:
        """A connection that a transport is to be given to."""
        return HttpConnection(self._service, self._answers, self._heads)

    async def stop(self) -> None:
        """Accept nobody, close the broker, and see its last answers off."""
        self.stopping = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        await self._broker.close()
        if self._connections:
            self._all_closed = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(self._all_closed, _STOP_S)
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
        self._refusals.sum_up()
        if self._ticker is not None:
            self._ticker.cancel()

    def handle(self, exchange: Exchange, head: Head, body: bytes) -> None:
        """Answer AWS JSON where a POST names an action in a header, and the Query protocol else."""
        call = head.call
        try:
            if call is not None:
                request, caller = decode_request(call.action, body), call.caller
            else:
                read = self._read(exchange, head, body)
                if read is None:
                    return
                request, caller = read
        except SqsError as error:
            exchange.reply(error)
            return
        if self._faults is None:
            exchange.poll = self._broker.submit(request, caller, exchange.reply)
        else:
            exchange.poll = self._faults.submit(
                request, caller, exchange.reply, exchange.connection.abort
            )

    def refused(self, exchange: Exchange, error: SqsError) -> None:
        self._refusals.note(exchange, error)

    def address(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None:
        # A page that is not let in learns nothing of the refusal.
        with suppress(SqsError):
            exchange.lines = self._origins.let_in(headers, self._scheme)

    def abandon(self, poll: ParkedPoll) -> bool:
        return self._broker.abandon(poll)

    def resume(self, poll: ParkedPoll) -> ParkedPoll | None:
        return self._broker.resume(poll)

    def opened(self, connection: HttpConnection) -> None:
        self._connections.add(connection)
        if len(self._connections) > self._connections_max:
            connection.abort()

    def closed(self, connection: HttpConnection) -> None:
        self._connections.discard(connection)
        if self._all_closed is not None and not self._connections and not self._all_closed.done():
            self._all_closed.set_result(None)

    def _read(
        self, exchange: Exchange, head: Head, body: bytes
    ) -> tuple[AnyRequest, Caller] | None:
        """What is asked for, and who asks; None when that is answered. Raises SqsError.

        Where nobody has to sign and no web page asks, what the head says is kept with it.
        """
        headers = head.headers
        target = headers.get(_TARGET)
        path, _, query = head.url.partition(b"?")
        is_call = target is not None and head.method == b"POST"
        shows_page = not is_call and is_page(path) and head.method == b"GET"
        query_call = None
        looks = is_look(path)
        if looks and not is_call:
            exchange.query = look_call(headers.get(b"accept", b""))
        elif not is_call and not shows_page:
            query_call = awsquery.decode(
                head.url, headers.get(b"content-type", b""), headers.get(b"accept", b""), body
            )
            exchange.action = query_call.action
            exchange.query = query_call
        exchange.lines = lines = self._origins.let_in(headers, self._scheme)
        if head.method == b"OPTIONS":
            answer = self._answers.page(200, "text/plain", b"", keep_alive=exchange.keep_alive)
            exchange.respond(with_headers(answer, preflight(headers) if lines else _ALLOW))
            return None
        if looks:
            self._look(exchange, head, body)
            return None
        if path == RESET:
            self._reset(exchange, head, body)
            return None
        if shows_page:
            self._show(exchange, path, query, headers, head.url)
            return None
        identity = self._authenticate(head.method, head.url, headers, body)
        action = None
        if query_call is not None:
            if isinstance(query_call.request, SqsError):
                raise query_call.request
            request = query_call.request
            if identity is None and head.method != b"POST":
                _check_may_come_unsigned(request, headers)
        else:
            action = _ACTIONS.get(target or b"")
            if action is None:
                raise _unknown_action(target or b"")
            request = decode_request(action, body)
        if identity is not None:
            self._authorize(exchange, identity, request)
        trace_header = headers.get(_TRACE_HEADER)
        if trace_header is not None:
            add_trace_header(request, trace_header.decode("latin-1"))
        caller = self._callers.caller(path, query, headers, identity, self.endpoint_url)
        if self._broker.auto_create and (identity is not None or head.method != b"POST"):
            self._check_creation(exchange, headers, identity, request, caller)
        if action is not None and identity is None and trace_header is None and not lines:
            head.call = Call(action, caller)
        return request, caller

    def _authenticate(
        self, method: bytes, url: bytes, headers: dict[bytes, bytes], body: bytes
    ) -> Identity | None:
        if self._open:
            return None
        return self._access.authenticate(
            HttpRequest(method, url, headers, body), self._clock.wall_ms()
        )

    def _authorize(self, exchange: Exchange, identity: Identity, request: AnyRequest) -> None:
        context = Context(
            exchange.connection.peer_ip, secure=self._tls is not None, wall_ms=self._clock.wall_ms()
        )
        self._access.authorize(identity, request, self._broker.find_queue, context)

    def _check_creation(
        self,
        exchange: Exchange,
        headers: Mapping[bytes, bytes],
        identity: Identity | None,
        request: AnyRequest,
        caller: Caller,
    ) -> None:
        """Refuse a request that brings its queue into being where it may not create it.

        `identity` is None for an unsigned GET.
        """
        key = named_queue(request, caller)
        if key is None or self._broker.find_queue(key) is not None:
            return
        creation = creation_of(key)
        if identity is None:
            _check_may_come_unsigned(creation, headers)
        elif key.account_id != identity.principal.account_id:
            raise SqsError(errors.QUEUE_DOES_NOT_EXIST)
        else:
            self._authorize(exchange, identity, creation)

    def _show(
        self,
        exchange: Exchange,
        path: bytes,
        query: bytes,
        headers: dict[bytes, bytes],
        url: bytes,
    ) -> None:
        permission = permission_for(path, query)
        if path == METRICS and self._access.shows_metrics(headers.get(b"authorization", b"")):
            permission = None
        identity = None
        if permission is not None:
            identity = self._authenticate(b"GET", url, headers, b"")
            if identity is not None:
                self._authorize(exchange, identity, permission)
        caller = self._callers.caller(b"/", query, headers, identity, self.endpoint_url)
        page = show(self._broker, path, query, caller)
        exchange.respond(
            self._answers.page(
                page.status, page.content_type, page.body, keep_alive=exchange.keep_alive
            )
        )

    def _look(self, exchange: Exchange, head: Head, body: bytes) -> None:
        """Show messages as LocalStack does, to an SDK that receives from there as well."""
        path, _, query = head.url.partition(b"?")
        target = head.headers.get(_TARGET)
        if target is None:
            wanted = read_look(path, query, body)
        else:
            received = decode_request("ReceiveMessage", body)
            assert isinstance(received, ReceiveMessageRequest)
            action = b"Action=" + target.rpartition(b".")[2]
            named = b"QueueUrl=" + quote(received.queue_url).encode()
            wanted = read_look(path, query, action, named)
        identity = self._authenticate(head.method, head.url, head.headers, body)
        caller = self._callers.caller(b"/", query, head.headers, identity, self.endpoint_url)
        if wanted.region is not None:
            caller = replace(caller, region=wanted.region)
        if identity is not None:
            url = wanted.queue_url
            self._authorize(exchange, identity, ReceiveMessageRequest(queue_url=url))
        states = {State.VISIBLE}
        states |= {State.IN_FLIGHT} if wanted.invisible else set()
        states |= {State.DELAYED} if wanted.delayed else set()
        exchange.reply(self._broker.look(wanted.queue_url, caller, frozenset(states)))

    def _reset(self, exchange: Exchange, head: Head, body: bytes) -> None:
        """Delete everything that the caller may delete: all of its account, else all there is."""
        if head.method != b"POST":
            raise SqsError(errors.INVALID_ACTION, "Send /_forebay/reset as a POST.")
        identity = self._authenticate(head.method, head.url, head.headers, body)
        account_id = None
        if identity is not None:
            account_id = identity.principal.account_id
            self._authorize(exchange, identity, ListQueuesRequest())
            for queue in self._broker.view_queues():
                if queue.account_id == account_id:
                    key = QueueKey(queue.region, queue.account_id, queue.name)
                    url = queue_url(f"https://sqs.{queue.region}.amazonaws.com", key)
                    self._authorize(exchange, identity, DeleteQueueRequest(queue_url=url))
        self._broker.reset(account_id, lambda answer: self._answer_reset(exchange, answer))

    def _answer_reset(self, exchange: Exchange, answer: Answer) -> None:
        if isinstance(answer, SqsError):
            exchange.reply(answer)
        else:
            exchange.respond(
                self._answers.page(200, "application/json", b"{}", keep_alive=exchange.keep_alive)
            )

    def _tick(self) -> None:
        """Keep the date of the answers, and close the connections that have been idle too long."""
        self._ticker = asyncio.get_running_loop().call_later(1, self._tick)
        self._answers.set_date(self._clock.wall_ms())
        self._ticks += 1
        if self._ticks % REFUSALS_TOGETHER_S == 0:
            self._refusals.sum_up()
        if self._ticks % _IDLE_CHECK_S == 0:
            for connection in list(self._connections):
                connection.idle_checks = connection.idle_checks + 1 if connection.idle else 0
                if connection.idle_checks * _IDLE_CHECK_S > IDLE_S:
                    connection.abort()


def _check_may_come_unsigned(request: AnyRequest, headers: Mapping[bytes, bytes]) -> None:
    """A GET without a signature may be a picture in some web page, or a link in a mail.

    A signature in the URL counts for nothing where it is not checked: the page may have made it up.
    """
    if not isinstance(request, _READING) and b"authorization" not in headers:
        raise SqsError(
            errors.MISSING_AUTHENTICATION_TOKEN,
            f"{ACTION_OF[type(request)].name} changes something. Send it as a POST, or with an"
            " Authorization header: without either, any web page or link could have asked for it.",
        )


def _unknown_action(target: bytes) -> SqsError:
    return SqsError(
        errors.UNKNOWN_OPERATION,
        f"The action {target.decode(errors='replace')} is not known here. This broker knows"
        f" {', '.join(sorted(ACTIONS))}.",
    )
