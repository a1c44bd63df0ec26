"""`forebay lab`: what is listed, what is asked for, and what is refused before anything runs."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from forebay.lab import catalogue as catalogue_module
from forebay.lab.scenario import Scenario
from tests.cli.conftest import Run
from tests.lab.letters import Letters


@pytest.fixture(autouse=True)
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue has a scenario of the tests alone."""
    known: dict[str, type[Scenario]] = {Letters.name(): Letters}
    monkeypatch.setattr(catalogue_module, "catalogue", lambda: known)
    # The command is imported when it is used first, and has the name from then on.
    monkeypatch.setattr("forebay.cli.lab.list.catalogue", lambda: known)


def test_the_scenarios_are_listed(run: Run) -> None:
    ended = run("lab", "list")
    assert ended.code == 0
    assert "letters    fast    A worker is killed with letters in its hands." in ended.out


@pytest.mark.parametrize(
    "command", [("list", "letters"), ("list", "--verbose"), ("run", "letters", "--help")]
)
def test_a_scenario_is_told_all_about(run: Run, command: tuple[str, ...]) -> None:
    said = run("lab", *command).out
    assert "Claim: Each letter is mailed once." in said
    assert (
        "--without key: The mail is asked for with an Idempotency-Key. Broken then:"
        " “each effect is performed once”." in said
    )
    assert "--count: Letters. It is a whole number from 2 to 100; by default 5." in said
    assert "--slow-seconds: How long one takes. It is a number of at least 0; by default 2" in said
    assert "--break-off: Have a mistake in the scenario. It is true or false; by default" in said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Name a scenario, or --fast, --slow or --all."),
        (("leters",), "There is no scenario leters. Did you mean letters?"),
        (("letters", "--cuont", "5"), "No scenario has an option --cuont. Did you mean --count?"),
        (("letters", "--sede", "5"), "Did you mean --seed"),
        (("letters", "--count"), "--count needs a value: a whole number from 2 to 100."),
        (("letters", "--count", "1"), "--count 1 of letters: it must be a whole number from 2"),
        (("letters", "--count", "few"), "--count few of letters: it must be a whole number from"),
        (("letters", "--slow-seconds=-1"), "it must be a number of at least 0."),
        (("letters", "--slow-seconds", "nan"), "it must be a number of at least 0."),
        (("letters", "--without", "luck"), "letters has no protection luck. It has key."),
        (("letters", "--repeat", "0"), "Invalid value for '--repeat'"),
        (("letters", "--aws", "--endpoint", "http://x"), "exclude each other"),
        (("letters", "--aws", "--time-scale", "2"), "time at Amazon SQS passes as it does"),
        (("letters", "--project", "a b"), "letters, digits, hyphens and underscores, 1 to 44"),
        (("letters", "--project", "x" * 45), "letters, digits, hyphens and underscores, 1 to 44"),
        (("letters", "--project", ""), "--project ''"),
        (("letters", "--json", "/nowhere/x"), "that directory does not exist"),
    ],
)
def test_what_cannot_be_run_is_refused(
    run: Run, arguments: tuple[str, ...], complaint: str
) -> None:
    ended = run("lab", "run", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err
    assert ended.err.count("\n") == 1


def test_without_the_extra_it_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "forebay.lab.extra.find_spec",
        lambda name: None if name == "uvicorn" else find_spec(name),
    )
    ended = run("lab", "run", "letters")
    assert (ended.code, ended.out) == (1, "")
    assert "pip install starlette uvicorn" in ended.err
