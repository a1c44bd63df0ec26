"""The PostgreSQL of the tests is shared, and gone when nobody uses it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from tests.postgres_server import PATIENCE_S, postgres_server


def directory_of(conninfo: str) -> Path:
    found = re.search(r"host=(\S+)", conninfo)
    assert found is not None
    return Path(found[1])


def wait_until_gone(directory: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while directory.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_is_shared_until_the_last_user_has_left_and_started_anew_for_the_next(
    tmp_path: Path,
) -> None:
    with postgres_server(tmp_path) as conninfo:
        with postgres_server(tmp_path) as same:
            assert same == conninfo
        with psycopg.connect(conninfo) as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]
    wait_until_gone(directory_of(conninfo))
    with postgres_server(tmp_path) as another, psycopg.connect(another) as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
    wait_until_gone(directory_of(another))


def test_it_ends_with_a_user_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from tests.postgres_server import postgres_server\n"
        "with postgres_server(pathlib.Path(sys.argv[1])) as conninfo:\n"
        "    print(conninfo, flush=True); time.sleep(600)"
    )
    user = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert user.stdout is not None
    with user, user.stdout:
        directory = directory_of(user.stdout.readline())
        assert directory.exists()
        user.kill()
    wait_until_gone(directory)


def test_without_psycopg_the_store_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import forebay.idempotency\n"
        "import forebay.idempotency.postgres"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        'ImportError: The store in PostgreSQL needs psycopg: pip install "forebay[postgres]"'
        in (done.stderr)
    )
