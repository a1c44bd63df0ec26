"""What the price API counts, in Prometheus's text form."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client import generate_latest as _generate

from forebay.apps.usage.prices.exchange import SOURCES

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST

#: The label of a source that does not exist: whoever asks must not make labels.
_OTHER = "other"

#: Upper bounds of the response times, in seconds: from a memory's to an exchange's.
_BOUNDS_S = (0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


class PriceMetrics:
    """The counts of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "forebay_price_requests",
            "Requests for a price that were answered",
            ["source", "tier", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "forebay_price_response_seconds",
            "From the arrival of a request to its answer",
            ["tier"],
            buckets=_BOUNDS_S,
            registry=self.registry,
        )

    def count(self, source: str, tier: str, http_status: int, spent_s: float) -> None:
        """Count one request."""
        named = source if source in SOURCES else _OTHER
        self._requests.labels(named, tier, http_status).inc()
        self._seconds.labels(tier).observe(spent_s)

    def text(self) -> bytes:
        """All of it, and whatever else is registered."""
        return _generate(self.registry)
