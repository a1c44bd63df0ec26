"""The logs that the usage benchmark offers."""

from __future__ import annotations

from collections import Counter

import msgspec

from bench.usage_logs import ASSETS, KEYS, SOURCES, make_logs
from forebay.messages.packing import seal


def test_the_same_seed_makes_the_same_logs_and_another_one_others() -> None:
    assert make_logs(100, seed=1) == make_logs(100, seed=1)
    assert make_logs(100, seed=1) != make_logs(100, seed=2)


def test_the_logs_differ_as_real_ones_do() -> None:
    logs = make_logs(20_000)
    keys = Counter(log.api_key_id for log in logs)
    assert KEYS * 0.9 <= len(keys) <= KEYS
    assert ASSETS * 0.9 <= len({log.asset for log in logs}) <= ASSETS
    assert len({log.source for log in logs}) == SOURCES
    assert keys.most_common(1)[0][1] > 50 * min(keys.values())
    times_us = {
        tier: sorted(log.response_time_us for log in logs if log.cache_tier == tier)
        for tier in ("L1_MEMORY", "L2_REDIS", "ORIGIN")
    }
    medians = [times[len(times) // 2] for times in times_us.values()]
    assert medians[0] * 5 < medians[1] < medians[2] / 5


def test_a_pack_of_them_is_not_squeezed_to_nothing() -> None:
    encoded = [msgspec.json.encode([1_764_300_000_000, log]) for log in make_logs(5_000)]
    pack = seal(encoded, identifier="p", type="usage_log", node="n", first_ms=1, last_ms=2)
    assert 9 < pack.size_bytes / len(encoded) < 20
