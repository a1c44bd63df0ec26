"""Which runs are planned, and what is told of one that breaks off."""

from __future__ import annotations

import pytest

from forebay.errors import SettingsError
from forebay.lab.events import Kind
from forebay.lab.runner import RunSettings, planned, run_scenario
from tests.lab.letters import Letters
from tests.lab.quiet import Quiet
from tests.lab.test_report_words import Flood


def test_seeds_count_up_and_all_run_with_one_before_any_with_the_next() -> None:
    runs = planned([Letters, Flood], RunSettings(seed=4), repeat=2)
    assert [(scenario.name(), settings.seed) for scenario, settings in runs] == [
        ("letters", 4),
        ("flood", 4),
        ("letters", 5),
        ("flood", 5),
    ]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (RunSettings(without=frozenset({"luck"})), "letters has no protection luck. It has key."),
        (RunSettings(options={"count": "1"}), "--count 1 of letters: it must be"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    settings: RunSettings, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        planned([Letters], settings)


class Listening(Quiet):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


async def test_a_scenario_that_breaks_off_fails_with_its_ledger_and_where_it_broke() -> None:
    audience = Listening()
    settings = RunSettings(options={"break_off": True, "count": 3})
    result = await run_scenario(Letters, settings, audience)
    assert not result.passed
    assert result.error is not None
    assert "ValueError: [red]a mistake" in result.error
    assert "letters.py" in result.error
    assert result.verdicts == ()
    assert result.queues[0].sent == 3
    assert Kind.FAULT in {event.kind for event in result.events}
    assert [text.split("s  ")[1] for text in audience.said] == ["worker-1 is killed"]
