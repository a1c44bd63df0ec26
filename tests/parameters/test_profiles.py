"""Profiles: those that come with Forebay, inheritance, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.parameters import ProfileError, load_profiles
from forebay.tunables import SCHEMA


def test_the_three_of_the_document_set_its_values_and_all_four_parameters() -> None:
    profiles = load_profiles(SCHEMA)
    four = ("sqs_flush_ms", "sqs_buffer_size", "sqs_batch_size", "sqs_timeout_ms")
    found = {
        name: tuple(profiles.resolved(name)[each] for each in four)
        for name in ("demo", "production", "stress")
    }
    assert found == {
        "demo": (500, 10_000, 10, 3_000),
        "production": (100, 50_000, 10, 3_000),
        "stress": (50, 100_000, 10, 3_000),
    }


def test_every_profile_that_comes_with_forebay_sets_something_for_a_reason() -> None:
    for profile in load_profiles(SCHEMA):
        assert len(profile.description) > 60
        assert profile.description.endswith(".")
        assert profile.parameters


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_nearest_value_counts_and_its_origin_is_known(tmp_path: Path) -> None:
    write(
        tmp_path,
        "near",
        'description = "Mine."\ninherits = "stress"\n[parameters]\nsqs_flush_ms = 20\n',
    )
    profiles = load_profiles(SCHEMA, [tmp_path])
    assert [each.name for each in profiles.line("near")] == ["base", "production", "stress", "near"]
    resolved = profiles.resolved("near")
    assert (resolved["sqs_flush_ms"], resolved["sqs_buffer_size"]) == (20, 100_000)
    origins = profiles.origins("near")
    assert (origins["sqs_flush_ms"], origins["sqs_batch_size"]) == ("near", "base")


def test_one_s_own_profile_takes_the_place_of_one_of_the_same_name(tmp_path: Path) -> None:
    write(tmp_path, "demo", 'description = "Mine."\n[parameters]\nsqs_flush_ms = 20\n')
    assert load_profiles(SCHEMA, [tmp_path]).resolved("demo") == {"sqs_flush_ms": 20}


HEAD = 'description = "Mine."\n'


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[parameters]\nsqs_flush_ms = 5", None, "a profile says what it is for"),
        ('description = " "\n[parameters]\nsqs_flush_ms = 5', 1, "says what it is for"),
        ("description = 5", 1, "says what it is for"),
        (HEAD, None, "a profile sets something"),
        (HEAD + "[parameters]\n", 2, "a profile sets something"),
        (HEAD + "parameters = 5\n", 2, "a profile sets something"),
        (HEAD + "[parameters]\nsqs_flush_ms = 0", 3, "sqs_flush_ms is 0; it must be 1 to 60,000"),
        (HEAD + "[parameters]\n\nsqs_flush_ms = 5.5", 4, "it must be a whole number"),
        (HEAD + '[parameters]\nsqs_flush_ms = "soon"', 3, "it must be a whole number"),
        (HEAD + "[parameters]\nsqs_flush_ms = true", 3, "it must be a whole number"),
        (HEAD + "[parameters]\nsqs_flush_ms = [5]", 3, "it must be a whole number"),
        (HEAD + "[parameters]\nsqs_flushms = 5", 3, "Did you mean sqs_flush_ms?"),
        (HEAD + "sqs_flush_ms = 5", 2, "Parameters are in the table [parameters]."),
        (HEAD + "[parameter]\nsqs_flush_ms = 5", 2, "Parameters are in the table [parameters]."),
        (HEAD + 'inherit = "base"\n[parameters]\nsqs_flush_ms = 5', 2, "Did you mean inherits?"),
        (HEAD + "inherits = 5\n[parameters]\nsqs_flush_ms = 5", 2, "the name of one profile"),
        (HEAD + 'inherits = ["base"]\n[parameters]\nsqs_flush_ms = 5', 2, "of one profile"),
        (HEAD + 'inherits = "bse"\n[parameters]\nsqs_flush_ms = 5', 2, "Did you mean base?"),
        (HEAD + 'inherits = "mine"\n[parameters]\nsqs_flush_ms = 5', 2, "mine → mine"),
        (HEAD + "[parameters\n", None, "is not TOML"),
        (
            HEAD + "[parameters]\nworker_concurrency = 5\nworker_concurrency_min = 6",
            None,
            "worker_concurrency_min is 6; it must be at most worker_concurrency, which is 5.",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(
    text: str, line: int | None, said: str, tmp_path: Path
) -> None:
    path = write(tmp_path, "mine", text)
    with pytest.raises(ProfileError) as refused:
        load_profiles(SCHEMA, [tmp_path])
    place = f"{path}, line {line}: " if line else f"{path}"
    assert f"{refused.value}".startswith(place)
    assert said in f"{refused.value}"


def test_a_circle_is_refused_with_all_that_are_in_it(tmp_path: Path) -> None:
    for name, parent in {"a": "b", "b": "c", "c": "b"}.items():
        write(
            tmp_path,
            name,
            f'{HEAD}inherits = "{parent}"\n[parameters]\nsqs_flush_ms = 5\n',
        )
    with pytest.raises(ProfileError, match=r"c\.toml, line 2: b inherits from itself: b → c → b\."):
        load_profiles(SCHEMA, [tmp_path])


def test_a_rule_is_checked_with_what_is_inherited(tmp_path: Path) -> None:
    write(tmp_path, "few", f"{HEAD}[parameters]\nworker_concurrency = 5\n")
    write(
        tmp_path,
        "many",
        f'{HEAD}inherits = "few"\n[parameters]\nworker_concurrency_min = 6\n',
    )
    with pytest.raises(ProfileError, match=r"many\.toml: with what it inherits, worker_concurren"):
        load_profiles(SCHEMA, [tmp_path])


@pytest.mark.parametrize("name", ["my profile", "-x", "a.b"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path, name, f"{HEAD}[parameters]\nsqs_flush_ms = 5\n")
    with pytest.raises(ProfileError, match="a profile has the name of its file"):
        load_profiles(SCHEMA, [tmp_path])


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'description = "\xe4"')
    with pytest.raises(ProfileError, match=r"latin\.toml is not text in UTF-8"):
        load_profiles(SCHEMA, [tmp_path])
    (tmp_path / "latin.toml").unlink()
    (tmp_path / "directory.toml").mkdir()
    with pytest.raises(ProfileError, match=r"directory\.toml cannot be read"):
        load_profiles(SCHEMA, [tmp_path])
    with pytest.raises(ProfileError, match="nowhere is no directory of profiles"):
        load_profiles(SCHEMA, [tmp_path / "nowhere"])


def test_an_unknown_profile_suggests_the_near_one() -> None:
    with pytest.raises(ProfileError, match="Did you mean production"):
        load_profiles(SCHEMA).resolved("prodction")
