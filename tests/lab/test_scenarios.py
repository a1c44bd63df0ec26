"""Every scenario passes, and fails for the stated reason without each of its protections."""

from __future__ import annotations

import re
import zlib
from typing import Any

import pytest

from forebay.lab.catalogue import catalogue
from forebay.lab.runner import Result, RunSettings, run_scenario
from forebay.lab.scenario import Scenario, Speed
from tests.lab.quiet import Quiet

SCENARIOS = catalogue()

CONTROLS = [
    pytest.param(scenario, name, id=f"{scenario.name()}-without-{name}")
    for scenario in SCENARIOS.values()
    for name in scenario.protections
]

#: What is set of the slow ones, so that they take seconds here, and what else of their controls.
SHORT: dict[str, dict[str, Any]] = {
    "backpressure": {"poll_interval": 2.0},
    "happy-purge-timing": {"iterations": 1, "cross_count": 0},
}
CONTROL_SHORT: dict[str, dict[str, Any]] = {"backpressure": {"time_limit": 40.0}}


async def run(scenario: type[Scenario], *without: str) -> Result:
    name = scenario.name()
    options = SHORT.get(name, {}) | (CONTROL_SHORT.get(name, {}) if without else {})
    settings = RunSettings(
        # Another seed for each scenario, and always the same one, so that a failure can be
        # repeated.
        seed=zlib.crc32(name.encode()) % 1000,
        without=frozenset(without),
        options=options,
    )
    return await run_scenario(scenario, settings, Quiet())


def test_every_slow_scenario_is_made_short() -> None:
    assert {name for name, each in SCENARIOS.items() if each.speed is Speed.SLOW} == set(SHORT)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
async def test_a_scenario_passes_with_an_exact_ledger(scenario: type[Scenario]) -> None:
    result = await run(scenario)
    assert result.error is None, result.error
    assert not result.broken
    assert result.verdicts


@pytest.mark.parametrize(("scenario", "protection"), CONTROLS)
async def test_without_a_protection_it_fails_for_the_stated_reason(
    scenario: type[Scenario], protection: str
) -> None:
    result = await run(scenario, protection)
    expected = scenario.protections[protection]
    assert result.error is None, result.error
    broken = {verdict.invariant: verdict.detail for verdict in result.broken}
    assert expected.breaks in broken, result.verdicts
    assert re.search(expected.because, broken[expected.breaks]), broken[expected.breaks]


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def test_a_scenario_says_what_it_claims_and_has_a_protection(scenario: type[Scenario]) -> None:
    assert scenario.title()
    assert scenario.claim.endswith(".")
    assert scenario.protections
