"""Which handler gets which message, and its payload as the type that the handler asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple, TypeAlias, TypeVar, Unpack, overload

from forebay.errors import SettingsError, in_words
from forebay.messages.packing import PackError
from forebay.worker.codecs import ENVELOPE_OR_RAW, TEXT, Codec, Parcel
from forebay.worker.lease import Lease
from forebay.worker.outcomes import Reject, Retry
from forebay.worker.packs import PackReader, packed_type
from forebay.worker.payloads import payload_reader, type_name, why_not
from forebay.worker.received import Received
from forebay.worker.route import WITHIN_MS_DEFAULT, ParcelReader, Route, RouteOptions, new_route

T = TypeVar("T")

#: What a handler of one message says by returning. See Execution for other values.
Said: TypeAlias = Retry | Reject | None

#: What a handler of a batch says by returning: how the messages end that are not done.
BatchSaid: TypeAlias = Mapping[Received[Any], Exception | None] | Retry | Reject | None

#: What calling a handler gives: an async function an awaitable, a plain one what it says.
R = TypeVar("R", bound=Awaitable[Said] | Said)
BatchR = TypeVar("BatchR", bound=Awaitable[BatchSaid] | BatchSaid)

#: An async function, or a plain one, which runs in a thread.
Handler: TypeAlias = Callable[[Received[T]], R]
BatchHandler: TypeAlias = Callable[[list[Received[T]]], BatchR]

_Function = TypeVar("_Function", bound=Callable[[Any], Any])


class Routed(NamedTuple):
    route: Route
    received: Received[Any]


class _Other(Enum):
    """What a handler takes that is not registered for a type of message."""

    RAW = "plain JSON"
    TYPE = "messages of a type that has none of its own"
    DEFAULT = "what no other handler takes"


class Router:
    """Handlers by the type that the envelope names.

        router = Router()

        @router.handler("order", Order)
        async def decide(received: Received[Order]) -> None: ...

    A handler returns when its message is done. It raises or returns Reject or Retry to say
    otherwise; any other exception counts as a failure that may pass. `codec` says what a body is;
    None reads our envelope, an SNS notification, JSON and text.
    """

    def __init__(self, *, codec: Codec | None = None) -> None:
        self._codec = codec
        self._routes: dict[str | _Other, Route] = {}
        #: The routers that have included this one.
        self._parents: list[Router] = []

    @property
    def routes(self) -> list[Route]:
        """Every handler, each once."""
        return list(dict.fromkeys(self._routes.values()))

    @overload
    def handler(
        self, message_type: str, payload_type: type[T], **options: Unpack[RouteOptions]
    ) -> Callable[[Handler[T, R]], Handler[T, R]]: ...

    @overload
    def handler(
        self,
        message_type: str,
        payload_type: type[T],
        *,
        batch: int,
        within_ms: int = WITHIN_MS_DEFAULT,
        **options: Unpack[RouteOptions],
    ) -> Callable[[BatchHandler[T, BatchR]], BatchHandler[T, BatchR]]: ...

    def handler(
        self, message_type: str, payload_type: type[Any], **options: Any
    ) -> Callable[[_Function], _Function]:
        """Register the decorated function for a type of message.

        The payload is made a `payload_type`: a msgspec struct, a dataclass, a TypedDict, a plain
        type or a pydantic 2 model. A payload that does not fit is rejected.

        With Pack[T] the function takes packs, and plain envelopes as packs of one. A payload that
        does not fit T is then one of the pack's `bad` records.

        With `batch` the function gets a list of at most so many messages, gathered for at most
        `within_ms`. It returns None when all are done, or a mapping from the messages that are not
        to the exception of each; what it raises holds for all. On a FIFO queue the later messages
        of a group go back with the first that is not done.

        `timeout_s` bounds one call. An async function is cancelled then. What goes on nevertheless
        loses its place, and its message is not deleted for that.

        Raises SettingsError when the type has a handler already, when no JSON can be read as the
        payload type, and when an option is out of range.
        """
        if not isinstance(message_type, str):
            raise SettingsError(f"The message type of a handler is {message_type!r}; give a text.")
        if not message_type:
            raise SettingsError("The message type of a handler is empty; no envelope can name it.")
        return self._registering((message_type,), message_type, payload_type, options)

    @overload
    def raw(
        self, payload_type: type[T], **options: Unpack[RouteOptions]
    ) -> Callable[[Handler[T, R]], Handler[T, R]]: ...

    @overload
    def raw(
        self,
        payload_type: type[T],
        *,
        batch: int,
        within_ms: int = WITHIN_MS_DEFAULT,
        **options: Unpack[RouteOptions],
    ) -> Callable[[BatchHandler[T, BatchR]], BatchHandler[T, BatchR]]: ...

    def raw(self, payload_type: type[Any], **options: Any) -> Callable[[_Function], _Function]:
        """Register the decorated function for plain JSON, which has no envelope.

        A router has one such handler. With str as its payload type it takes any text, and of a
        JSON string what it says. For the rest it is as `handler`.
        """
        return self._registering((_Other.RAW,), "(raw)", payload_type, options)

    @overload
    def every(
        self, payload_type: type[T], **options: Unpack[RouteOptions]
    ) -> Callable[[Handler[T, R]], Handler[T, R]]: ...

    @overload
    def every(
        self,
        payload_type: type[T],
        *,
        batch: int,
        within_ms: int = WITHIN_MS_DEFAULT,
        **options: Unpack[RouteOptions],
    ) -> Callable[[BatchHandler[T, BatchR]], BatchHandler[T, BatchR]]: ...

    def every(self, payload_type: type[Any], **options: Any) -> Callable[[_Function], _Function]:
        """Register the decorated function for every message: one type of payload, however it comes.

        It gets plain JSON, as with `raw`, and the payload of an envelope whose type has no handler
        of its own. With Pack[T] it gets packs and envelopes, and no plain JSON.
        """
        return self._registering((_Other.RAW, _Other.TYPE), "(every)", payload_type, options)

    @overload
    def default(self, function: Handler[str, R], /) -> Handler[str, R]: ...

    @overload
    def default(
        self, function: None = None, /, **options: Unpack[RouteOptions]
    ) -> Callable[[Handler[str, R]], Handler[str, R]]: ...

    @overload
    def default(
        self,
        function: None = None,
        /,
        *,
        batch: int,
        within_ms: int = WITHIN_MS_DEFAULT,
        **options: Unpack[RouteOptions],
    ) -> Callable[[BatchHandler[str, BatchR]], BatchHandler[str, BatchR]]: ...

    def default(self, function: Any = None, /, **options: Any) -> Any:
        """Register the decorated function for what no other handler takes.

        That is text, plain JSON without a raw handler, and an envelope of a type that is not
        registered. The payload is the body as text, or the message in an SNS notification. Without
        a default handler such messages are rejected. It may be used with options, as `handler` has
        them, or without parentheses.
        """

        def register(function: _Function) -> _Function:
            self._add((_Other.DEFAULT,), new_route("(default)", function, options))
            return function

        return register if function is None else register(function)

    def include(self, other: Router) -> None:
        """Take the handlers of another router too, those that it gets later as well.

        The messages are read by the codec of this one. Raises SettingsError when both have a
        handler for the same messages, or when the other one has another codec.
        """
        if other is self or other in self._ancestors():
            raise SettingsError("A router cannot include itself.")
        if other._codec is not None and other._codec is not self._codec:
            raise SettingsError(
                "The included router has a codec of its own. Give both the same one, or serve them"
                " on two queues."
            )
        for key, route in other._routes.items():
            self._add((key,), route)
        other._parents.append(self)

    def route(self, lease: Lease) -> Routed:
        """The handler of a message, and the message as that handler sees it.

        Raises Reject when nobody takes it or its payload does not fit.
        """
        parcel, problem = self._open(lease)
        route = self._taker(parcel)
        if route is None:
            raise Reject(problem or self._why_not(parcel))
        envelope, pack = parcel.envelope, parcel.pack
        identifier, message_type, key = lease.message_id, None, None
        if envelope is not None:
            identifier, message_type, key = envelope.id, envelope.type, envelope.key
        elif pack is not None:
            identifier, message_type = pack.pack, pack.type
        return Routed(
            route,
            Received(
                id=identifier,
                type=message_type,
                key=key,
                payload=parcel.text if route.read is None else route.read(parcel),
                lease=lease,
                envelope=envelope,
                text=parcel.text,
                unwrapped=parcel.attributes,
            ),
        )

    def _open(self, lease: Lease) -> tuple[Parcel, str]:
        """What the body is, and why the codec could not read it, if it could not."""
        try:
            return (self._codec or ENVELOPE_OR_RAW)(lease.message), ""
        except PackError as error:
            # Whoever takes its header as text would take all that it holds for done.
            raise Reject(str(error)) from error
        except Exception as error:
            # A codec may be anybody's; what it makes of a strange body must not stop the worker.
            return TEXT(lease.message), in_words(error)

    def _taker(self, parcel: Parcel) -> Route | None:
        routes = self._routes
        if parcel.pack is not None:
            route = self._route_of(parcel.pack.type)
            return route if route is not None and route.takes_packs else None
        if parcel.envelope is not None:
            route = self._route_of(parcel.envelope.type)
        else:
            route = routes.get(_Other.RAW)
            if parcel.json is None and (route is None or route.payload_type_name != "str"):
                route = None
        return route or routes.get(_Other.DEFAULT)

    def _route_of(self, message_type: str) -> Route | None:
        return self._routes.get(message_type) or self._routes.get(_Other.TYPE)

    def _why_not(self, parcel: Parcel) -> str:
        if parcel.pack is not None:
            route = self._route_of(parcel.pack.type)
            wanted = "Pack[...]" if route is None else f"Pack[{route.payload_type_name}]"
            return (
                f"The message is a pack of {parcel.pack.events} {parcel.pack.type!r} envelopes, and"
                " no handler takes packs of that type. Register"
                f" {'one' if route is None else route.handler_name} with {wanted}."
            )
        if parcel.envelope is not None:
            known = ", ".join(repr(key) for key in self._routes if isinstance(key, str)) or "none"
            return (
                f"No handler is registered for messages of type {parcel.envelope.type!r}; there are"
                f" handlers for: {known}. Register one with @router.handler, or one for what no"
                " other takes with @router.default."
            )
        if parcel.json is not None:
            return (
                f"The body is JSON and not an envelope ({parcel.problem}), and no handler is"
                " registered for plain JSON. Register one with @router.raw, or one for what no"
                " other takes with @router.default."
            )
        return (
            f"The body is text, and not an envelope ({parcel.problem}), and no handler is"
            " registered for text. Register one with @router.default."
        )

    def _registering(
        self,
        keys: tuple[str | _Other, ...],
        name: str,
        payload_type: Any,
        options: Mapping[str, Any],
    ) -> Callable[[_Function], _Function]:
        of_packs = packed_type(payload_type)
        if of_packs is None:
            payload_name = type_name(payload_type)
            read = _payload_of(payload_type, payload_name)
        elif keys == (_Other.RAW,):
            raise SettingsError(
                "Plain JSON comes in no pack. Use @router.handler or @router.every."
            )
        else:
            keys = tuple(key for key in keys if key is not _Other.RAW)
            reader = PackReader(of_packs)
            payload_name, read = reader.type_name, reader.read

        def register(function: _Function) -> _Function:
            route = new_route(
                name,
                function,
                options,
                read=read,
                payload_type_name=payload_name,
                takes_packs=of_packs is not None,
            )
            self._add(keys, route)
            return function

        return register

    def _add(self, keys: tuple[str | _Other, ...], route: Route) -> None:
        routers = [self, *self._ancestors()]
        for key in keys:
            if any(router._routes.get(key, route) is not route for router in routers):
                what = repr(key) if isinstance(key, str) else key.value
                raise SettingsError(f"Two handlers are registered for {what}.")
        for router in routers:
            router._routes.update(dict.fromkeys(keys, route))

    def _ancestors(self) -> list[Router]:
        return [each for parent in self._parents for each in (parent, *parent._ancestors())]


def _payload_of(payload_type: Any, payload_name: str) -> ParcelReader:
    read_json = payload_reader(payload_type)

    def read(parcel: Parcel) -> Any:
        if parcel.json is None:
            return parcel.text
        try:
            return read_json(parcel.json)
        except Exception as error:
            if parcel.envelope is None and payload_name == "str":
                # Who asks for text means the text of a 5 or a {} too.
                return parcel.text
            # Whatever the type's own checks raise, the same payload would raise it again.
            what = f"this {parcel.envelope.type!r} message" if parcel.envelope else "this message"
            raise Reject(
                f"The payload of {what} does not fit {payload_name}: {why_not(error)}"
            ) from error

    return read
