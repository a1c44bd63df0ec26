"""Who sends a request, as far as its URL and headers say, and who it is by its signature."""

from __future__ import annotations

import re
from urllib.parse import unquote

from forebay.broker.access import Identity
from forebay.broker.core.engine import Caller
from forebay.protocol.identifiers import (
    DEFAULT_ACCOUNT_ID,
    is_account_id,
    queue_key_from_url,
    region_of_host,
)

#: Callers that are remembered, by what their requests say. A bound, because clients make them.
_REMEMBERED_MAX = 10_000

#: A credential scope in an Authorization header or a presigned URL: key/date/region/sqs/terminator.
_SCOPE = re.compile(r"([^/\s=]*)/\d*/([A-Za-z0-9_-]{1,64})/[^/]*/[^/]*")
_PRESIGNED = re.compile(rb"(?:^|&)X-Amz-Credential=([^&]*)")


class Callers:
    """Makes a Caller of a request, and remembers it: a client says the same all day.

    `region` is that of a request that names none.
    """

    def __init__(self, scheme: str, region: str) -> None:
        self._scheme = scheme
        self._region = region
        self._remembered: dict[tuple[bytes, bytes, bytes], Caller] = {}

    def caller(
        self,
        path: bytes,
        query: bytes,
        headers: dict[bytes, bytes],
        identity: Identity | None,
        here: str,
    ) -> Caller:
        """The caller of a request to `path`. `here` is the endpoint of a request without a Host.

        Without an identity, what the request says is believed unchecked. Its region is that of its
        signature, else that of a host name such as `sqs.eu-west-1.localhost`; its account is a key
        id of 12 digits, else that of the queue in its path. What is not said is the default.
        """
        host = headers.get(b"host", b"")
        if identity is not None:
            endpoint_url = self._endpoint_url(host, here)
            return Caller(identity.principal.account_id, identity.region, endpoint_url)
        # "AWS4-HMAC-SHA256 Credential=key/date/region/sqs/aws4_request, SignedHeaders=...": the
        # part before the comma stays the same for a client's whole day.
        credential = headers.get(b"authorization", b"").partition(b",")[0]
        if not credential and query and (presigned := _PRESIGNED.search(query)) is not None:
            credential = presigned[1]
        key = (path, host, credential)
        caller = self._remembered.get(key)
        if caller is None:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            caller = self._remembered[key] = self._read(path, host, credential, here)
        return caller

    def _read(self, path: bytes, host: bytes, credential: bytes, here: str) -> Caller:
        scope = _SCOPE.search(unquote(credential.decode("latin-1")))
        key_id, region = scope.groups() if scope is not None else ("", None)
        queue = queue_key_from_url(path.decode("latin-1"))
        if is_account_id(key_id):
            account_id = key_id
        else:
            account_id = queue.account_id if queue is not None else DEFAULT_ACCOUNT_ID
        return Caller(
            account_id=account_id,
            region=region or region_of_host(host.decode("latin-1").lower()) or self._region,
            endpoint_url=self._endpoint_url(host, here),
        )

    def _endpoint_url(self, host: bytes, here: str) -> str:
        return f"{self._scheme}://{host.decode('latin-1')}" if host else here
