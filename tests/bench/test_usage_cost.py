"""What the logs would cost, and what the broker meters."""

from __future__ import annotations

import pytest

from bench.usage_cost import DOCUMENT_DOLLARS, Metered, Report, bars, dollars


def test_a_request_for_each_log_costs_what_the_document_says() -> None:
    assert dollars(1.0, 1_340_000_000) == pytest.approx(DOCUMENT_DOLLARS)


def test_sent_received_and_deleted_it_costs_the_triple_and_a_tenth_in_tens() -> None:
    assert dollars(3.0, 1_340_000_000) == pytest.approx(1_608)
    assert dollars(0.3, 1_340_000_000) == pytest.approx(160.8)


def test_every_metered_request_counts() -> None:
    metered = Metered("packed", 1_000_000, {"SendMessageBatch": 300, "ReceiveMessage": 700})
    assert metered.requests_each == 0.001
    assert metered.dollars == pytest.approx(dollars(0.001))


def test_packed_logs_are_to_cost_a_hundredth() -> None:
    packed = Metered("packed", 1_000_000, {"SendMessageBatch": 1_000})
    unpacked = Metered("a message each", 1_000, {"SendMessageBatch": 101})
    bar, _ = bars(Report(1, 0.4, [packed, unpacked]))
    assert bar.reached == pytest.approx(101)
    assert not bar.missed
