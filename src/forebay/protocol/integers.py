"""Integers that came as text: in a form, a query string or a queue attribute."""

from __future__ import annotations

import re

# Python's own `int` would take "1_0", " 5" and digits of every script.
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def read_integer(text: str) -> int:
    """The integer that a text is: ASCII digits, at most 18, with a minus or without.

    Raises ValueError for any other text.
    """
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"Not an integer: {text!r}")
    return int(text)
