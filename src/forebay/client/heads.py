"""Whole requests as bytes: what is alike in all requests of one action is put together once."""

from __future__ import annotations

from urllib.parse import quote

from forebay.client.endpoint import Endpoint
from forebay.errors import NoCredentials
from forebay.protocol import awsjson
from forebay.protocol.sigv4 import Credentials, Signer

#: What a path may hold besides letters, digits and percent signs. RFC 3986, section 3.3.
_PATH_CHARACTERS = "/%-._~!$&'()*+,;=:@"


class Head:
    """Makes the requests of one action to one endpoint in one name."""

    def __init__(self, endpoint: Endpoint, action: str, credentials: Credentials) -> None:
        """Raises NoCredentials when the credentials cannot stand in a header."""
        path = quote(endpoint.path, safe=_PATH_CHARACTERS)
        headers = {
            "Host": endpoint.host,
            "Content-Type": awsjson.CONTENT_TYPE,
            awsjson.TARGET_HEADER: awsjson.TARGET_PREFIX + action,
        }
        self.credentials = credentials
        self._signer = Signer(
            credentials,
            method="POST",
            path=path,
            query="",
            headers=headers.items(),
            region=endpoint.region,
        )
        if credentials.session_token is not None:
            headers["X-Amz-Security-Token"] = credentials.session_token
        for text in (credentials.access_key_id, credentials.session_token or ""):
            if not text.isascii() or not text.isprintable():
                raise NoCredentials(
                    "The AWS access key id or session token has a line break or another character"
                    " that none has. Copy it again."
                )
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._lines = f"POST {path} HTTP/1.1\r\n{lines}User-Agent: forebay\r\n"

    def request(self, body: bytes, wall_ms: int) -> bytes:
        """The request with this body, signed at this time: milliseconds since the Unix epoch."""
        date, authorization = self._signer.sign(body, wall_ms)
        head = (
            f"{self._lines}X-Amz-Date: {date}\r\nAuthorization: {authorization}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body
