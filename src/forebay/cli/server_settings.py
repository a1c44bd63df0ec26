"""Lets each option of `forebay serve` be set by a variable and in a file as well."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperOption

from forebay.errors import SettingsError
from forebay.settings import Value, read_settings, refuse_misspelled, variable_of

#: The option that names the file.
_FILE = "config"


def give_variables(command: TyperCommand) -> None:
    """Let every option of the command have its FOREBAY_ variable, before any other it has."""
    for setting, option in _settings(command):
        own = option.envvar or []
        others = [own] if isinstance(own, str) else list(own)
        option.envvar = [variable_of(setting), *others] if others else variable_of(setting)
        option.show_envvar = True


def take_file(context: typer.Context, file: Path | None) -> Path | None:
    """The callback of the option that names the file: what it says becomes the defaults.

    Raises SettingsError for what is no setting, in the file or in the environment.
    """
    command = context.command
    if context.resilient_parsing or not isinstance(command, TyperCommand):
        return file
    options = dict(_settings(command))
    refuse_misspelled(os.environ, options)
    if file is not None:
        settings = [setting for setting in options if setting != _FILE]
        context.default_map = {
            str(options[setting].name): _fitting(file, setting, options[setting], value)
            for setting, value in read_settings(file, settings).items()
        }
    return file


def _fitting(file: Path, setting: str, option: TyperOption, value: Value) -> Value:
    if option.multiple:
        return value if isinstance(value, list) else [value]
    if isinstance(value, list):
        raise SettingsError(f"{file}: {setting} must be one value, not a list.")
    return value


def _settings(command: TyperCommand) -> Iterator[tuple[str, TyperOption]]:
    """Each option, and what the setting is called: the option's name."""
    for option in command.params:
        if isinstance(option, TyperOption):
            name = max(option.opts, key=len).removeprefix("--")
            yield name.replace("-", "_"), option
