"""What one call of an API leaves behind."""

from __future__ import annotations

from msgspec import Struct

#: The envelope type of a usage log.
USAGE_LOG_TYPE = "usage_log"

#: The queue that usage logs travel through.
USAGE_LOGS_QUEUE = "usage-logs"


class UsageLog(Struct, frozen=True):
    """One API call."""

    api_key_id: str
    #: What was asked for: a message group of the sale, or an order.
    asset: str
    #: The route that answered.
    source: str
    #: From the request's arrival to its answer.
    response_time_us: int
    #: Where the answer came from: "queue" for a new message, "record" for what the store knew,
    #: "none" for a refusal.
    cache_tier: str
    http_status: int
