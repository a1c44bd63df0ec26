"""What a file and the environment may say of the broker's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.errors import SettingsError
from forebay.settings import Value, read_settings, refuse_misspelled, variable_of

SETTINGS = ("port", "keys", "time_scale", "allow_origin", "log_level")


def file_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "forebay.toml"
    path.write_text(text)
    return path


def test_a_setting_is_called_alike_everywhere() -> None:
    assert variable_of("time_scale") == "FOREBAY_TIME_SCALE"


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("[queues.jobs]\nDelaySeconds = 5", {}),
        ("[server]\nport = 9400\ntime_scale = 1.5", {"port": "9400", "time_scale": "1.5"}),
        ("[server]\nport = true\nkeys = false", {"port": "true", "keys": "false"}),
        ("[server]\nallow_origin = ['a', 'b']", {"allow_origin": ["a", "b"]}),
    ],
)
def test_a_file_says_what_an_option_would_say(
    tmp_path: Path, text: str, settings: dict[str, Value]
) -> None:
    assert read_settings(file_of(tmp_path, text), SETTINGS) == settings


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[server]\nprot = 1", "[server] has prot, which is no setting. Did you mean port?"),
        ("[server]\ntime-scale = 1", "Did you mean time_scale?"),
        ("[server]\nzebra = 1", "There are port, keys, time_scale, allow_origin, log_level."),
        ("[server]\nport = 1979-05-27", "port must be a text, a number, true or false"),
        ("[server.port]\na = 1", "port must be a text, a number, true or false"),
        ("server = 1", "server must be a table: [server]."),
        ("[server", "could not be read"),
    ],
)
def test_what_is_no_setting_is_refused_with_the_nearest_name(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = file_of(tmp_path, text)
    with pytest.raises(SettingsError) as refused:
        read_settings(path, SETTINGS)
    assert complaint in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "forebay.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="could not be read"):
        read_settings(path, SETTINGS)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("FOREBAY_KEY", "FOREBAY_KEYS"),
        ("FOREBAY_TIMESCALE", "FOREBAY_TIME_SCALE"),
        ("FOREBAY_LOGLEVEL", "FOREBAY_LOG_LEVEL"),
    ],
)
def test_a_misspelled_variable_is_refused_with_the_one_that_was_meant(
    variable: str, meant: str
) -> None:
    with pytest.raises(SettingsError, match=f"has {variable}, .* Did you mean {meant}?"):
        refuse_misspelled({variable: "x"}, SETTINGS)


def test_variables_that_others_set_are_left_alone() -> None:
    others = ["FOREBAY_SERVICE_PORT", "FOREBAY_PORT_9324_TCP", "FOREBAY_NAME", "FORE", "PATH"]
    refuse_misspelled(dict.fromkeys(["FOREBAY_PORT", *others], "x"), SETTINGS)
