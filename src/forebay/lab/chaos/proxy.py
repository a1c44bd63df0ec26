"""The HTTP endpoint of the proxy: what clients take for SQS."""

from __future__ import annotations

from forebay.broker.callers import Callers
from forebay.broker.connection import Exchange
from forebay.broker.core.engine import Caller
from forebay.broker.faults import FaultySubmit
from forebay.broker.head import Head
from forebay.broker.listener import Listener
from forebay.broker.origins import Origins
from forebay.broker.polls import ParkedPoll
from forebay.broker.reading import (
    check_may_come_unsigned,
    give_trace,
    is_json_call,
    read_json,
    read_query,
)
from forebay.lab.chaos.forwarder import Forwarder
from forebay.protocol.actions import AnyRequest
from forebay.protocol.errors import REQUEST_THROTTLED, SERVICE_UNAVAILABLE, SqsError
from forebay.protocol.identifiers import DEFAULT_REGION


class ChaosProxy(Listener):
    """Reads requests as the broker does, and has them carried out elsewhere, with faults.

    Signatures are not checked. Web pages and foreign host names are refused: this process signs
    what it passes on.
    """

    def __init__(
        self, forwarder: Forwarder, faults: FaultySubmit, *, origins: Origins | None = None
    ) -> None:
        super().__init__(origins=origins)
        self._forwarder = forwarder
        self._faults = faults
        self._callers = Callers(self._scheme, DEFAULT_REGION)

    def handle(self, exchange: Exchange, head: Head, body: bytes) -> None:
        """Answer AWS JSON, the Query protocol, and `GET /health`."""
        if head.method == b"GET" and head.url == b"/health":
            page = self._answers.page(
                200, "application/json", b'{"status":"ok"}', keep_alive=exchange.keep_alive
            )
            exchange.respond(page)
            return
        try:
            request, caller = self._read(exchange, head, body)
        except SqsError as error:
            exchange.reply(error)
            return
        exchange.poll = self._faults.submit(
            request, caller, exchange.reply, exchange.connection.abort
        )

    def refused(self, exchange: Exchange, error: SqsError) -> None:
        # The ledger counts the first, and the forwarder says once that nobody answers.
        if error.fault not in {REQUEST_THROTTLED, SERVICE_UNAVAILABLE}:
            super().refused(exchange, error)

    def abandon(self, poll: ParkedPoll) -> bool:
        return self._forwarder.abandon(poll)

    def resume(self, poll: ParkedPoll) -> ParkedPoll | None:
        return self._forwarder.resume(poll)

    async def _end_service(self) -> None:
        self._faults.close()
        await self._forwarder.close()

    def _read(self, exchange: Exchange, head: Head, body: bytes) -> tuple[AnyRequest, Caller]:
        query = None if is_json_call(head) else read_query(head, body)
        if query is not None:
            exchange.action = query.action
            exchange.query = query
        exchange.lines = self._origins.let_in(head.headers, self._scheme)
        if query is None:
            _, request = read_json(head, body)
        elif isinstance(query.request, SqsError):
            raise query.request
        else:
            request = query.request
            if head.method != b"POST":
                check_may_come_unsigned(request, head.headers)
        give_trace(request, head.headers)
        path, _, parameters = head.url.partition(b"?")
        caller = self._callers.caller(path, parameters, head.headers, None, self.endpoint_url)
        return request, caller
