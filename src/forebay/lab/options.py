"""The options of scenarios: what there is to set, and what a command line has set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from forebay.errors import SettingsError
from forebay.lab.scenario import Scenario, option_name

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}

#: Where a bound is one of a range alone, what is said of it.
_BOUNDS = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}


class Option(Struct, frozen=True, kw_only=True):
    """Something that can be set about a scenario."""

    field: str
    default: Any
    #: What it is for.
    text: str
    #: What it may be.
    allowed: str
    #: Whether it is given without a value.
    flag: bool

    @property
    def name(self) -> str:
        """As commands have it, with its dashes."""
        return option_name(self.field)


def options_in(scenario: type[Scenario]) -> list[Option]:
    """What can be set about a scenario."""
    return [
        Option(
            field=field.name,
            default=field.default,
            text=next((meta.description for meta in metas if meta.description), ""),
            allowed=_allowed(kind, metas),
            flag=kind is bool,
        )
        for field in msgspec.structs.fields(scenario.Options)
        for kind, metas in [_kind_of(field.type)]
    ]


def options_of(scenario: type[Scenario], given: Mapping[str, Any]) -> Any:
    """The options of a scenario; those that are not its own are passed over.

    Raises SettingsError, which names the option and its range, for a value that is out of it, and
    for values that do not go together.
    """
    values: dict[str, Any] = {}
    for option in options_in(scenario):
        if option.field not in given:
            continue
        value = given[option.field]
        try:
            whole = msgspec.convert({option.field: value}, scenario.Options, strict=False)
        except msgspec.ValidationError:
            whole = None
        read = getattr(whole, option.field, None)
        if whole is None or (isinstance(read, float) and not math.isfinite(read)):
            raise SettingsError(
                f"{option.name} {value} of {scenario.name()}: it must be {option.allowed}."
            )
        values[option.field] = read
    options = scenario.Options(**values)
    options.check()
    return options


def _kind_of(annotation: Any) -> tuple[Any, list[Meta]]:
    """The type of a field, and what is said of it."""
    if get_origin(annotation) is not Annotated:
        return annotation, []
    kind, *metas = get_args(annotation)
    return kind, [meta for meta in metas if isinstance(meta, Meta)]


def _allowed(kind: Any, metas: list[Meta]) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(each) for each in get_args(kind))
    bounds = {
        name: bound
        for meta in metas
        for name in _BOUNDS
        if (bound := getattr(meta, name)) is not None
    }
    named = _KINDS.get(kind, getattr(kind, "__name__", str(kind)))
    if {"ge", "le"} <= bounds.keys():
        return f"{named} from {bounds['ge']:g} to {bounds['le']:g}"
    return " and ".join(
        [named, *(f"{_BOUNDS[name]} {bound:g}" for name, bound in bounds.items())]
    ).replace(" and ", " ", 1)
