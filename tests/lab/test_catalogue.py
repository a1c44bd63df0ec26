"""Scenarios are found by name, those of users by module and class."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.errors import SettingsError
from forebay.lab.catalogue import catalogue, chosen

OWN = """
from forebay.lab.scenarios.happy import Happy

class Mine(Happy):
    '''Mine.'''

number = 3
"""


def test_a_name_a_speed_and_one_of_the_user_s_own_are_chosen_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_scenarios.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    picked = chosen(["own_scenarios:Mine", "crash", "crash"])
    assert [each.name() for each in picked] == ["own-scenarios", "crash"]
    everything = chosen(["crash"], fast=True, slow=True)
    assert everything[0].name() == "crash"
    assert sorted(each.name() for each in everything) == sorted(catalogue())


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("crahs", "Did you mean crash?"),
        ("own_scenarios:number", "own_scenarios:number is no scenario"),
        ("own_scenarios:Scenario", "has no Scenario"),
        ("forebay.lab.scenario:Scenario", "is no scenario"),
        ("nowhere_at_all:Mine", "There is no module nowhere_at_all"),
    ],
)
def test_what_is_no_scenario_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, complaint: str
) -> None:
    (tmp_path / "own_scenarios.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match=complaint):
        chosen([name])


def test_nothing_chosen_says_how_to_choose() -> None:
    with pytest.raises(SettingsError, match=r"--fast, --slow or --all"):
        chosen([])
