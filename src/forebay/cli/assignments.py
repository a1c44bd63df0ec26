"""Assignments of a command line, such as VisibilityTimeout=60."""

from __future__ import annotations

from collections.abc import Iterable

from forebay.errors import SettingsError


def read_assignments(what: str, texts: Iterable[str]) -> dict[str, str]:
    """Names and values of NAME=VALUE. A value may be empty; of two with one name the last counts.

    Raises SettingsError, which says for what, when a text is no assignment.
    """
    assigned: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise SettingsError(f"{what} {text} has no value. Write NAME=VALUE.")
        assigned[name] = value
    return assigned
