"""What a setting of the broker is called in the environment and in a file, and what one says there.

A setting has the name of its option: --time-scale is FOREBAY_TIME_SCALE in the environment and
time_scale in the [server] table of a TOML file:

    [server]
    port = 9400
    log_format = "json"

An option comes before the environment, the environment before the file, the file before the
default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

from forebay.errors import SettingsError

#: What the variables of all settings begin with.
PREFIX = "FOREBAY_"

#: The table of the file.
TABLE = "server"

#: How alike a variable and a setting must be for a misspelling, from 0 to 1. FOREBAY_KEY is one of
#: FOREBAY_KEYS; the FOREBAY_SERVICE_PORT that Kubernetes sets is none of FOREBAY_PORT.
_MISSPELLED = 0.85

#: A setting as text, as an option or a variable would say it; several where it may be repeated.
Value: TypeAlias = str | list[str]


def variable_of(setting: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + setting.upper()


def read_settings(path: Path, settings: Collection[str]) -> dict[str, Value]:
    """What the [server] table of a file says.

    Raises SettingsError, which names the file and the place, also for a name that is no setting.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"{path} could not be read: {reason}.") from error
    table = document.get(TABLE, {})
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: {TABLE} must be a table: [{TABLE}].")
    for name in table:
        if name not in settings:
            near = get_close_matches(name, settings, n=1)
            advice = f"Did you mean {near[0]}?" if near else f"There are {', '.join(settings)}."
            raise SettingsError(f"{path}: [{TABLE}] has {name}, which is no setting. {advice}")
    return {name: _value(path, name, value) for name, value in table.items()}


def refuse_misspelled(environment: Mapping[str, str], settings: Iterable[str]) -> None:
    """Raise SettingsError for a variable that is nearly the one of a setting.

    It would be passed over, and the broker would serve with another setting than was meant. What is
    like no setting is left alone: others may set variables that begin so.
    """
    variables = [variable_of(setting) for setting in settings]
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in variables:
            near = get_close_matches(name, variables, n=1, cutoff=_MISSPELLED)
            if near:
                raise SettingsError(
                    f"The environment has {name}, which is no setting. Did you mean {near[0]}?"
                )


def _value(path: Path, name: str, value: object) -> Value:
    if isinstance(value, list):
        return [_text(path, name, one) for one in value]
    return _text(path, name, value)


def _text(path: Path, name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise SettingsError(
        f"{path}: {name} must be a text, a number, true or false, or a list of them."
    )
