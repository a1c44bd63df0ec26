"""Every fast scenario passes, and fails for the stated reason without each of its protections."""

from __future__ import annotations

import re
import zlib

import pytest

from forebay.lab.catalogue import catalogue
from forebay.lab.runner import Result, RunSettings, run_scenario
from forebay.lab.scenario import Scenario, Speed
from tests.lab.quiet import Quiet

FAST = [each for each in catalogue().values() if each.speed is Speed.FAST]

CONTROLS = [
    pytest.param(scenario, name, id=f"{scenario.name()}-without-{name}")
    for scenario in FAST
    for name in scenario.protections
]


async def run(scenario: type[Scenario], *without: str) -> Result:
    # Another seed for each scenario, and always the same one, so that a failure can be repeated.
    seed = zlib.crc32(scenario.name().encode()) % 1000
    return await run_scenario(scenario, RunSettings(seed=seed, without=frozenset(without)), Quiet())


@pytest.mark.parametrize("scenario", FAST, ids=[each.name() for each in FAST])
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


@pytest.mark.parametrize("scenario", catalogue().values(), ids=list(catalogue()))
def test_a_scenario_says_what_it_claims_and_has_a_protection(scenario: type[Scenario]) -> None:
    assert scenario.title()
    assert scenario.claim.endswith(".")
    assert scenario.protections
