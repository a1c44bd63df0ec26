"""Files to which several processes append lines."""

from __future__ import annotations

import json
import os
from pathlib import Path

from forebay.errors import ForebayError, SettingsError


class LineNotWritten(ForebayError):
    """A line could not be appended to a file."""


def require_appendable(variable: str, path: str) -> None:
    """Make the file that a variable names, unless it is there.

    Raises SettingsError when it cannot be appended to.
    """
    try:
        os.close(_open(Path(path)))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"{variable} is {path!r}, a file that cannot be appended to: {reason}."
        ) from error


def append_line(path: Path, value: object) -> None:
    """Append a value as a line of its own: a text as it is, anything else as JSON.

    It is one system call, so lines of several processes do not mix, and what is written is there
    when the process dies in the next instant. Raises LineNotWritten.
    """
    text = value if isinstance(value, str) else json.dumps(value)
    line = text.replace("\n", " ") + "\n"
    try:
        file = _open(path)
        try:
            os.write(file, line.encode(errors="surrogatepass"))
        finally:
            os.close(file)
    except OSError as error:
        raise LineNotWritten(f"{path} cannot be appended to: {error.strerror}.") from error


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
