"""A PostgreSQL server of the tests' own: one for all test processes of a run.

A keeper process starts the server and holds on to it until nobody uses it any more, however they
ended: each user holds a shared lock on a file, and the keeper waits for the exclusive one.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forebay.testing.postgres import PATIENCE_S
from forebay.testing.postgres import postgres_server as real_postgres_server

__all__ = ["PATIENCE_S", "postgres_server"]

#: The tests kill clients and never the server, so that it need not wait for the disk.
_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "16MB",
    "deadlock_timeout": "100ms",
    "log_min_messages": "panic",
}


@contextmanager
def postgres_server(shared: Path) -> Iterator[str]:
    """The conninfo of a server that all who name the same directory share.

    It is started when the first one asks and stopped when the last one has left.
    """
    with (
        (shared / "postgres-users").open("w") as users,
        (shared / "postgres-start").open("w") as gate,
    ):
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_EX)
        address = shared / "postgres-address"
        if not address.exists():
            _start_keeper(shared, address)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield address.read_text()


def _start_keeper(shared: Path, address: Path) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.postgres_server", str(shared)],
        cwd=Path(__file__).parents[1],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + PATIENCE_S
    while not address.exists():
        assert keeper.poll() is None, f"PostgreSQL did not start: {keeper.returncode}"
        assert time.monotonic() < deadline, f"PostgreSQL did not start within {PATIENCE_S} s"
        time.sleep(0.02)
    # Whoever started the keeper may end before it; nobody waits for it.
    keeper.returncode = 0


def keep(shared: Path) -> None:
    """Run a server until nobody uses it."""
    with (
        real_postgres_server(options=_OPTIONS) as conninfo,
        (shared / "postgres-users").open("w") as users,
    ):
        _announce(shared / "postgres-address", conninfo)
        fcntl.flock(users, fcntl.LOCK_EX)
        (shared / "postgres-address").unlink()


def _announce(address: Path, conninfo: str) -> None:
    """Write the file whole or not at all: its readers wait for its name."""
    draft = address.with_suffix(".draft")
    draft.write_text(conninfo)
    draft.rename(address)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
