"""Options, variables and the file of `forebay serve`: who decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperCommand, TyperOption

from forebay.cli.main import app
from forebay.cli.server_settings import give_variables, take_file
from forebay.errors import SettingsError


def serve_command() -> TyperCommand:
    command = typer.main.get_command(app).get_command(None, "serve")  # type: ignore[attr-defined]
    assert isinstance(command, TyperCommand)
    return command


def settings_of(*arguments: str) -> dict[str, Any]:
    """What `forebay serve` would be told."""
    return dict(serve_command().make_context("serve", list(arguments)).params)


OPTIONS = [option for option in serve_command().params if isinstance(option, TyperOption)]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.opts[0])
def test_every_option_has_its_variable(option: TyperOption) -> None:
    variable = "FOREBAY_" + option.opts[0].removeprefix("--").replace("-", "_").upper()
    names = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
    assert names[0] == variable
    assert option.show_envvar


def value_for(option: TyperOption) -> str:
    """Something that the option takes."""
    for value in ("true",) if option.is_flag else ("1", "text", "os", "json", "debug"):
        try:
            settings_of(*([option.opts[0]] if option.is_flag else [option.opts[0], value]))
        except (typer.BadParameter, SettingsError):
            continue
        return value
    raise AssertionError(f"Let this test know a value that {option.opts[0]} takes.")


@pytest.mark.parametrize(
    "option", [one for one in OPTIONS if one.name != "config"], ids=lambda option: option.opts[0]
)
def test_every_option_can_be_set_in_the_file(option: TyperOption, tmp_path: Path) -> None:
    file = tmp_path / "forebay.toml"
    name = option.opts[0].removeprefix("--").replace("-", "_")
    value = value_for(option)
    file.write_text(f'[server]\n{name} = "{value}"\n')
    by_file = settings_of("--config", str(file))[option.name]
    arguments = [option.opts[0]] if option.is_flag else [option.opts[0], value]
    assert by_file == settings_of(*arguments)[option.name]


def test_an_option_comes_before_the_variable_before_the_file_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings_of()["port"] == 9324
    file = tmp_path / "forebay.toml"
    file.write_text('[server]\nport = 1\nregion = "eu-west-1"\nallow_anyone = true\n')
    monkeypatch.setenv("FOREBAY_CONFIG", str(file))
    settings = settings_of()
    assert (settings["port"], settings["region"], settings["allow_anyone"]) == (
        *(1, "eu-west-1", True),
    )
    monkeypatch.setenv("FOREBAY_PORT", "2")
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    settings = settings_of()
    assert (settings["port"], settings["region"]) == (2, "eu-west-2")
    monkeypatch.setenv("FOREBAY_REGION", "eu-west-3")
    settings = settings_of("--port", "3")
    assert (settings["port"], settings["region"]) == (3, "eu-west-3")


def test_a_variable_that_is_empty_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FOREBAY_PORT", "FOREBAY_KEYS", "FOREBAY_CONFIG", "FOREBAY_ALLOW_ANYONE"):
        monkeypatch.setenv(name, "")
    settings = settings_of()
    assert (settings["port"], settings["keys"], settings["allow_anyone"]) == (9324, None, False)


def another_command() -> TyperCommand:
    """A command whose options may be repeated, read from a file as those of serve are."""
    single = typer.Typer()

    @single.command()
    def another(
        config: Annotated[Path | None, typer.Option(is_eager=True, callback=take_file)] = None,
        allow: Annotated[list[str] | None, typer.Option()] = None,
        one: Annotated[str, typer.Option()] = "",
    ) -> None: ...

    command = typer.main.get_command(single)
    assert isinstance(command, TyperCommand)
    give_variables(command)
    return command


@pytest.mark.parametrize("text", ["['a b', 'c']", "'a b'"])
def test_what_may_be_repeated_takes_a_list(tmp_path: Path, text: str) -> None:
    file = tmp_path / "forebay.toml"
    file.write_text(f"[server]\nallow = {text}\n")
    context = another_command().make_context("another", ["--config", str(file)])
    assert list(context.params["allow"]) == (["a b", "c"] if "c" in text else ["a b"])


def test_what_may_not_be_repeated_takes_none(tmp_path: Path) -> None:
    file = tmp_path / "forebay.toml"
    file.write_text("[server]\none = ['a']\n")
    with pytest.raises(SettingsError, match="one must be one value, not a list"):
        another_command().make_context("another", ["--config", str(file)])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda env: env.setenv("FOREBAY_KEY", "x"), "Did you mean FOREBAY_KEYS?"),
        (lambda env: env.setenv("FOREBAY_CONFIG", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_a_wrong_environment_is_refused(
    change: Callable[[pytest.MonkeyPatch], None], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    with pytest.raises(SettingsError) as refused:
        settings_of()
    assert complaint in str(refused.value)
