"""Packs as the stores see them."""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


class Record(Struct, Generic[T], frozen=True):
    """An event of a pack."""

    index: int
    #: When it was made, in milliseconds since the Unix epoch.
    at_ms: int
    payload: T
    key: str | None = None


class BadRecord(Struct, frozen=True):
    """An event that does not fit its type."""

    index: int
    at_ms: int | None
    json: bytes
    reason: str


class Pack(Struct, Generic[T], frozen=True):
    """Events of one type and one node that came in one message."""

    id: str
    type: str
    node: str
    #: False for a plain envelope, which is one event.
    sealed: bool
    records: list[Record[T]]
    bad: list[BadRecord]
