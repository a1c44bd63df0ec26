"""The scenarios by name: each is the class in its file."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from inspect import isabstract

from forebay.errors import SettingsError
from forebay.lab import scenarios
from forebay.lab.scenario import Scenario, Speed


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


def chosen(names: Iterable[str], *, fast: bool = False, slow: bool = False) -> list[type[Scenario]]:
    """The scenarios of these names, or of these speeds.

    Raises SettingsError for a name that no scenario has, and when nothing is chosen.
    """
    known = catalogue()
    picked: list[type[Scenario]] = []
    for name in dict.fromkeys(names):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            advice = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}."
            raise SettingsError(f"There is no scenario {name}. {advice}")
        picked.append(known[name])
    speeds = {Speed.FAST: fast, Speed.SLOW: slow}
    picked += [each for each in known.values() if speeds[each.speed] and each not in picked]
    if not picked:
        raise SettingsError(
            "Name a scenario, or --fast, --slow or --all. `forebay lab list` shows them."
        )
    return picked
