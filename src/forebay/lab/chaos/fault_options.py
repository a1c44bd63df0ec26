"""Faults as a command line asks for them: `duplicate=0.1`, `partition=every:30s,for:5s`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from forebay.errors import SettingsError
from forebay.fault_injection import FaultRates

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000}

_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_RATE = re.compile(r"([1-9]\d*)/s")


class _Unreadable(Exception):
    """A value does not have its fault's form."""


class _Fault(NamedTuple):
    #: The fields of FaultRates that a value sets. Raises _Unreadable.
    read: Callable[[str], dict[str, Any]]
    #: What a value may be, with an example, as an error says it.
    form: str


def with_faults(rates: FaultRates, options: Iterable[str]) -> FaultRates:
    """These rates, with those that the options name in their place.

    Raises SettingsError, which names the fault and what it may be.
    """
    for option in options:
        name, _, value = option.partition("=")
        fault = _FAULTS.get(name)
        if fault is None:
            raise SettingsError(
                f"--fault {option}: there is no fault {name!r}. There are {', '.join(_FAULTS)}."
            )
        try:
            rates = replace(rates, **fault.read(value))
        except _Unreadable as error:
            raise SettingsError(f"--fault {option}: {name} is {fault.form}.") from error
    return rates


def _probability(field: str) -> _Fault:
    return _Fault(
        lambda text: {field: _part(text)},
        "a probability from 0 to 1, such as 0.1",
    )


def _part(text: str) -> float:
    if not _NUMBER.fullmatch(text) or float(text) > 1:
        raise _Unreadable
    return float(text)


def _ms(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise _Unreadable
    return float(found[1]) * _UNITS_MS[found[2]]


def _members(text: str) -> dict[str, str]:
    """`every:30s,for:5s` by name."""
    members = [member.partition(":") for member in text.split(",")]
    return {name: value for name, _, value in members}


def _delay(text: str) -> dict[str, Any]:
    duration, comma, more = text.partition(",")
    members: Mapping[str, str] = _members(more) if comma else {"probability": "1"}
    if members.keys() != {"probability"}:
        raise _Unreadable
    return {"latency_ms": _ms(duration), "late": _part(members["probability"])}


def _throttle(text: str) -> dict[str, Any]:
    rate = _RATE.fullmatch(text)
    if rate is not None:
        return {"calls_per_second": int(rate[1])}
    return {"throttle": _part(text)}


def _partition(text: str) -> dict[str, Any]:
    members = _members(text)
    if members.keys() != {"every", "for"}:
        raise _Unreadable
    every_s, for_s = _ms(members["every"]) / 1000, _ms(members["for"]) / 1000
    if not 0 < for_s < every_s:
        raise _Unreadable
    return {"partition_every_s": every_s, "partition_for_s": for_s}


_FAULTS = {
    "duplicate": _probability("duplicate"),
    "delay": _Fault(
        _delay,
        "a time, such as 200ms or 2s, and maybe the part of answers that is held back so long:"
        " 200ms,probability:0.3",
    ),
    "reorder": _probability("reorder"),
    "drop-reply": _probability("lose_reply"),
    "throttle": _Fault(
        _throttle,
        "calls of one action to one queue in a second, such as 20/s, or a probability from 0 to 1",
    ),
    "partition": _Fault(
        _partition,
        "a span and a shorter time in each, such as every:30s,for:5s",
    ),
    "purge-loses": _probability("purge_loses"),
}
