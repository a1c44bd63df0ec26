"""A real file that takes a part of a write and refuses the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.acceptance import spill_tight_program


def test_a_write_that_is_cut_short_leaves_nothing_of_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, spill_tight_program.__file__, str(tmp_path / "spill")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    error, found, account = done.stdout.splitlines()
    assert "cannot be read or written" in error
    assert "File too large" in error
    assert found.split() == [f"r{number}" for number in [*range(60), *range(90, 95)]]
    assert "appended=65, acknowledged=65, corrupt=0" in account
    assert not list((tmp_path / "spill").glob("*.spill"))
