"""Where a store of parameters is, as a URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from forebay.errors import SettingsError
from forebay.parameters.schema import Schema
from forebay.parameters.store import ParameterStore

#: The environment variable that names the store.
VARIABLE = "FOREBAY_PARAMETERS"

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def open_store(url: str, schema: Schema) -> ParameterStore:
    """The store of a URL: `sqlite:///PATH`, or `postgresql://USER:PASSWORD@HOST/DATABASE`.

    A path is relative to the current directory unless it begins with a slash of its own, the
    fourth. Nothing is opened yet. Raises SettingsError, which does not repeat the URL: it may hold
    a password.
    """
    if url.startswith(_SQLITE):
        path = unquote(url.removeprefix(_SQLITE))
        if not path or path.startswith(":memory:") or "\0" in path:
            raise SettingsError(
                "The store of parameters names no file. Say one, as in sqlite:///parameters.db."
            )
        from forebay.parameters.sqlite import SqliteParameterStore  # noqa: PLC0415

        return SqliteParameterStore(Path(path), schema)
    if url.startswith(_POSTGRES):
        try:
            from forebay.parameters.postgres import PostgresParameterStore  # noqa: PLC0415
        except ModuleNotFoundError:
            raise
        except ImportError as error:
            raise SettingsError(f"{error}") from error
        return PostgresParameterStore(url, schema)
    raise SettingsError(
        "The store of parameters is named by a URL: sqlite:///parameters.db, sqlite:////var/lib/"
        "shop/parameters.db for a path from the root, or postgresql://app@db/shop."
    )
