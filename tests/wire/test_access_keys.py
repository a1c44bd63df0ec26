"""The keys file: what it says, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.broker.keys import Key, load_keys
from forebay.broker.policy import Grant, Principal
from forebay.errors import SettingsError
from forebay.protocol.sigv4 import Credentials

SECRET = "hunter2-and-some-more"
FIRST = f'[[key]]\naccess_key_id = "AKIDORDERS"\nsecret_access_key = "{SECRET}"\n'


def keys_file(directory: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = directory / "keys.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def test_a_key_may_do_everything_in_the_default_account(tmp_path: Path) -> None:
    assert load_keys(keys_file(tmp_path, FIRST)) == {
        "AKIDORDERS": Key(Credentials("AKIDORDERS", SECRET), Principal("000000000000"))
    }


def test_a_key_says_whose_it_is_and_what_it_may_do(tmp_path: Path) -> None:
    second = f"""
        [[key]]
        access_key_id = "ASIAREPORTS"
        secret_access_key = "{SECRET}-2"
        session_token = "token"
        account_id = "111122223333"
        user = "reports"
        allow = ["sqs:ReceiveMessage", "SQS:delete*"]
        queues = ["reports*", "audit.fifo"]
    """
    keys = load_keys(keys_file(tmp_path, FIRST + second))
    assert set(keys) == {"AKIDORDERS", "ASIAREPORTS"}
    assert keys["ASIAREPORTS"] == Key(
        Credentials("ASIAREPORTS", f"{SECRET}-2", "token"),
        Principal(
            "111122223333",
            "reports",
            Grant(("sqs:ReceiveMessage", "SQS:delete*"), ("reports*", "audit.fifo")),
        ),
    )


def test_no_key_shows_its_secrets(tmp_path: Path) -> None:
    shown = repr(load_keys(keys_file(tmp_path, FIRST + 'session_token = "a-token"')))
    assert "AKIDORDERS" in shown
    assert SECRET not in shown
    assert "a-token" not in shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Object missing required field `key`"),
        ("key = []", "key: Expected `array` of length >= 1"),
        ("key = 7", "key: Expected `array`, got `int`"),
        (f"{FIRST}[[key]]", "key 2: Object missing required field `access_key_id`"),
        (f"{FIRST}alow = []", "key 1: Object contains unknown field `alow`"),
        (f"{FIRST}account_id = 7", "key 1, field account_id: Expected `str`, got `int`"),
        (f'{FIRST}account_id = "7"', "key 1, field account_id: Expected `str` matching regex"),
        (f'{FIRST}account_id = "111122223333\\n"', "key 1, field account_id: Expected `str`"),
        (f'{FIRST}user = "a b"', "key 1, field user: Expected `str` matching regex"),
        (f'{FIRST}session_token = ""', "key 1, field session_token: Expected `str` of length >= 1"),
        (f'{FIRST}queues = ["jobs", "arn:x"]', "key 1, field queues[1]: Expected `str` matching"),
        (
            FIRST.replace(SECRET, "hunter2"),
            "key 1, field secret_access_key: Expected `str` of length >= 16",
        ),
        (FIRST.replace("AKID", "AK/ID"), "key 1, field access_key_id: Expected `str` matching"),
        (FIRST + FIRST, "AKIDORDERS is there twice"),
        (
            f'{FIRST}allow = ["sqs:*", "sqs:SendMesage"]',
            "key AKIDORDERS allows 'sqs:SendMesage', which is no action of SQS. Write for example"
            " sqs:SendMessage, which covers SendMessageBatch, or sqs:*.",
        ),
        (
            f'{FIRST}allow = ["sqs:SendMessageBatch"]',
            "key AKIDORDERS allows 'sqs:SendMessageBatch'",
        ),
    ],
)
def test_a_wrong_file_is_told_by_key_and_field(tmp_path: Path, text: str, reason: str) -> None:
    path = keys_file(tmp_path, text)
    with pytest.raises(SettingsError) as raised:
        load_keys(path)
    assert str(raised.value).startswith(f"Keys file {path}: {reason}")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("text", [f"{FIRST}=", b"\xff", FIRST.replace('more"', "more")])
def test_a_file_that_is_no_toml_is_told_so(tmp_path: Path, text: str | bytes) -> None:
    path = keys_file(tmp_path, text)
    with pytest.raises(SettingsError) as raised:
        load_keys(path)
    assert str(raised.value).startswith(f"The keys file {path} is not TOML: ")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440])
def test_the_owner_and_the_group_may_read_the_file(tmp_path: Path, mode: int) -> None:
    assert load_keys(keys_file(tmp_path, FIRST, mode))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o660, 0o666, 0o601])
def test_nobody_else_may_read_or_change_the_file(tmp_path: Path, mode: int) -> None:
    path = keys_file(tmp_path, FIRST, mode)
    with pytest.raises(SettingsError) as raised:
        load_keys(path)
    assert str(raised.value) == (
        f"Others can read or change the keys file {path}, and with it every queue."
        f" Run: chmod 600 {path}"
    )


def test_a_file_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    for path in (tmp_path / "keys.toml", tmp_path):
        with pytest.raises(SettingsError, match=r"The keys file .* cannot be read: "):
            load_keys(path)
