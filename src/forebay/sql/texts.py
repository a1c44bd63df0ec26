"""Texts as every database takes them."""

from __future__ import annotations

import hashlib
import re

#: Longest name that is kept as it is, in characters. An index of PostgreSQL's takes 2,704 bytes.
NAME_MAX = 500

#: How a name that stands for a longer one ends. No other name may.
_HASHED = re.compile(r"#[0-9a-f]{64}$")


def stored_name(name: str) -> str:
    """The text that stands for a key, an id or an entity in a database.

    One that is long, or has characters that a database refuses, ends in its hash instead.
    """
    if len(name) <= NAME_MAX and name.isprintable() and not _HASHED.search(name):
        return name
    readable = "".join(each if each.isprintable() else "?" for each in name[:100])
    return f"{readable}#{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()}"


def stored_text(text: str) -> str:
    """A text in which each character that PostgreSQL refuses is replaced."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")
