"""Files to which several processes append lines."""

from __future__ import annotations

import json
import os
from pathlib import Path


def append_line(path: Path, value: object) -> None:
    """Append a value as a line of its own: a text as it is, anything else as JSON.

    It is one system call, so lines of several processes do not mix, and what is written is there
    when the process dies in the next instant. Raises OSError.
    """
    text = value if isinstance(value, str) else json.dumps(value)
    line = text.replace("\n", " ") + "\n"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, line.encode(errors="surrogatepass"))
    finally:
        os.close(file)
