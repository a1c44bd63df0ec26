"""Queue URLs on both sides of the proxy."""

from __future__ import annotations

from urllib.parse import urlsplit

from msgspec.structs import replace

from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    CreateQueueResult,
    GetQueueUrlResult,
    ListDeadLetterSourceQueuesResult,
    ListQueuesResult,
)

#: Queue URLs that are remembered. A bound, because a service may list any number of queues.
_REMEMBERED_MAX = 100_000


class QueueUrls:
    """Gives clients URLs that lead to the proxy, and the service its own.

    A queue has the same path on both sides, so that a URL means the same after a restart. An SDK
    that sends a request to where its queue's URL points stays behind the proxy.
    """

    def __init__(self, endpoint_url: str) -> None:
        parts = urlsplit(endpoint_url)
        self._there = f"{parts.scheme}://{parts.netloc}"
        #: The service's URLs that are not at its endpoint, by region and path: LocalStack names a
        #: host of its own.
        self._elsewhere: dict[tuple[str, str], str] = {}

    def request_there(self, request: AnyRequest, region: str) -> AnyRequest:
        """A client's request as the service has to read it.

        A URL may be a path alone, when a request of the Query protocol was sent to it.
        """
        url = getattr(request, "queue_url", "")
        if "://" not in url and not url.startswith("/"):
            return request
        path = urlsplit(url).path
        there = self._elsewhere.get((region, path), f"{self._there}{path}")
        return replace(request, queue_url=there)

    def result_here(self, result: AnyResult, region: str, endpoint_url: str) -> AnyResult:
        """The service's answer for a client that has the proxy at `endpoint_url`."""
        if isinstance(result, CreateQueueResult | GetQueueUrlResult):
            return replace(result, queue_url=self._here(result.queue_url, region, endpoint_url))
        if isinstance(result, ListQueuesResult | ListDeadLetterSourceQueuesResult):
            urls = result.queue_urls
            here = urls and [self._here(url, region, endpoint_url) for url in urls]
            return replace(result, queue_urls=here)
        return result

    def _here(self, url: str, region: str, endpoint_url: str) -> str:
        path = urlsplit(url).path
        if url != f"{self._there}{path}":
            if len(self._elsewhere) >= _REMEMBERED_MAX:
                self._elsewhere.clear()
            self._elsewhere[region, path] = url
        return f"{endpoint_url}{path}"
