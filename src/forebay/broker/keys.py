"""The keys file: who may use the broker, and for what."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from forebay.broker.policy import Grant, Principal
from forebay.broker.wildcards import wildcard
from forebay.errors import SettingsError
from forebay.protocol.actions import ACTIONS
from forebay.protocol.identifiers import DEFAULT_ACCOUNT_ID
from forebay.protocol.sigv4 import Credentials

#: Shortest secret, in characters. Whoever sees one signed request can try all short ones on it.
SECRET_CHARACTERS_MIN = 16

#: What nobody may do with the file but its owner: the group may read it, as Kubernetes has it.
_FORBIDDEN_MODE = stat.S_IWGRP | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Key:
    """A key that requests may be signed with."""

    credentials: Credentials
    principal: Principal


#: The keys by their access key ids.
Keys: TypeAlias = Mapping[str, Key]


def load_keys(path: Path) -> Keys:
    """Read a keys file.

    Raises SettingsError, which names the file, the key and the field, when the file cannot be read,
    when others can read it, and when it does not say exactly what each key is. No message quotes a
    secret.
    """
    return _parse(path, _read_private(path, "keys file", "every queue"))


def load_token(path: Path) -> bytes:
    """Read a file that holds a bearer token and nothing else.

    Raises SettingsError when it cannot be read, when others can read it, and for a short token. No
    message quotes it.
    """
    token = _read_private(path, "token file", "the metrics").strip()
    if len(token) < SECRET_CHARACTERS_MIN or not token.isascii() or len(token.split()) != 1:
        raise SettingsError(
            f"The token file {path} must hold one word of {SECRET_CHARACTERS_MIN} characters or"
            " more, for example what this prints: python -c 'import secrets;"
            " print(secrets.token_urlsafe(30))'"
        )
    return token


def _read_private(path: Path, what: str, opens: str) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except OSError as error:
        raise SettingsError(f"The {what} {path} cannot be read: {error.strerror}.") from error
    if mode & _FORBIDDEN_MODE:
        raise SettingsError(
            f"Others can read or change the {what} {path}, and with it {opens}."
            f" Run: chmod 600 {path}"
        )
    return content


def _parse(path: Path, content: bytes) -> Keys:
    try:
        entries = msgspec.toml.decode(content, type=_File).key
    except msgspec.ValidationError as error:
        raise SettingsError(f"Keys file {path}: {_explain(str(error))}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The keys file {path} is not TOML: {error}.") from error
    keys: dict[str, Key] = {}
    for entry in entries:
        if entry.access_key_id in keys:
            raise SettingsError(f"Keys file {path}: {entry.access_key_id} is there twice.")
        for pattern in entry.allow:
            _check_action(path, entry.access_key_id, pattern)
        keys[entry.access_key_id] = Key(
            Credentials(entry.access_key_id, entry.secret_access_key, entry.session_token),
            Principal(entry.account_id, entry.user, Grant(entry.allow, entry.queues)),
        )
    return keys


class _Entry(Struct, forbid_unknown_fields=True):
    """A key as the file has it."""

    access_key_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}\Z")]
    secret_access_key: Annotated[str, Meta(min_length=SECRET_CHARACTERS_MIN)]
    account_id: Annotated[str, Meta(pattern=r"^[0-9]{12}\Z")] = DEFAULT_ACCOUNT_ID
    user: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_+=,.@-]{1,64}\Z")] | None = None
    session_token: Annotated[str, Meta(min_length=1)] | None = None
    allow: tuple[str, ...] = Grant().actions
    queues: tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.*?-]+\Z")], ...] = Grant().queues

    def __repr__(self) -> str:
        return f"_Entry({self.access_key_id!r})"


class _File(Struct, forbid_unknown_fields=True):
    key: Annotated[list[_Entry], Meta(min_length=1)]


def _explain(reason: str) -> str:
    """Say `key 2, field account_id` for msgspec's `$.key[1].account_id`."""
    reason, _, place = reason.partition(" - at `$.")
    where = re.sub(r"^key\[(\d+)\]", lambda found: f"key {int(found[1]) + 1}", place.rstrip("`"))
    return f"{where.replace('.', ', field ', 1)}: {reason}" if where else reason


def _check_action(path: Path, access_key_id: str, pattern: str) -> None:
    """A misspelt action would silently allow nothing."""
    like = wildcard(pattern.lower())
    names = (f"sqs:{name}".lower() for name in ACTIONS if not name.endswith("Batch"))
    if not any(like.fullmatch(name) for name in names):
        raise SettingsError(
            f"Keys file {path}: key {access_key_id} allows {pattern!r}, which is no action of SQS."
            " Write for example sqs:SendMessage, which covers SendMessageBatch, or sqs:*."
        )
