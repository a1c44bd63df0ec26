"""The store that a command means, and what the commands on parameters have in common."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from forebay.parameters.address import VARIABLE, open_store
from forebay.parameters.schema import Parameter, Value, in_words
from forebay.parameters.store import Change, ParameterStore, StoredValue
from forebay.tunables import SCHEMA

T = TypeVar("T")

#: Where parameters are kept unless the user says otherwise: beside the broker's data.
_DIRECTORY = Path(".forebay")
DEFAULT_URL = f"sqlite:///{_DIRECTORY}/parameters.sqlite3"

#: Who changes something where the system does not know.
_NOBODY = "unknown"

Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        envvar=VARIABLE,
        help="Where the parameters are: sqlite:///PATH or postgresql://USER@HOST/DATABASE. Others"
        " may see a command line: put a URL with a password into the variable.",
        show_default=DEFAULT_URL,
    ),
]
ParameterName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The parameter, such as sqs_flush_ms.",
        autocompletion=lambda incomplete: [
            parameter.name for parameter in SCHEMA if parameter.name.startswith(incomplete)
        ],
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by", metavar="WHO", help="Who changes it, for the history.", show_default="your user"
    ),
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for the history.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def with_store(
    url: str | None, do: Callable[[ParameterStore], Awaitable[T]], *, writes: bool = False
) -> T:
    """What `do` gives with the store that was named. Raises SettingsError and StoreError."""

    async def run() -> T:
        store = open_store(url or DEFAULT_URL, SCHEMA)
        try:
            return await do(store)
        finally:
            await store.close()

    if writes and url is None:
        _DIRECTORY.mkdir(exist_ok=True)
    return asyncio.run(run())


def user(by: str | None) -> str:
    """Who changes something: whom the command line names, or the user of this process."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return _NOBODY


def texts(stored: Mapping[str, StoredValue]) -> dict[str, str]:
    """The values as they stand in the table, by name."""
    return {name: row.value for name, row in stored.items()}


def with_unit(parameter: Parameter, value: Value) -> str:
    """A value with what it counts."""
    return f"{in_words(value)} {parameter.unit}".rstrip()


def said(name: str, text: str | None) -> str:
    """A value of the history for people."""
    if text is None:
        return "not set"
    values, _ = SCHEMA.accept({name: text}, {})
    return in_words(values[name]) if name in values else text


def line_of(change: Change) -> str:
    """A change in one line."""
    note = f": {change.note}" if change.note else ""
    return (
        f"{change.at}  {change.name}  {said(change.name, change.old)} →"
        f" {said(change.name, change.new)}, by {change.by}{note}"
    )
