"""Records of usage logs as a busy API makes them: varied, and alike."""

from __future__ import annotations

import random

from msgspec.json import encode


def usage_records(count: int, *, seed: int = 0) -> list[bytes]:
    """Encoded records of `count` usage logs, a few of them with a business key."""
    chance = random.Random(seed)
    keys = [f"key-{chance.randrange(16**12):012x}" for _ in range(500)]
    records = []
    at_ms = 1_790_000_000_000
    for _ in range(count):
        at_ms += chance.random() < 0.2
        log = {
            "api_key_id": chance.choice(keys),
            "asset": f"{chance.choice(('BTC', 'ETH', 'SOL', 'XRP', 'ADA'))}-USD",
            "source": chance.choice(("coinbase", "kraken", "binance")),
            "response_time_us": int(chance.lognormvariate(6, 1)),
            "cache_tier": chance.choices(("L1", "L2", "origin"), (80, 15, 5))[0],
            "http_status": chance.choices((200, 404, 429), (97, 2, 1))[0],
        }
        keyed = chance.random() < 0.01
        records.append(encode((at_ms, log, f"order-{at_ms}") if keyed else (at_ms, log)))
    return records
