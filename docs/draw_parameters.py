"""List the parameters and the profiles, from the schema itself; `make docs` writes the page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from forebay.parameters import load_profiles
from forebay.parameters.schema import in_words
from forebay.parameters.store import BY_MAX, HISTORY_MAX, NOTE_MAX
from forebay.tunables import SCHEMA

PATH = Path(__file__).parent / "reference" / "parameters.md"

_INTRODUCTION = """\
# Parameters and profiles

Written by `make docs` from the schema that every store and every program checks values with. How
to change them: [change parameters](../how-to/change-parameters.md).

## The parameters

Those that begin with `sqs_` are the `ProducerSettings` of producers that follow a store, the
others the `WorkerSettings` of workers. The default is that of the code; a program may have its
own value of what is not set. `worker_concurrency_min` may not be above `worker_concurrency`, nor
`worker_pollers_min` above `worker_pollers`; what is not set counts with its default. What is read
when a producer or a worker starts, such as the size of the spill, is no parameter.
"""

_TABLES = f"""\
## The tables

In SQLite and in PostgreSQL alike, made by the first change:

| table | columns |
|---|---|
| `application_parameters` | `name`, `value`, `updated_at`, `updated_by` |
| `application_parameter_changes` | `number`, `name`, `old_value`, `new_value`, and \
`changed_at`, `changed_by`, `note` |
| `application_parameter_schema` | `version`: which numbered files the database has seen |
| `application_parameter_author` | in SQLite: who changes something, while the transaction lasts |

A value is text, and is read by what its parameter is. Times are the database's own, in UTC. A
change is in both tables or in neither. `old_value` or `new_value` is NULL where the parameter was
not set. Whoever changes something is named with at most {BY_MAX} characters, a note has at most
{NOTE_MAX:,}, each in one line. A history shows the latest {HISTORY_MAX} unless more are asked
for, and nothing is ever taken out of it.

Whoever follows a store needs the right to SELECT alone. Names that are no parameters are left to
whoever has written them.
"""

_PROFILES = """\
## The profiles

They come with Forebay. What a profile inherits is set as well, unless it says otherwise itself.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, _parameters(), _TABLES, _PROFILES, *_profiles()])


def _parameters() -> str:
    return _table(
        ("parameter", "default", "range", "meaning"),
        ((f"`{each.name}`", in_words(each.default), each.range, each.meaning) for each in SCHEMA),
    )


def _profiles() -> Iterable[str]:
    profiles = load_profiles(SCHEMA)
    for profile in profiles:
        inherits = f" Inherits `{profile.inherits}`." if profile.inherits else ""
        values = profiles.resolved(profile.name)
        origins = profiles.origins(profile.name)
        yield f"### {profile.name}\n\n{profile.description}{inherits}\n"
        yield _table(
            ("parameter", "value", "from"),
            (
                (
                    f"`{each.name}`",
                    f"{in_words(values[each.name])} {each.unit}".rstrip(),
                    origins[each.name],
                )
                for each in SCHEMA
                if each.name in values
            ),
        )


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(page())
