"""The scenarios by name: each is the class in its file."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from inspect import isabstract
from pathlib import Path

from forebay.errors import SettingsError
from forebay.lab import scenarios
from forebay.lab.scenario import Scenario, Speed
from forebay.supervisor.target import find


@cache
def catalogue() -> dict[str, type[Scenario]]:
    """Every scenario, the fast ones first, each kind by name."""
    found = [
        value
        for module in pkgutil.iter_modules(scenarios.__path__)
        for value in vars(import_module(f"{scenarios.__name__}.{module.name}")).values()
        if isinstance(value, type)
        and issubclass(value, Scenario)
        and not isabstract(value)
        and value.__module__ == f"{scenarios.__name__}.{module.name}"
    ]
    found.sort(key=lambda scenario: (scenario.speed is Speed.SLOW, scenario.name()))
    return {scenario.name(): scenario for scenario in found}


def known_with(words: Iterable[str]) -> dict[str, type[Scenario]]:
    """The catalogue, and the scenarios of the user's own that are among these words.

    Raises SettingsError for a `module:Class` that is no scenario.
    """
    own = [word for word in words if ":" in word and not word.startswith("-")]
    return {**catalogue(), **{word: _own(word) for word in own}}


def _own(target: str) -> type[Scenario]:
    found = find(target, Path.cwd())
    if not (isinstance(found, type) and issubclass(found, Scenario)) or isabstract(found):
        raise SettingsError(
            f"{target} is no scenario. Name a class that derives from"
            " forebay.lab.scenario.Scenario and has setup, fault and verdict."
        )
    return found


def chosen(names: Iterable[str], *, fast: bool = False, slow: bool = False) -> list[type[Scenario]]:
    """The scenarios of these names, or of these speeds.

    A name is one of the catalogue's, or `module:Class` for a scenario of the user's own. Raises
    SettingsError for a name that no scenario has, and when nothing is chosen.
    """
    names = list(names)
    known = known_with(names)
    picked: list[type[Scenario]] = []
    for name in dict.fromkeys(names):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            advice = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}."
            raise SettingsError(f"There is no scenario {name}. {advice}")
        picked.append(known[name])
    speeds = {Speed.FAST: fast, Speed.SLOW: slow}
    picked += [each for each in catalogue().values() if speeds[each.speed] and each not in picked]
    if not picked:
        raise SettingsError(
            "Name a scenario, or --fast, --slow or --all. `forebay lab list` shows them."
        )
    return picked
