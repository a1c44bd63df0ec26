"""What travels through the usage queue: each type of event is one struct."""

from __future__ import annotations

from msgspec import Struct

#: The envelope type of a usage log.
USAGE_LOG_TYPE = "usage_log"

#: The envelope type of an analytics event.
ANALYTICS_EVENT_TYPE = "analytics_event"

#: The types that a producer packs: many of them come at a time, and nobody waits for a single one.
PACKED_TYPES = (USAGE_LOG_TYPE, ANALYTICS_EVENT_TYPE)


class UsageLog(Struct, frozen=True):
    """One API call."""

    api_key_id: str
    #: What was asked for: the asset of a price, a message group of the sale, an order.
    asset: str
    #: Who was asked: an exchange, or the route that answered.
    source: str
    #: From the request's arrival to its answer.
    response_time_us: int
    #: Where the answer came from: "L1_MEMORY", "L2_SHARED" or "ORIGIN" for a price; "NONE" for its
    #: refusal. Of the sale "queue" for a new message, "record" for what the store knew, "none".
    cache_tier: str
    http_status: int | None = None


class AnalyticsEvent(Struct, frozen=True):
    """Something that a user did."""

    event: str
    path: str
    user_id: str
