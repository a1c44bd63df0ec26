"""How often a process was asked to stop, from the signals that came."""

from __future__ import annotations

import pytest

from forebay.stop_signals import StopRequests


@pytest.mark.parametrize(
    ("signals_s", "requests"),
    [
        ([], 0),
        ([7.0], 1),
        # Ctrl-C and a wrapper that passes it on.
        ([7.0, 7.004], 1),
        ([7.0, 7.2, 7.4], 1),
        ([7.0, 7.004, 9.0], 2),
        ([7.0, 7.3, 7.6], 3),
    ],
)
def test_signals_in_one_breath_are_one_request(signals_s: list[float], requests: int) -> None:
    asked = StopRequests()
    heard = [asked.heard(at_s) for at_s in signals_s]
    assert asked.count == sum(heard) == requests
