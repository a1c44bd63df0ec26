"""Options of scenarios that do not go together are refused before anything is started."""

from __future__ import annotations

from typing import Any

import pytest

from forebay.errors import SettingsError
from forebay.lab.catalogue import catalogue
from forebay.lab.options import options_of


@pytest.mark.parametrize(
    ("scenario", "given", "names"),
    [
        ("backlog-drain", {"stale": 60}, ("--stale 60", "--count", "60")),
        ("backpressure", {"time_limit": 19}, ("--time-limit 19", "--poll-interval", "20")),
        ("dup", {"second_start_delay": 26}, ("--second-start-delay 26", "25", "--slow-seconds")),
        ("dup-graceful-shutdown", {"sigterm_delay": 25}, ("--sigterm-delay 25", "--count", "25")),
        ("poison-partial-batch", {"poison_every": 51}, ("--poison-every 51", "--count", "50")),
        ("poison", {"poison_count": 6}, ("--poison-count 6", "--count", "5")),
        ("rolling-deploy", {"count": 89}, ("--count 89", "90", "--rate 6")),
    ],
)
def test_options_that_do_not_go_together_are_named(
    scenario: str, given: dict[str, Any], names: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as refused:
        options_of(catalogue()[scenario], given)
    assert all(name in str(refused.value) for name in (*names, scenario)), refused.value


@pytest.mark.parametrize(
    ("scenario", "given"),
    [
        ("backlog-drain", {"stale": 59}),
        ("backpressure", {"time_limit": 20}),
        ("dup", {"second_start_delay": 25}),
        ("dup-graceful-shutdown", {"sigterm_delay": 24.9}),
        ("poison-partial-batch", {"poison_every": 50}),
        ("poison", {"poison_count": 5}),
        ("rolling-deploy", {"count": 90}),
    ],
)
def test_options_at_their_bounds_are_taken(scenario: str, given: dict[str, Any]) -> None:
    options = options_of(catalogue()[scenario], given)
    assert {name: getattr(options, name) for name in given} == given
