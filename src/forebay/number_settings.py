"""Settings that are numbers: one from the environment is a text until somebody reads it."""

from __future__ import annotations

from numbers import Integral, Real

from msgspec import Struct

from forebay.errors import SettingsError


def require_number(what: str, value: object, *, whole: bool = False) -> None:
    """Raises SettingsError when the value is no number, or not a whole one where it must be."""
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        kind = "whole number" if whole else "number"
        raise SettingsError(f"{what} is {value!r}; it must be a {kind}.")


def require_numbers(settings: Struct, owner: str = "") -> None:
    """Look at every field that is declared as a number, of a class whose annotations are texts.

    `owner` begins the name of a setting in the error. Raises SettingsError.
    """
    for name, declared in type(settings).__annotations__.items():
        kind, _, otherwise = declared.partition(" | ")
        value = getattr(settings, name)
        if kind in ("int", "float") and not (value is None and otherwise):
            require_number(f"{owner}{name}", value, whole=kind == "int")
