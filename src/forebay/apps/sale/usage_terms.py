"""What the usage log calls things of the sale."""

from __future__ import annotations

#: The routes of the API.
PLACE_ORDER = "place_order"
GET_ORDER = "get_order"

#: Where an answer comes from: a message that was queued, what the store knew, nowhere.
FROM_QUEUE = "queue"
FROM_RECORD = "record"
FROM_NOWHERE = "none"
