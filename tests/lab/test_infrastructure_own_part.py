"""The part of .env that `forebay lab up` writes: what is not its own stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.lab.infrastructure.dotenv import read_dotenv
from forebay.lab.infrastructure.own_part import (
    ForeignDotenv,
    own_part,
    remove_own_part,
    require_own,
    write_own_part,
)


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_a_new_file_has_the_part_and_goes_with_it(dotenv: Path) -> None:
    require_own(dotenv, force=False)
    write_own_part(dotenv, {"A": "a b", "B": "2"})
    assert read_dotenv(dotenv) == own_part(dotenv) == {"A": "a b", "B": "2"}
    require_own(dotenv, force=False)
    assert remove_own_part(dotenv)
    assert not dotenv.exists()
    assert not remove_own_part(dotenv)


def test_what_is_added_below_stays_and_wins(dotenv: Path) -> None:
    write_own_part(dotenv, {"A": "1", "B": "1"})
    with dotenv.open("a") as file:
        file.write("CRASH_RATE=0.2\nB=mine\n")
    write_own_part(dotenv, {"A": "2", "B": "2"})
    assert read_dotenv(dotenv) == {"A": "2", "B": "mine", "CRASH_RATE": "0.2"}
    assert own_part(dotenv) == {"A": "2", "B": "2"}
    assert remove_own_part(dotenv)
    assert dotenv.read_text() == "CRASH_RATE=0.2\nB=mine\n"


def test_lines_that_end_otherwise_stay_and_the_part_among_them_is_found(dotenv: Path) -> None:
    dotenv.write_bytes(b"\xef\xbb\xbfKEY=k\r\n")
    write_own_part(dotenv, {"A": "1"})
    assert dotenv.read_bytes().startswith(b"\xef\xbb\xbfKEY=k\r\n#")
    dotenv.write_bytes(dotenv.read_bytes().replace(b"\r", b"").replace(b"\n", b"\r\n").rstrip())
    assert own_part(dotenv) == {"A": "1"}
    require_own(dotenv, force=False)
    assert remove_own_part(dotenv)
    assert dotenv.read_bytes() == b"\xef\xbb\xbfKEY=k\r\n"


def test_a_foreign_file_is_not_touched_unless_that_is_forced(dotenv: Path) -> None:
    dotenv.write_text("A=theirs\nKEY=k")
    with pytest.raises(ForeignDotenv, match="--force"):
        require_own(dotenv, force=False)
    assert own_part(dotenv) == {}
    assert not remove_own_part(dotenv)
    require_own(dotenv, force=True)
    write_own_part(dotenv, {"A": "ours"})
    assert read_dotenv(dotenv) == {"A": "ours", "KEY": "k"}
    assert remove_own_part(dotenv)
    assert dotenv.read_text() == "A=theirs\nKEY=k\n"
