"""What `forebay lab up` writes into .env: its own part of the file, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from forebay.errors import ForebayError
from forebay.lab.infrastructure.dotenv import parse_dotenv, render_dotenv

_BEGIN = "# Written by `forebay lab up`; `forebay lab down` takes it away again."
_END = "# What is below is yours, and comes before what is above."

#: An editor may have given the lines other ends.
_PART = re.compile(rf"{re.escape(_BEGIN)}\r?\n(.*?){re.escape(_END)}(?:\r?\n|$)", re.DOTALL)


class ForeignDotenv(ForebayError):
    """There is a .env that `forebay lab up` has not written."""


def own_part(path: Path) -> dict[str, str]:
    """The variables that `forebay lab up` wrote into a file; none when there is no such part."""
    found = _PART.search(_text(path))
    return parse_dotenv(found[1], str(path)) if found else {}


def require_own(path: Path, force: bool) -> None:
    """Raise ForeignDotenv for a file that somebody else wrote, unless `force` says to go on."""
    if path.exists() and not force and _PART.search(_text(path)) is None:
        raise ForeignDotenv(
            f"There is a {path} that `forebay lab up` has not written. Move it away, or say --force"
            " to have the lab's variables added at its end, where they come before it."
        )


def write_own_part(path: Path, variables: Mapping[str, str]) -> None:
    """Write the variables into their part of a file, and leave the rest of it as it is."""
    text = _text(path)
    part = f"{_BEGIN}\n{render_dotenv(variables)}{_END}\n"
    if _PART.search(text):
        text = _PART.sub(lambda _: part, text, count=1)
    else:
        text += ("\n" if text and not text.endswith("\n") else "") + part
    path.write_bytes(text.encode())


def remove_own_part(path: Path) -> bool:
    """Take the part out of a file, and the file away when nothing else is in it.

    Returns whether there was such a part.
    """
    text = _text(path)
    if _PART.search(text) is None:
        return False
    rest = _PART.sub("", text, count=1)
    if rest.strip():
        path.write_bytes(rest.encode())
    else:
        path.unlink()
    return True


def _text(path: Path) -> str:
    # As bytes: the ends of lines of others stay as they are.
    return path.read_bytes().decode() if path.exists() else ""
