"""What the usage log calls things of the sale, and where its producers leave their accounts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

#: The routes of the API.
PLACE_ORDER = "place_order"
GET_ORDER = "get_order"

#: Where an answer comes from: a message that was queued, what the store knew, nowhere.
FROM_QUEUE = "queue"
FROM_RECORD = "record"
FROM_NOWHERE = "none"

_ACCOUNT = "usage-ledger-{}.json"


def account_file(data_directory: Path, process: str) -> Path:
    """Where an API process writes its usage producer's ledger when it stops."""
    return data_directory / _ACCOUNT.format(process)


def account_files(data_directory: Path) -> Iterable[Path]:
    """The ledgers of all API processes that have stopped."""
    return data_directory.glob(_ACCOUNT.format("*"))
