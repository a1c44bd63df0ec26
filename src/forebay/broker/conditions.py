"""The conditions of a policy's statements.

A condition compares what is known of a request with the values that the policy gives. It holds when
one of them fits or, for an operator with Not in its name, when none does. What is not known fits no
value.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from msgspec import Struct

from forebay.broker.wildcards import wildcard

#: Which values of a key that has several must fit. Every key here has one value.
_ANY_VALUE, _ALL_VALUES = "ForAnyValue:", "ForAllValues:"

_IF_EXISTS = "IfExists"

#: The one operator that asks whether something is known at all.
_NULL = "Null"


class Comparison(Struct, frozen=True):
    """How an operator compares. Both functions raise ValueError for what they cannot read."""

    #: Prepares a value of the policy.
    prepare: Callable[[str], Any]
    #: Whether what is known of the request fits a prepared value.
    fits: Callable[[str, Any], bool]


class Condition(Struct, frozen=True):
    """One operator applied to one key."""

    #: In lower case: keys are not case-sensitive.
    key: str
    comparison: Comparison
    values: tuple[Any, ...]
    negated: bool
    #: Whether the condition holds when nothing is known.
    holds_without: bool

    def holds(self, known: str | None) -> bool:
        """Whether the condition holds for what is known of the request."""
        if known is None:
            return self.holds_without
        return any(self._fits(known, value) for value in self.values) != self.negated

    def _fits(self, known: str, value: object) -> bool:
        try:
            return self.comparison.fits(known, value)
        except ValueError:
            return False


def parse_condition(name: str, key: str, values: list[str]) -> Condition:
    """Read one condition. Raises ValueError when IAM has no such operator or value."""
    if not values:
        raise ValueError(f"{name} needs a value for {key}.")
    if name == _NULL:
        absent = {_boolean(value) for value in values}
        return Condition(key.lower(), _PRESENCE, ("",), False not in absent, True in absent)
    base = name.removeprefix(_ANY_VALUE).removeprefix(_ALL_VALUES)
    if_exists = base.endswith(_IF_EXISTS)
    base = base.removesuffix(_IF_EXISTS)
    negated = base in _NEGATED
    comparison = _COMPARISONS.get(_NEGATED.get(base, base))
    if comparison is None:
        raise ValueError(f"There is no condition operator {name}.")
    try:
        prepared = tuple(comparison.prepare(value) for value in values)
    except ValueError as error:
        raise ValueError(f"{name} cannot read the values of {key}: {error}.") from error
    holds_without = (
        if_exists or name.startswith(_ALL_VALUES) or (negated and not name.startswith(_ANY_VALUE))
    )
    return Condition(key.lower(), comparison, prepared, negated, holds_without)


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _instant(text: str) -> float:
    """Seconds since the Unix epoch, from such a number or from an ISO 8601 time."""
    if re.fullmatch(r"[0-9.]+", text):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _arn(text: str) -> list[re.Pattern[str]]:
    """The six parts of an ARN, each a pattern. A `*` at the end stands for missing parts too."""
    parts = text.split(":", 5)
    if text.endswith("*"):
        parts += "*" * (6 - len(parts))
    return [wildcard(part) for part in parts]


def _fits_arn(known: str, arn: list[re.Pattern[str]]) -> bool:
    parts = known.split(":", 5)
    return len(parts) == len(arn) and all(
        pattern.fullmatch(part) for pattern, part in zip(arn, parts, strict=True)
    )


def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


def _is_inside(known: str, network: IPv4Network | IPv6Network) -> bool:
    address = ip_address(known)
    # A socket that takes both families shows the addresses of the older one like this.
    return (getattr(address, "ipv4_mapped", None) or address) in network


def _ordered(read: Callable[[str], float], order: Callable[[float, float], bool]) -> Comparison:
    return Comparison(read, lambda known, value: order(read(known), value))


_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}

_PRESENCE = Comparison(str, lambda _known, _value: True)

_COMPARISONS = {
    "StringEquals": Comparison(str, operator.eq),
    "StringEqualsIgnoreCase": Comparison(
        str.casefold, lambda known, value: known.casefold() == value
    ),
    "StringLike": Comparison(wildcard, lambda known, pattern: bool(pattern.fullmatch(known))),
    "ArnEquals": Comparison(_arn, _fits_arn),
    "ArnLike": Comparison(_arn, _fits_arn),
    "Bool": Comparison(_boolean, lambda known, value: _boolean(known) == value),
    "IpAddress": Comparison(_network, _is_inside),
    **{f"Date{name}": _ordered(_instant, order) for name, order in _ORDERS.items()},
    **{f"Numeric{name}": _ordered(float, order) for name, order in _ORDERS.items()},
}

#: The operators that hold when no value fits, and what they compare by.
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "DateNotEquals": "DateEquals",
    "NumericNotEquals": "NumericEquals",
}
