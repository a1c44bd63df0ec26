"""Sizes as people write them."""

from __future__ import annotations

import re

import typer

#: Bytes in each unit: powers of 1000, and of 1024 with an i.
_UNITS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
}

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")


def size_bytes(text: str) -> int:
    """A size in bytes: `1048576`, `500MB`, `1.5GiB`. Raises typer.BadParameter."""
    found = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(found[2].lower()) if found is not None else None
    if found is None or unit is None:
        raise typer.BadParameter(
            f"{text} is no size. Write a number of bytes, or one with a unit: 500MB, 1GiB."
        )
    return int(float(found[1]) * unit)
