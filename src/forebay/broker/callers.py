"""Who sends a request, as far as its URL and headers say, and who it is by its signature."""

from __future__ import annotations

from forebay.broker.access import Identity
from forebay.broker.core.engine import Caller
from forebay.protocol.identifiers import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, queue_key_from_url

#: Callers that are remembered, by what their requests say. A bound, because clients make them.
_REMEMBERED_MAX = 10_000


class Callers:
    """Makes a Caller of a request, and remembers it: a client says the same all day."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self._remembered: dict[tuple[bytes, bytes, bytes], Caller] = {}

    def caller(
        self, path: bytes, headers: dict[bytes, bytes], identity: Identity | None, here: str
    ) -> Caller:
        """The caller of a request to `path`. `here` is the endpoint of a request without a Host.

        Without an identity the path's account and the signature's region are believed unchecked.
        """
        host = headers.get(b"host", b"")
        if identity is not None:
            endpoint_url = self._endpoint_url(host, here)
            return Caller(identity.principal.account_id, identity.region, endpoint_url)
        # "AWS4-HMAC-SHA256 Credential=key/date/region/sqs/aws4_request, SignedHeaders=...": the
        # part before the comma stays the same for a client's whole day.
        credential = headers.get(b"authorization", b"").partition(b",")[0]
        key = (path, host, credential)
        caller = self._remembered.get(key)
        if caller is None:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            queue = queue_key_from_url(path.decode("latin-1"))
            scope = credential.decode("latin-1").split("/")
            caller = self._remembered[key] = Caller(
                account_id=queue.account_id if queue is not None else DEFAULT_ACCOUNT_ID,
                region=scope[2] if len(scope) == 5 and scope[2] else DEFAULT_REGION,
                endpoint_url=self._endpoint_url(host, here),
            )
        return caller

    def _endpoint_url(self, host: bytes, here: str) -> str:
        return f"{self._scheme}://{host.decode('latin-1')}" if host else here
