"""The HTTP endpoint of a broker."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from ssl import SSLContext
from urllib.parse import quote

from msgspec.structs import replace

from forebay.broker.access import Access, Identity
from forebay.broker.auto_create import creation_of, named_queue
from forebay.broker.broker import Broker
from forebay.broker.callers import Callers
from forebay.broker.connection import Exchange
from forebay.broker.core.engine import Caller
from forebay.broker.core.message import State
from forebay.broker.faults import FaultySubmit
from forebay.broker.head import Call, Head
from forebay.broker.http import with_headers
from forebay.broker.listener import CONNECTIONS_MAX, Listener
from forebay.broker.localstack import is_look, look_call, read_look
from forebay.broker.origins import Origins, preflight
from forebay.broker.pages import METRICS, RESET, is_page, permission_for, show
from forebay.broker.policy import Context
from forebay.broker.polls import Answer, ParkedPoll
from forebay.broker.reading import (
    TARGET,
    check_may_come_unsigned,
    give_trace,
    is_json_call,
    read_json,
    read_query,
)
from forebay.clock import Clock
from forebay.protocol import errors
from forebay.protocol.actions import (
    AnyRequest,
    DeleteQueueRequest,
    ListQueuesRequest,
    ReceiveMessageRequest,
)
from forebay.protocol.awsjson import decode_request
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import QueueKey, queue_url
from forebay.protocol.sigv4_verify import HttpRequest

#: What OPTIONS answers to who is no web page of another site.
_ALLOW = b"Allow: GET, POST, OPTIONS\r\n"


class HttpServer(Listener):
    """Serves a broker on a TCP port, in both protocols of SQS and with a few pages of its own.

    With `access` that has keys, every request but /health must be signed. `faults` is for tests of
    clients. The rest is what a Listener takes.
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
        super().__init__(
            origins=origins, tls=tls, connections_max=connections_max, clock=clock, entropy=entropy
        )
        self._broker = broker
        self._access = access or Access()
        self._open = not self._access.has_keys
        self._faults = faults
        self._callers = Callers(self._scheme, broker.region)

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

    def abandon(self, poll: ParkedPoll) -> bool:
        return self._broker.abandon(poll)

    def resume(self, poll: ParkedPoll) -> ParkedPoll | None:
        return self._broker.resume(poll)

    async def _end_service(self) -> None:
        await self._broker.close()

    def _read(
        self, exchange: Exchange, head: Head, body: bytes
    ) -> tuple[AnyRequest, Caller] | None:
        """What is asked for, and who asks; None when that is answered. Raises SqsError.

        Where nobody has to sign and no web page asks, what the head says is kept with it.
        """
        headers = head.headers
        path, _, query = head.url.partition(b"?")
        is_call = is_json_call(head)
        shows_page = not is_call and is_page(path) and head.method == b"GET"
        query_call = None
        looks = is_look(path)
        if looks and not is_call:
            exchange.query = look_call(headers.get(b"accept", b""))
        elif not is_call and not shows_page:
            query_call = read_query(head, body)
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
                check_may_come_unsigned(request, headers)
        else:
            action, request = read_json(head, body)
        if identity is not None:
            self._authorize(exchange, identity, request)
        traced = give_trace(request, headers)
        caller = self._callers.caller(path, query, headers, identity, self.endpoint_url)
        if self._broker.auto_create and (identity is not None or head.method != b"POST"):
            self._check_creation(exchange, headers, identity, request, caller)
        if action is not None and identity is None and not traced and not lines:
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
            check_may_come_unsigned(creation, headers)
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
        target = head.headers.get(TARGET)
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
