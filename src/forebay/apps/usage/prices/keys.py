"""Who may ask: API keys, of which only the ids are ever logged."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import msgspec

from forebay.errors import SettingsError

#: The id that the usage log has for a request without a key, or with one that nobody has.
UNKNOWN_KEY = "unknown"

#: The keys by their ids when no others are given.
DEMO_KEYS = {
    "ak_demo_trading_desk": "demo-key-1",
    "ak_demo_mobile_app": "demo-key-2",
    "ak_demo_dashboard": "demo-key-3",
    "ak_demo_research": "demo-key-4",
}


class KeyRing:
    """Finds the id of a key. It holds hashes, so that no dump of it gives a key away."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        """`keys` has each key by its id. Raises SettingsError when two ids have the same key."""
        self._ids = {_hash(key): identifier for identifier, key in keys.items()}
        if len(self._ids) < len(keys):
            raise SettingsError("Two API key ids have the same key. Give each its own.")

    def identify(self, key: str | None) -> str | None:
        """The id of a key; None when nobody has it."""
        return None if key is None else self._ids.get(_hash(key))


def read_keys(path: Path) -> dict[str, str]:
    """The keys by their ids in a TOML file: a line `id = "key"` for each, in a table `[keys]`.

    Raises SettingsError, which shows no key.
    """
    try:
        keys = msgspec.convert(tomllib.loads(path.read_text("utf-8")).get("keys"), dict[str, str])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError):
        raise SettingsError(
            f'{path} has no API keys. Write a table [keys] with a line id = "key" for each.'
        ) from None
    if not all(keys.values()) or not keys:
        raise SettingsError(f"{path} has an empty API key, or none at all.")
    return keys


def _hash(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogateescape")).digest()
