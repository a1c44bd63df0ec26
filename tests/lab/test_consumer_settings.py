"""Every variable of the consumer: its default, its limits, and what is said of anything else."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from forebay.errors import SettingsError
from forebay.lab.consumer import VARIABLES, ConsumerSettings, read_settings

URL = "http://127.0.0.1:9324/000000000000/orders"

#: The document's table: the variables and their defaults.
DEFAULTS: dict[str, Any] = {
    "AWS_REGION": None,
    "WAIT_TIME_SECONDS": 10,
    "MAX_MESSAGES": 1,
    "CRASH_RATE": 0.0,
    "CRASH_AFTER_RECEIVE": False,
    "IDEMPOTENCY_CACHE_SIZE": 1000,
    "MESSAGE_LIMIT": 0,
    "IDLE_TIMEOUT_SECONDS": 0.0,
    "REJECT_PAYLOAD_MARKER": "",
    "MESSAGE_STATUS_TABLE": "",
    "MESSAGE_SIDE_EFFECTS_TABLE": "",
    "SIDE_EFFECT_DELAY_SECONDS": 0.0,
    "CRASH_AFTER_SIDE_EFFECT": False,
    "SIDE_EFFECT_LOG_PATH": "",
    "SIDE_EFFECT_LOG_FIELD": "sequence",
    "VERSIONING_ENABLED": False,
    "VERSION_STATE_PATH": "",
    "VERSION_LOG_PATH": "",
    "VERSION_SEEN_LOG_PATH": "",
    "VERSION_KEY": "version",
    "ENTITY_KEY": "entity_id",
    "BUSINESS_IDEMPOTENCY_FIELD": "",
    "LOG_LEVEL": "INFO",
}

SWITCHES = ("CRASH_AFTER_RECEIVE", "CRASH_AFTER_SIDE_EFFECT", "VERSIONING_ENABLED")
TEXTS = (
    "AWS_REGION",
    "REJECT_PAYLOAD_MARKER",
    "SIDE_EFFECT_LOG_PATH",
    "SIDE_EFFECT_LOG_FIELD",
    "VERSION_STATE_PATH",
    "VERSION_LOG_PATH",
    "VERSION_SEEN_LOG_PATH",
    "VERSION_KEY",
    "ENTITY_KEY",
    "BUSINESS_IDEMPOTENCY_FIELD",
)


def read(**variables: str) -> ConsumerSettings:
    return read_settings({"QUEUE_URL": URL, **variables})


def value(name: str, text: str) -> Any:
    """What a variable is read as, with what it needs beside it."""
    beside = {}
    if name == "VERSIONING_ENABLED":
        beside = {"VERSION_STATE_PATH": "state.sqlite3", "VERSION_LOG_PATH": "applied.log"}
    return getattr(read(**beside, **{name: text}), name.lower())


def test_the_variables_are_those_of_the_document_and_one_it_forgot() -> None:
    assert {each.name for each in VARIABLES} == {"QUEUE_URL", *DEFAULTS}
    assert [each.field for each in VARIABLES] == list(ConsumerSettings.__struct_fields__)


@pytest.mark.parametrize("text", [None, "", "  "])
@pytest.mark.parametrize("name", DEFAULTS)
def test_a_variable_that_is_not_set_or_empty_has_the_documents_default(
    name: str, text: str | None
) -> None:
    settings = read() if text is None else read(**{name: text})
    assert getattr(settings, name.lower()) == DEFAULTS[name]


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda each: each.name)
def test_what_help_calls_the_default_is_the_default(variable: Any) -> None:
    if variable.default:
        assert variable.read(variable.default) == DEFAULTS[variable.name]
    elif variable.name != "QUEUE_URL":
        assert not DEFAULTS[variable.name]


@pytest.mark.parametrize("text", [None, "", " "])
def test_the_queue_is_required(text: str | None) -> None:
    with pytest.raises(SettingsError, match="QUEUE_URL is not set; it must be the URL"):
        read_settings({} if text is None else {"QUEUE_URL": text})


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_taken_as_it_is(name: str) -> None:
    assert value(name, "Some Text/1") == "Some Text/1"


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize(
    ("text", "on"),
    [
        *((word, True) for word in ("1", "true", "True", "YES", "on", " oN ", "2", "-1")),
        *((word, False) for word in ("0", "false", "FALSE", "no", "Off", "00")),
    ],
)
def test_a_switch_is_read_as_people_write_it(name: str, text: str, on: bool) -> None:
    assert value(name, text) is on


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("text", ["maybe", "y", "0.5", "enabled"])
def test_a_switch_that_is_neither_on_nor_off_is_refused(name: str, text: str) -> None:
    with pytest.raises(
        SettingsError, match=f"{name} is '{text}'; it must be 1, true, yes or on, or else 0, false"
    ):
        value(name, text)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("WAIT_TIME_SECONDS", "0", 0),
        ("WAIT_TIME_SECONDS", " 20 ", 20),
        ("MAX_MESSAGES", "10", 10),
        ("CRASH_RATE", "0.2", 0.2),
        ("CRASH_RATE", "1", 1.0),
        ("IDEMPOTENCY_CACHE_SIZE", "0", 0),
        ("IDEMPOTENCY_CACHE_SIZE", "5", 5),
        ("MESSAGE_LIMIT", "3", 3),
        ("IDLE_TIMEOUT_SECONDS", "2.5", 2.5),
        ("SIDE_EFFECT_DELAY_SECONDS", "30", 30.0),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("LOG_LEVEL", "WARNING", "WARNING"),
    ],
)
def test_a_value_within_its_limits(name: str, text: str, expected: object) -> None:
    assert value(name, text) == expected


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("WAIT_TIME_SECONDS", "21", "a whole number from 0 to 20"),
        ("WAIT_TIME_SECONDS", "-1", "a whole number from 0 to 20"),
        ("WAIT_TIME_SECONDS", "1.5", "a whole number from 0 to 20"),
        ("MAX_MESSAGES", "0", "a whole number from 1"),
        ("MAX_MESSAGES", "ten", "a whole number from 1"),
        ("CRASH_RATE", "1.1", "a number from 0 to 1"),
        ("CRASH_RATE", "-0.1", "a number from 0 to 1"),
        ("CRASH_RATE", "nan", "a number from 0 to 1"),
        ("CRASH_RATE", "20%", "a number from 0 to 1"),
        ("IDEMPOTENCY_CACHE_SIZE", "-1", "a whole number from 0"),
        ("MESSAGE_LIMIT", "-1", "a whole number from 0"),
        ("MESSAGE_LIMIT", "all", "a whole number from 0"),
        ("IDLE_TIMEOUT_SECONDS", "inf", "a number from 0 to 86,400"),
        ("SIDE_EFFECT_DELAY_SECONDS", "-0.5", "a number from 0 to 86,400"),
        ("LOG_LEVEL", "chatty", "one of DEBUG, INFO, WARNING, ERROR"),
    ],
)
def test_a_value_out_of_its_limits_is_named_with_them(name: str, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        value(name, text)
    assert str(raised.value).startswith(f"{name} is {text!r}; it must be {says}")


def test_more_than_ten_messages_a_receive_are_ten_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="forebay")
    assert value("MAX_MESSAGES", "25") == 10
    assert "MAX_MESSAGES is 25; SQS gives at most 10" in caplog.text


@pytest.mark.parametrize("missing", ["VERSION_STATE_PATH", "VERSION_LOG_PATH"])
def test_versions_need_their_files(missing: str) -> None:
    files = {"VERSION_STATE_PATH": "state.sqlite3", "VERSION_LOG_PATH": "applied.log"}
    del files[missing]
    with pytest.raises(SettingsError, match=f"{missing} is not set; with VERSIONING_ENABLED"):
        read(VERSIONING_ENABLED="1", **files)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("sqlite:///messages.sqlite3", Path("messages.sqlite3").absolute()),
        ("sqlite:////var/lib/lab%20one.db", Path("/var/lib/lab one.db")),
    ],
)
def test_both_tables_may_be_files(address: str, path: Path) -> None:
    settings = read(MESSAGE_STATUS_TABLE=address, MESSAGE_SIDE_EFFECTS_TABLE=address)
    assert settings.status_path == settings.effects_path == path
    assert settings.outside_url is None


def test_effects_may_be_in_an_outside_service() -> None:
    settings = read(MESSAGE_SIDE_EFFECTS_TABLE="http://127.0.0.1:8080")
    assert (settings.outside_url, settings.effects_path) == ("http://127.0.0.1:8080", None)


@pytest.mark.parametrize(
    ("name", "address", "says"),
    [
        ("MESSAGE_STATUS_TABLE", "sqs-demo-message-status", "the name of a DynamoDB table"),
        ("MESSAGE_SIDE_EFFECTS_TABLE", "effects", "Tables in DynamoDB are not there yet"),
        ("MESSAGE_STATUS_TABLE", "http://127.0.0.1:8080", "it must be sqlite:///PATH."),
        ("MESSAGE_STATUS_TABLE", "sqlite:///", "which names no file"),
        ("MESSAGE_SIDE_EFFECTS_TABLE", "sqlite:///:memory:", "which names no file"),
        ("MESSAGE_SIDE_EFFECTS_TABLE", "postgresql://db", "PATH or http://HOST:PORT of an outside"),
    ],
)
def test_an_address_that_is_no_table_is_refused(name: str, address: str, says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read(**{name: address})
    assert str(raised.value).startswith(f"{name} is {address!r}")
    assert says in str(raised.value)
