"""Which of the words of a command line are scenarios, and which are their options."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from msgspec import Meta

from forebay.cli.lab.words import Words, refuse_strange, sorted_words
from forebay.errors import SettingsError
from forebay.lab.options import options_in, options_of
from forebay.lab.scenario import Scenario, ScenarioOptions
from tests.lab.letters import Letters


class Flood(Letters):
    """More letters than a worker can take."""

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        rate: Annotated[float, Meta(gt=0, description="Letters a second.")] = 10.0
        end: Literal["kill", "stop"] = "stop"
        count: int = 7

    @classmethod
    def name(cls) -> str:
        return "flood"


KNOWN: dict[str, type[Scenario]] = {"letters": Letters, "flood": Flood}


@pytest.mark.parametrize(
    ("words", "names", "options"),
    [
        ([], [], {}),
        (["letters"], ["letters"], {}),
        (["letters", "--count", "10"], ["letters"], {"count": "10"}),
        (["--count=10", "letters"], ["letters"], {"count": "10"}),
        (["letters", "--slow-seconds", "-1"], ["letters"], {"slow_seconds": "-1"}),
        (["--break-off", "letters"], ["letters"], {"break_off": "true"}),
        (["--no-break-off", "letters"], ["letters"], {"break_off": "false"}),
        (["--break-off=false", "letters"], ["letters"], {"break_off": "false"}),
        (["letters", "--rate", "3", "flood"], ["letters", "flood"], {"rate": "3"}),
        (["--count", "1", "--count", "2"], [], {"count": "2"}),
        (["--count="], [], {"count": ""}),
    ],
)
def test_options_are_told_from_names(
    words: list[str], names: list[str], options: dict[str, str]
) -> None:
    assert sorted_words(words, KNOWN) == Words(names, options)


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("--cont", "No scenario has an option --cont. Did you mean --count?"),
        ("--zzz", "No scenario has an option --zzz."),
        ("--no-count", "No scenario has an option --no-count. Did you mean --count?"),
        ("--hlep", "No scenario has an option --hlep. Did you mean --help?"),
        ("-c", "No scenario has an option -c."),
        ("--rate", "--rate needs a value: a number above 0."),
        ("--end", "--end needs a value: one of kill, stop."),
    ],
)
def test_what_is_no_option_is_refused(word: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        sorted_words([word], KNOWN, ["--help"])
    assert str(refused.value) == complaint


def test_an_option_of_another_scenario_says_whose_it_is() -> None:
    refuse_strange(["rate", "break_off"], [Letters, Flood], KNOWN)
    with pytest.raises(SettingsError) as refused:
        refuse_strange(["rate"], [Letters], KNOWN)
    assert str(refused.value) == (
        "letters has no option --rate; flood has it."
        " letters has --count, --slow-seconds, --break-off."
    )


def test_options_are_read_in_their_types_and_others_are_passed_over() -> None:
    given = {"count": "10", "rate": "2.5", "break_off": "true", "end": "kill"}
    assert options_of(Letters, given) == Letters.Options(count=10, break_off=True)
    assert options_of(Flood, given) == Flood.Options(count=10, rate=2.5, end="kill")


@pytest.mark.parametrize(
    ("scenario", "field", "value", "allowed"),
    [
        (Letters, "count", "101", "a whole number from 2 to 100"),
        (Letters, "count", "2.5", "a whole number from 2 to 100"),
        (Letters, "slow_seconds", "inf", "a number of at least 0"),
        (Letters, "break_off", "perhaps", "true or false"),
        (Flood, "rate", "0", "a number above 0"),
        (Flood, "end", "leave", "one of kill, stop"),
        (Flood, "count", "", "a whole number"),
    ],
)
def test_a_value_out_of_range_names_the_option_and_the_range(
    scenario: type[Scenario], field: str, value: str, allowed: str
) -> None:
    with pytest.raises(SettingsError, match=rf"--.* of .*: it must be {allowed}\."):
        options_of(scenario, {field: value})
    assert [each.allowed for each in options_in(scenario) if each.field == field] == [allowed]
