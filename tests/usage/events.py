"""Packs for the tests of the usage stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forebay.apps.usage.domain import ANALYTICS_EVENT_TYPE, USAGE_LOG_TYPE, AnalyticsEvent, UsageLog
from forebay.worker.packs import BadRecord, Pack, Record

#: 2026-11-28, noon.
NOON_MS = 1_795_867_200_000

DAY_MS = 86_400_000

LOG = UsageLog("ak_live_abc123", "BTC", "binance", 42, "L1_MEMORY")


def pack(
    identifier: str,
    *payloads: UsageLog | AnalyticsEvent,
    at_ms: int = NOON_MS,
    times: Sequence[int] = (),
    node: str = "BeastMain",
    sealed: bool = True,
    key: str | None = None,
    bad: Sequence[BadRecord] = (),
) -> Pack[Any]:
    """A pack of events, a millisecond apart unless their times are given."""
    first = payloads[0] if payloads else LOG
    return Pack(
        id=identifier,
        type=ANALYTICS_EVENT_TYPE if isinstance(first, AnalyticsEvent) else USAGE_LOG_TYPE,
        node=node,
        sealed=sealed,
        records=[
            Record(index, times[index] if times else at_ms + index, payload, key, identifier)
            for index, payload in enumerate(payloads)
        ],
        bad=list(bad),
    )
