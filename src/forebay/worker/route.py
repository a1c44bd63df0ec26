"""A handler as it is registered: how it wants its messages, and what it may be registered with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.number_settings import require_number
from forebay.protocol.limits import VISIBILITY_TIMEOUT_SECONDS_MAX
from forebay.worker.breaker import CircuitBreaker
from forebay.worker.codecs import Parcel
from forebay.worker.functions import check_handler, innermost, is_async
from forebay.worker.limits import Limit

#: Makes the payload of what a codec found. Raises Reject when it does not fit.
ParcelReader: TypeAlias = Callable[[Parcel], Any]

#: Most messages that one call of a handler gets, and the longest time that they are gathered for.
#: Source: AWS Lambda's event source mapping for SQS, whose window is five minutes at most.
BATCH_MAX = 10_000
WITHIN_MS_MAX = 300_000

#: How long a batch is gathered when its handler does not say, in milliseconds.
WITHIN_MS_DEFAULT = 200


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
    read: ParcelReader | None = None
    payload_type_name: str = "str"
    #: Whether it takes packs, and a plain envelope as a pack of one.
    takes_packs: bool = False
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


def new_route(
    name: str,
    function: Callable[[Any], Any],
    options: Mapping[str, Any],
    *,
    read: ParcelReader | None = None,
    payload_type_name: str = "str",
    takes_packs: bool = False,
) -> Route:
    """A handler with its options.

    Raises SettingsError when the function cannot be a handler or an option is out of range.
    """
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
        takes_packs=takes_packs,
        batch=batch or 0,
        within_ms=within_ms if batch else 0,
        timeout_s=timeout_s,
        limits=tuple(limits),
        breaker=breaker,
    )
