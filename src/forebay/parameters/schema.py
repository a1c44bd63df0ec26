"""Which parameters there are, and which values they take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import TypeAlias

from msgspec import Struct

from forebay.errors import SettingsError

#: What a parameter may be.
Value: TypeAlias = int | float | str

#: Most of a wrong value that an error repeats, in characters.
_SHOWN_MAX = 40

#: How alike a name and a parameter must be for a misspelling, from 0 to 1. Whoever shares the table
#: has names of his own there.
_MISSPELLED = 0.85


class UnknownParameter(SettingsError):
    """There is no such parameter."""


class BadValue(SettingsError):
    """A parameter does not take this value."""


class Parameter(Struct, frozen=True, kw_only=True):
    """One parameter. It is a number with a range, or one of several words."""

    name: str
    #: What holds where nobody sets it. None stands for "reckoned from others".
    default: Value | None
    meaning: str
    #: What it counts: "ms", "messages". Words have none.
    unit: str = ""
    least: float = 0
    most: float = 0
    #: Whether it takes whole numbers only.
    whole: bool = True
    #: The words it takes; a number has none.
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """The values it takes, with their unit, for people."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return f"{in_words(self.least)} to {in_words(self.most)} {self.unit}".rstrip()

    def read(self, given: object) -> Value:
        """The value that a text or a number means. Raises BadValue, with the range and the unit."""
        if self.choices:
            if given in self.choices:
                return str(given)
            raise BadValue(f"{self.name} is {_shown(given)}; it must be {self.range}.")
        number = _number(given, whole=self.whole)
        if number is None:
            kind = "whole number" if self.whole else "number"
            raise BadValue(f"{self.name} is {_shown(given)}; it must be a {kind}, {self.range}.")
        if not self.least <= number <= self.most:
            raise BadValue(f"{self.name} is {_shown(given)}; it must be {self.range}.")
        return number


class InOrder(Struct, frozen=True):
    """A rule: one parameter may not be above another."""

    lower: str
    upper: str


class Schema:
    """All parameters of a program, and the rules between them."""

    def __init__(self, parameters: Iterable[Parameter], rules: Iterable[InOrder] = ()) -> None:
        self._by_name = {parameter.name: parameter for parameter in parameters}
        self._rules = tuple(rules)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._by_name.values())

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Parameter:
        """The parameter of this name. Raises UnknownParameter, with the nearest name."""
        try:
            return self._by_name[name]
        except KeyError:
            near = get_close_matches(name, self._by_name, n=1)
            advice = (
                f"Did you mean {near[0]}?" if near else f"There are {', '.join(self._by_name)}."
            )
            raise UnknownParameter(f"There is no parameter {_bare(name)}. {advice}") from None

    def meant(self, name: str) -> str | None:
        """The parameter that a misspelled name means; None for a name that is like none."""
        near = get_close_matches(name, self._by_name, n=1, cutoff=_MISSPELLED)
        return near[0] if near else None

    def read(self, values: Mapping[str, object]) -> dict[str, Value]:
        """The values, each checked by itself. Raises UnknownParameter and BadValue."""
        return {name: self[name].read(value) for name, value in values.items()}

    def check_together(self, values: Mapping[str, Value], changed: Iterable[str]) -> None:
        """Raise BadValue when a rule that is about a changed parameter is broken."""
        names = set(changed)
        for rule, reason in self._broken(values):
            if names & {rule.lower, rule.upper}:
                raise BadValue(reason)

    def accept(
        self, stored: Mapping[str, str], latest: Mapping[str, Value]
    ) -> tuple[dict[str, Value], dict[str, str]]:
        """What takes effect of what a table says, and why the rest does not, by name.

        A value that is refused leaves the one of `latest`, and the others take effect. `latest` is
        what was accepted before. Names that are no parameters are left out.
        """
        values: dict[str, Value] = {}
        refused: dict[str, str] = {}
        for name in sorted(stored.keys() & self._by_name.keys()):
            try:
                values[name] = self[name].read(stored[name])
            except BadValue as error:
                refused[name] = f"{error}"
                if name in latest:
                    values[name] = latest[name]
        # What was accepted before breaks no rule, so this ends there at the latest.
        while found := next(self._broken(values), None):
            rule, reason = found
            for name in (rule.lower, rule.upper):
                if values.get(name) != latest.get(name):
                    refused[name] = reason
                    values.pop(name, None)
                    if name in latest:
                        values[name] = latest[name]
        return values, refused

    def _broken(self, values: Mapping[str, Value]) -> Iterator[tuple[InOrder, str]]:
        for rule in self._rules:
            lower, upper = (
                values.get(name, self._by_name[name].default) for name in (rule.lower, rule.upper)
            )
            if not isinstance(lower, int | float) or not isinstance(upper, int | float):
                continue
            if lower > upper:
                default = "" if rule.upper in values else " by default"
                yield (
                    rule,
                    f"{rule.lower} is {in_words(lower)}; it must be at most {rule.upper}, which is"
                    f" {in_words(upper)}{default}.",
                )


def in_words(value: Value | None) -> str:
    """A value for people."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) or value.is_integer() else f"{value:g}"


def _number(given: object, *, whole: bool) -> int | float | None:
    """The number that is meant; None when it is none, or not a whole one where it must be."""
    if isinstance(given, str):
        try:
            return int(given) if whole else float(given)
        except ValueError:
            return None
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    if whole and not isinstance(given, int):
        return None
    return given


def _bare(text: str) -> str:
    return text if text.isprintable() and len(text) <= _SHOWN_MAX else _shown(text)


def _shown(given: object) -> str:
    """A wrong value, not endlessly."""
    if isinstance(given, str):
        try:
            float(given)
        except ValueError:
            said = repr(given)
        else:
            said = given.strip()
    else:
        said = f"{given}"
    return said if len(said) <= _SHOWN_MAX else f"{said[:_SHOWN_MAX]}…"
