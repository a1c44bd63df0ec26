"""What the commands on a spill directory have in common."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

#: The argument of each.
Directory = Annotated[
    Path,
    typer.Argument(
        metavar="DIRECTORY",
        help="What the producer was given as spill=, or one slot of it.",
        show_default=False,
    ),
]

_EPOCH = datetime.fromtimestamp(0, UTC)


def readable_time(at_ms: int | None) -> str:
    """A time for people; a dash for none."""
    if at_ms is None:
        return "-"
    try:
        moment = _EPOCH + timedelta(milliseconds=at_ms)
    except OverflowError:
        return str(at_ms)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
