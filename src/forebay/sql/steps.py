"""Statements of one transaction that run on any connection, synchronous or not.

Steps are a generator that yields a statement with its values and is sent the rows. A value is
written `:name`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Statement: TypeAlias = tuple[str, dict[str, object]]
Rows: TypeAlias = Sequence[Sequence[Any]]
Steps: TypeAlias = Generator[Statement, Rows, T]
