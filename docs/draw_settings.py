"""List what can be set about a worker, from the code itself; `make docs` writes the page."""

from __future__ import annotations

import inspect
import re
import tokenize
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from msgspec import NODEFAULT, Struct

from forebay.errors import SettingsError
from forebay.worker.limits import Limit
from forebay.worker.profiles import DOCUMENT_002
from forebay.worker.queue import Queue
from forebay.worker.scaling import Document002, LittlesLaw
from forebay.worker.settings import ADJUSTABLE, WorkerSettings

PATH = Path(__file__).parent / "reference" / "worker-settings.md"

_INTRODUCTION = """\
# The settings of a worker

Written by `make docs` from the code: defaults from its fields, ranges from what it refuses,
meanings from its comments. A value out of range raises `SettingsError`, which names the setting
and the range, before anything runs. Units are in the names: `_s` is seconds, `_ms` milliseconds.
"""

_WORKER = """\
## WorkerSettings

`Worker(client, "orders", router, settings=WorkerSettings(concurrency=16))`, and
`App(settings=…)`. Those marked *live* can be changed while the worker works, with
`worker.adjust(settings)`; for the others it is made anew. The last column is the profile
`document-002`, where it differs: `profile("document-002").settings` of `forebay.worker.profiles`.
"""

_QUEUE = """\
## Queue

What a worker is told of one queue: `Worker(client, [Queue("orders", priority=HIGH), "mail"],
router)`. A name alone is a queue with these defaults. [Priorities](../explanation/priorities.md)
says what class and weight do.
"""

_LITTLES_LAW = """\
## LittlesLaw

How many receives and handlers there are at a time, unless another policy is given: `Worker(…,
scaling=LittlesLaw(age_objective_s=2))`. See [scaling](../explanation/scaling.md).
"""

_DOCUMENT_002 = """\
## Document002

The other policy: `Worker(…, scaling=Document002())`.
"""

_LIMIT = """\
## Limit

For a handler: `@router.handler("mail", Mail, limits=[Limit(running=5, per_s=50)])`. See [limits
and breakers](../explanation/limits-and-breakers.md).
"""


def page() -> str:
    """The whole page."""
    live = dict.fromkeys(ADJUSTABLE, "*live*")
    profile = {
        name: _value(wanted)
        for name, default in defaults(WorkerSettings).items()
        if (wanted := getattr(DOCUMENT_002.settings, name)) != default
    }
    sections = [
        _section(_WORKER, WorkerSettings, {}, {"live": live, "document-002": profile}),
        _section(_QUEUE, Queue, {"name": "orders"}, {}),
        _section(_LITTLES_LAW, LittlesLaw, {}, {}),
        _section(_DOCUMENT_002, Document002, {}, {}),
        _section(_LIMIT, Limit, {"per_s": 1.0}, {}),
    ]
    return "\n".join([_INTRODUCTION, *sections])


def _section(
    introduction: str,
    kind: type[Struct],
    needed: dict[str, Any],
    more: dict[str, dict[str, str]],
) -> str:
    """A table with a row for each field; `more` are its last columns."""
    meanings = dict(_comments(kind))
    heads = ["setting", "default", "range", "meaning", *more]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, default in defaults(kind).items():
        cells = [
            f"`{name}`",
            "" if default is NODEFAULT else _value(default),
            _range(kind, name, needed),
            meanings[name],
            *(column.get(name, "") for column in more.values()),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return f"{introduction}\n" + "\n".join(lines) + "\n"


def defaults(kind: type[Struct]) -> dict[str, Any]:
    """The fields and their defaults; NODEFAULT for one that must be given."""
    names, given = kind.__struct_fields__, kind.__struct_defaults__
    return dict(zip(names, (NODEFAULT,) * (len(names) - len(given)) + given, strict=True))


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "None" if value is None else getattr(value, "name", None) or f"{value}"


def _range(kind: type[Struct], name: str, needed: dict[str, Any]) -> str:
    """What is said of the values that a setting takes when it is given another one."""
    try:
        kind(**{**needed, name: -1})
    except SettingsError as error:
        said = re.search(r"must be (.*)\.$", str(error))
        return said[1] if said else ""
    except (AttributeError, TypeError):
        return ""
    return ""


def _comments(kind: type[Struct]) -> Iterator[tuple[str, str]]:
    """The `#:` lines above each field. A field without any is spoken of by those before it."""
    names = set(kind.__struct_fields__)
    comment: list[str] = []
    said = ""
    line_before = -1
    for token in tokenize.generate_tokens(StringIO(inspect.getsource(kind)).readline):
        if token.type == tokenize.COMMENT and token.string.startswith("#:"):
            if token.start[0] != line_before + 1:
                comment = []
            comment.append(token.string.removeprefix("#:").strip())
            line_before = token.start[0]
        elif token.type == tokenize.NAME and token.string in names and token.start[1] == 4:
            said = " ".join(comment) if token.start[0] == line_before + 1 else said
            names.remove(token.string)
            yield token.string, said


if __name__ == "__main__":
    PATH.write_text(page())
