"""Which handler gets which message, and its payload as the type that the handler asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeAlias, TypedDict, TypeVar, Unpack, overload

from msgspec import MsgspecError, Struct

from forebay.errors import SettingsError, in_words
from forebay.number_settings import require_number
from forebay.protocol.limits import VISIBILITY_TIMEOUT_SECONDS_MAX
from forebay.worker.breaker import CircuitBreaker
from forebay.worker.codecs import ENVELOPE_OR_RAW, TEXT, Codec, Parcel
from forebay.worker.functions import check_handler, innermost, is_async
from forebay.worker.lease import Lease
from forebay.worker.limits import Limit
from forebay.worker.outcomes import Reject, Retry
from forebay.worker.payloads import PayloadError, PayloadReader, payload_reader, type_name
from forebay.worker.received import Received

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

#: Most messages that one call of a handler gets, and the longest time that they are gathered for.
#: Source: AWS Lambda's event source mapping for SQS, whose window is five minutes at most.
BATCH_MAX = 10_000
WITHIN_MS_MAX = 300_000

#: How long a batch is gathered when its handler does not say, in milliseconds.
WITHIN_MS_DEFAULT = 200

_Function = TypeVar("_Function", bound=Callable[[Any], Any])


class RouteOptions(TypedDict, total=False):
    """What every handler may be registered with."""

    #: How long one call may take, in seconds. None, the default, is any time.
    timeout_s: float | None
    #: How many of its calls may run, or start in a second, in all or by key.
    limits: Sequence[Limit]
    #: Keeps its messages waiting while it fails too often.
    breaker: CircuitBreaker | None


_OPTIONS = {"batch", "within_ms", *RouteOptions.__annotations__}


class Route(Struct, frozen=True, eq=False, kw_only=True):
    """A handler and how it wants its messages."""

    #: The type of message; in parentheses the name of a handler that no type of message names.
    name: str
    call: Callable[[Any], Any]
    #: Whether it is a plain function, which would hold up the event loop.
    plain: bool
    #: None for the default handler, which takes the text as it is.
    read: PayloadReader | None = None
    payload_type_name: str = "str"
    #: Most messages in one call; 0 hands over one at a time, outside of a list.
    batch: int = 0
    #: How long a batch is gathered at most, in milliseconds.
    within_ms: int = 0
    #: How long a call may take, in seconds; None for any time.
    timeout_s: float | None = None
    limits: tuple[Limit, ...] = ()
    breaker: CircuitBreaker | None = None

    @property
    def handler_name(self) -> str:
        """The handler's name in its module, for logs."""
        function = innermost(self.call)
        name: str = getattr(function, "__qualname__", type(function).__qualname__)
        return name


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
        of its own.
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
            self._add((_Other.DEFAULT,), _route("(default)", function, options))
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
        payload = parcel.text if route.read is None else _payload(route, route.read, parcel)
        envelope = parcel.envelope
        return Routed(
            route,
            Received(
                id=lease.message_id if envelope is None else envelope.id,
                type=None if envelope is None else envelope.type,
                key=None if envelope is None else envelope.key,
                payload=payload,
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
        except Exception as error:
            # A codec may be anybody's; what it makes of a strange body must not stop the worker.
            return TEXT(lease.message), in_words(error)

    def _taker(self, parcel: Parcel) -> Route | None:
        routes = self._routes
        if parcel.envelope is not None:
            route = routes.get(parcel.envelope.type) or routes.get(_Other.TYPE)
        else:
            route = routes.get(_Other.RAW)
            if parcel.json is None and (route is None or route.payload_type_name != "str"):
                route = None
        return route or routes.get(_Other.DEFAULT)

    def _why_not(self, parcel: Parcel) -> str:
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
        read = payload_reader(payload_type)

        def register(function: _Function) -> _Function:
            route = _route(
                name,
                function,
                options,
                read=read,
                payload_type_name=type_name(payload_type),
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


def _payload(route: Route, read: PayloadReader, parcel: Parcel) -> Any:
    if parcel.json is None:
        return parcel.text
    try:
        return read(parcel.json)
    except Exception as error:
        if parcel.envelope is None and route.payload_type_name == "str":
            # Who asks for text means the text of a 5 or a {} too.
            return parcel.text
        # Whatever the type's own checks raise, the same payload would raise it again.
        what = f"this {parcel.envelope.type!r} message" if parcel.envelope else "this message"
        raise Reject(
            f"The payload of {what} does not fit {route.payload_type_name}:"
            f" {error if isinstance(error, MsgspecError | PayloadError) else repr(error)}"
        ) from error


def _route(
    name: str,
    function: Callable[[Any], Any],
    options: Mapping[str, Any],
    *,
    read: PayloadReader | None = None,
    payload_type_name: str = "str",
) -> Route:
    """Raises SettingsError when the function cannot be a handler or an option is out of range."""
    strange = ", ".join(sorted(options.keys() - _OPTIONS))
    if strange:
        raise SettingsError(
            f"The handler of {name!r} has no option {strange}. Its options are"
            f" {', '.join(sorted(_OPTIONS))}."
        )
    batch = options.get("batch")
    within_ms = options.get("within_ms", WITHIN_MS_DEFAULT)
    timeout_s = options.get("timeout_s")
    if batch is None and "within_ms" in options:
        raise SettingsError(f"The handler of {name!r} has within_ms but no batch; give both.")
    for option, value, low, high in (
        ("batch", batch, 1, BATCH_MAX),
        ("within_ms", within_ms, 0, WITHIN_MS_MAX),
    ):
        if value is not None and not (isinstance(value, int) and low <= value <= high):
            raise SettingsError(
                f"{option} of the handler of {name!r} is {value!r}; it must be a whole number from"
                f" {low} to {high}."
            )
    if timeout_s is not None:
        require_number(f"timeout_s of the handler of {name!r}", timeout_s)
    if timeout_s is not None and not 0 < timeout_s <= VISIBILITY_TIMEOUT_SECONDS_MAX:
        raise SettingsError(
            f"timeout_s of the handler of {name!r} is {timeout_s}; it must be above 0 and at most"
            f" {VISIBILITY_TIMEOUT_SECONDS_MAX} seconds."
        )
    limits = options.get("limits", ())
    if not isinstance(limits, Iterable) or not all(isinstance(each, Limit) for each in limits):
        raise SettingsError(
            f"limits of the handler of {name!r} is {limits!r}; it must be a list of Limits."
        )
    breaker = options.get("breaker")
    if not isinstance(breaker, CircuitBreaker | None):
        raise SettingsError(
            f"breaker of the handler of {name!r} is {breaker!r}; it must be a CircuitBreaker."
        )
    check_handler(name, function)
    return Route(
        name=name,
        call=function,
        plain=not is_async(function),
        read=read,
        payload_type_name=payload_type_name,
        batch=batch or 0,
        within_ms=within_ms if batch else 0,
        timeout_s=timeout_s,
        limits=tuple(limits),
        breaker=breaker,
    )
