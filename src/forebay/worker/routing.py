"""Which handler gets which message, and its payload as the type that the handler asked for."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder

from forebay.errors import SettingsError
from forebay.messages.envelope import Envelope, EnvelopeError, decode_envelope
from forebay.worker.lease import Lease
from forebay.worker.outcomes import Reject
from forebay.worker.received import Received

T = TypeVar("T")

#: What calling a handler gives: an async function an awaitable, a plain one nothing.
R = TypeVar("R", bound=Awaitable[None] | None)

#: An async function, or a plain one that runs in the worker's executor.
Handler: TypeAlias = Callable[[Received[T]], R]


class Route(Struct, frozen=True):
    """A handler and how its payload is read."""

    call: Callable[[Received[Any]], Any]
    #: Whether it is a plain function, which would hold up the event loop.
    plain: bool
    payload_type_name: str
    #: None for the default handler, which takes the body as it is.
    decoder: Decoder[Any] | None = None


class Routed(NamedTuple):
    route: Route
    received: Received[Any]


class Router:
    """Handlers by the type that the envelope names.

        router = Router()

        @router.handler("order", Order)
        async def decide(received: Received[Order]) -> None: ...

    A handler returns when its message is done. It raises Reject or Retry to say otherwise; any
    other exception counts as a failure that may pass.
    """

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self._default: Route | None = None

    def handler(
        self, message_type: str, payload_type: type[T]
    ) -> Callable[[Handler[T, R]], Handler[T, R]]:
        """Register the decorated function for a type of message.

        The payload is converted to `payload_type` by msgspec: a struct, a dataclass, a TypedDict or
        a plain type. A payload that cannot be converted is rejected. Raises SettingsError when the
        type has a handler already.
        """

        def register(function: Handler[T, R]) -> Handler[T, R]:
            if message_type in self._routes:
                raise SettingsError(f"Two handlers are registered for {message_type!r}.")
            self._routes[message_type] = Route(
                call=function,
                plain=_is_plain(function),
                payload_type_name=getattr(payload_type, "__name__", str(payload_type)),
                decoder=Decoder(payload_type),
            )
            return function

        return register

    def default(self, function: Handler[str, R]) -> Handler[str, R]:
        """Register the decorated function for what no other handler takes.

        That is a body without an envelope, or an envelope of a type that is not registered. The
        payload is the body as text. Without a default handler such messages are rejected.
        """
        if self._default is not None:
            raise SettingsError("Two default handlers are registered.")
        self._default = Route(call=function, plain=_is_plain(function), payload_type_name="text")
        return function

    def needs_executor(self) -> bool:
        """Whether a plain function is registered."""
        routes = [*self._routes.values(), *([self._default] if self._default else [])]
        return any(route.plain for route in routes)

    def route(self, lease: Lease, queue_url: str) -> Routed:
        """The handler of a message, and the message as that handler sees it.

        Raises Reject when nobody takes it or its payload does not fit.
        """
        body = lease.message.body
        try:
            envelope = decode_envelope(body)
        except EnvelopeError as error:
            if self._default is None:
                raise Reject(str(error)) from error
            return _by_default(self._default, None, lease, queue_url)
        route = self._routes.get(envelope.type)
        if route is None or route.decoder is None:
            if self._default is None:
                raise Reject(f"No handler is registered for messages of type {envelope.type!r}.")
            return _by_default(self._default, envelope, lease, queue_url)
        try:
            payload = route.decoder.decode(envelope.payload)
        except MsgspecError as error:
            raise Reject(
                f"The payload of this {envelope.type!r} message is not a"
                f" {route.payload_type_name}: {error}"
            ) from error
        return Routed(
            route,
            Received(
                id=envelope.id,
                type=envelope.type,
                key=envelope.key,
                payload=payload,
                queue_url=queue_url,
                lease=lease,
                envelope=envelope,
            ),
        )


def _by_default(route: Route, envelope: Envelope | None, lease: Lease, queue_url: str) -> Routed:
    message = lease.message
    return Routed(
        route,
        Received(
            id=message.message_id if envelope is None else envelope.id,
            type=None if envelope is None else envelope.type,
            key=None if envelope is None else envelope.key,
            payload=message.body,
            queue_url=queue_url,
            lease=lease,
            envelope=envelope,
        ),
    )


def _is_plain(function: Callable[..., Any]) -> bool:
    return not (
        inspect.iscoroutinefunction(function)
        or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
    )
