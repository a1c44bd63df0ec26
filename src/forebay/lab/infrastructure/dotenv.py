"""The file .env: variables, one a line, as a shell and this module both read them.

    QUEUE_URL=http://127.0.0.1:9324/000000000000/sqs-demo-happy-queue
    export REJECT_PAYLOAD_MARKER='no "good"'    # a comment

What a shell would read otherwise, because it would expand or split it, is refused: a file that
means one thing to `source .env` and another to a command misleads.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from forebay.errors import SettingsError

#: What the file is called.
DOTENV = ".env"

#: A value that a shell takes as it stands: bare, in single or in double quotes, or a mix of them.
_VALUE = r"""(?!~)(?:[^\s'"\\$`;&|<>()]|\\.|'[^']*'|"(?:[^"\\$`]|\\["\\])*")*"""

_LINE = re.compile(rf"\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)=(?P<value>{_VALUE})(?:\s+(?:#.*)?)?")

_NOTHING = re.compile(r"\s*(?:#.*)?")


def parse_dotenv(text: str, source: str = DOTENV) -> dict[str, str]:
    """The variables of a file's text. Raises SettingsError, which names the source and the line."""
    variables: dict[str, str] = {}
    # A shell ends a line nowhere else; an editor may leave \r before the end.
    for number, line in enumerate(re.split(r"\r?\n", text), start=1):
        if _NOTHING.fullmatch(line):
            continue
        read = _LINE.fullmatch(line)
        if read is None:
            raise SettingsError(
                f"{source}, line {number}, is not NAME=value as a shell would take it. Put a value"
                " with spaces, $ or other signs in single quotes."
            )
        variables[read["name"]] = "".join(shlex.split(read["value"]))
    return variables


def render_dotenv(variables: Mapping[str, str]) -> str:
    """The lines that `parse_dotenv` and a shell read as these variables."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a file. Raises SettingsError when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} could not be read: {error}.") from error
    return parse_dotenv(text, str(path))


def load_dotenv(
    directory: Path | None = None, environment: MutableMapping[str, str] = os.environ
) -> list[str]:
    """Set the variables of the directory's .env that the environment does not have yet.

    The directory is the current one unless another is named; without a file in it, nothing is
    done. Returns the names of what was set. Raises SettingsError when the file cannot be read.
    """
    path = (directory or Path()) / DOTENV
    if not path.is_file():
        return []
    new = {name: value for name, value in read_dotenv(path).items() if name not in environment}
    environment.update(new)
    return list(new)
