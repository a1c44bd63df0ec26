"""The account that a killed producer leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.producer.account_file import ACCOUNT_FILE, AccountFile


def left_in(directory: Path) -> list[bytes]:
    file = AccountFile(directory)
    try:
        return sorted(file.read())
    finally:
        file.close()


def test_the_last_two_accounts_are_there(tmp_path: Path) -> None:
    file = AccountFile(tmp_path)
    assert file.read() == []
    for data in (b"one", b"two", b"three"):
        file.write(data)
    file.close()
    assert left_in(tmp_path) == [b"three", b"two"]


@pytest.mark.parametrize("cut", range(1, 16))
def test_a_write_that_was_cut_short_leaves_the_one_before(tmp_path: Path, cut: int) -> None:
    file = AccountFile(tmp_path)
    for data in (b"one", b"two", b"three"):
        file.write(data)
    file.close()
    path = tmp_path / ACCOUNT_FILE
    whole = bytearray(path.read_bytes())
    whole[cut:16] = bytes(16 - cut)
    path.write_bytes(whole)
    assert b"two" in left_in(tmp_path)
    assert set(left_in(tmp_path)) <= {b"two", b"three"}


def test_an_account_that_fits_into_no_slot_is_refused(tmp_path: Path) -> None:
    file = AccountFile(tmp_path)
    with pytest.raises(OSError, match="does not fit"):
        file.write(b"x" * 5_000)
    file.close()
