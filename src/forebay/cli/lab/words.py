"""Tells the scenarios on a command line from their options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.lab.catalogue import catalogue
from forebay.lab.options import Option, options_in
from forebay.lab.scenario import Scenario, option_name

#: What a flag is switched off with.
_NO = "--no-"


def scenario_names(incomplete: str) -> list[str]:
    """What Tab completes a scenario to."""
    return [name for name in catalogue() if name.startswith(incomplete)]


class Words(Struct, frozen=True):
    """What a command line says of scenarios."""

    names: list[str]
    #: What is set, by field.
    options: dict[str, str]


def sorted_words(
    words: Sequence[str],
    scenarios: Mapping[str, type[Scenario]],
    own_options: Iterable[str] = (),
) -> Words:
    """The names among the words, and the options of any scenario.

    `own_options` are those of the command itself, for advice. Raises SettingsError for an option
    that no scenario has, and for one without its value.
    """
    known = {
        option.name: option for scenario in scenarios.values() for option in options_in(scenario)
    }
    said = Words([], {})
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            said.names.append(word)
            continue
        name, equals, value = word.partition("=")
        option, off = known.get(name), False
        if option is None and name.startswith(_NO):
            option, off = known.get(f"--{name.removeprefix(_NO)}"), True
        if option is None or (off and not option.flag):
            near = get_close_matches(name, [*known, *own_options], n=1)
            advice = f" Did you mean {near[0]}?" if near else ""
            raise SettingsError(f"No scenario has an option {name}.{advice}")
        said.options[option.field] = (
            value if equals else str(not off).lower() if option.flag else _value(option, rest)
        )
    return said


def refuse_strange(
    options: Iterable[str],
    chosen: Sequence[type[Scenario]],
    scenarios: Mapping[str, type[Scenario]],
) -> None:
    """Raise SettingsError for an option that none of the chosen scenarios has.

    It says which scenarios have it, and which the chosen ones have.
    """
    own = {option.field: option.name for each in chosen for option in options_in(each)}
    for field in options:
        if field in own:
            continue
        name, names = option_name(field), ", ".join(scenario.name() for scenario in chosen)
        having = [each for each, scenario in scenarios.items() if field in _fields(scenario)]
        near = get_close_matches(name, own.values(), n=1)
        has = f"{names} has {', '.join(own.values()) or 'no options'}."
        advice = f"Did you mean {near[0]}?" if near else has
        raise SettingsError(f"{names} has no option {name}; {_and_has(having)}. {advice}")


def _and_has(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'have' if len(names) > 1 else 'has'} it"


def _fields(scenario: type[Scenario]) -> tuple[str, ...]:
    return scenario.Options.__struct_fields__


def _value(option: Option, rest: Iterable[str]) -> str:
    for word in rest:
        return word
    raise SettingsError(f"{option.name} needs a value: {option.allowed}.")
