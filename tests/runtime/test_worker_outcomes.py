"""What a handler may say of its message, and what it may not."""

from __future__ import annotations

import math

import pytest

from forebay.errors import SettingsError
from forebay.worker import Reject, Retry


@pytest.mark.parametrize("delay_s", [0, 0.0, 0.25, 6.4, 43_200, 43_200.0])
def test_a_retry_keeps_its_delay(delay_s: float) -> None:
    assert Retry(delay_s).delay_s == delay_s


def test_a_retry_says_why_if_it_is_told() -> None:
    assert Retry().delay_s == 0
    assert str(Retry(2.5)) == "It is to be tried again in 2.5 s."
    assert str(Retry(3, "the gate is closed")) == "the gate is closed"


@pytest.mark.parametrize("delay_s", [-1, -0.001, 43_200.5, 43_201, math.nan, math.inf])
def test_a_delay_that_sqs_cannot_keep_is_refused_with_its_range(delay_s: float) -> None:
    with pytest.raises(SettingsError, match=r"delay_s is .*from 0 to 43200 seconds"):
        Retry(delay_s)


def test_a_reject_keeps_its_reason() -> None:
    rejection = Reject("no such seat")
    assert (rejection.reason, str(rejection)) == ("no such seat", "no such seat")


@pytest.mark.parametrize("reason", ["", " \n", None])
def test_a_reject_without_a_reason_is_refused(reason: str) -> None:
    with pytest.raises(SettingsError, match="say in words why"):
        Reject(reason)
