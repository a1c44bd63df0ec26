"""Signature Version 4: how a request proves who sent it. Pure: the time is an argument.

A request becomes a canonical text, the text's digest goes into a string with its time and scope,
and a key made for that scope signs the string. Verifying, in sigv4_verify.py, repeats these steps.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct

#: What the Authorization header begins with.
ALGORITHM = "AWS4-HMAC-SHA256"

#: The service's name in a credential scope.
SERVICE = "sqs"

#: What ends a credential scope.
TERMINATION = "aws4_request"

#: Stands where the time will be. No header can hold it.
_HOLE = "\0"

#: Headers as they were or will be sent. A name may come more than once.
Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key. The session token comes with temporary ones."""

    access_key_id: str
    # A dataclass, because a msgspec struct would show these wherever it is printed.
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class Scope(Struct, frozen=True):
    """What a signature is good for: one day, in UTC as YYYYMMDD, one region, one service."""

    date: str
    region: str
    service: str = SERVICE

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINATION}"


class Signer:
    """Signs requests that differ in their bodies and times alone, as those of one action do.

    What stays the same is put together once, and what goes with the time once a second.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        region: str,
        service: str = SERVICE,
    ) -> None:
        """`path` and `query` are as in the URL.

        All of `headers` are signed, and `host` must be among them; a proxy that changes a signed
        header breaks the signature.
        """
        self._credentials = credentials
        self._region = region
        self._service = service
        to_sign = [*headers, ("X-Amz-Date", _HOLE)]
        if credentials.session_token is not None:
            to_sign.append(("X-Amz-Security-Token", credentials.session_token))
        self._signed_headers = signed_headers(to_sign)
        canonical = canonical_request(method, path, query, to_sign, "")
        self._before_date, _, self._after_date = canonical.encode().partition(_HOLE.encode())
        self._second = -1
        self._date = self._to_sign = self._authorization = ""
        self._key = b""
        self._canonical = sha256()

    def sign(self, body: bytes, wall_ms: int) -> tuple[str, str]:
        """The values of the headers X-Amz-Date and Authorization.

        `wall_ms` is the time since the Unix epoch; AWS takes a signature for five minutes.
        """
        second = wall_ms // 1000
        if second != self._second:
            self._begin_second(second)
        canonical = self._canonical.copy()
        canonical.update(sha256(body).hexdigest().encode())
        string = self._to_sign + canonical.hexdigest()
        return self._date, self._authorization + signature(self._key, string)

    def _begin_second(self, second: int) -> None:
        self._second = second
        self._date = _amz_date_of_second(second)
        scope = Scope(self._date[:8], self._region, self._service)
        self._key = signing_key(self._credentials.secret_access_key, scope)
        self._canonical = sha256(self._before_date + self._date.encode() + self._after_date)
        self._to_sign = f"{ALGORITHM}\n{self._date}\n{scope}\n"
        self._authorization = (
            f"{ALGORITHM} Credential={self._credentials.access_key_id}/{scope},"
            f" SignedHeaders={self._signed_headers}, Signature="
        )


def sign(
    credentials: Credentials,
    *,
    method: str,
    path: str,
    query: str,
    headers: Headers,
    body: bytes,
    region: str,
    wall_ms: int,
    service: str = SERVICE,
) -> dict[str, str]:
    """The headers that sign one request: add them to it. Arguments are as a Signer's."""
    signer = Signer(
        credentials,
        method=method,
        path=path,
        query=query,
        headers=headers,
        region=region,
        service=service,
    )
    date, authorization = signer.sign(body, wall_ms)
    added = {"X-Amz-Date": date}
    if credentials.session_token is not None:
        added["X-Amz-Security-Token"] = credentials.session_token
    return added | {"Authorization": authorization}


def canonical_request(
    method: str, path: str, query: str, headers: Headers, body_sha256: str
) -> str:
    """The text that stands for a request: the same however a proxy spells it.

    `headers` are those that are signed, and `body_sha256` is the hex digest of the body.
    """
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(" ".join(value.split()))
    lines = "".join(f"{name}:{','.join(values[name])}\n" for name in sorted(values))
    return "\n".join(
        (
            method.upper(),
            canonical_path(path),
            canonical_query(query),
            lines,
            ";".join(sorted(values)),
            body_sha256,
        )
    )


def canonical_path(path: str) -> str:
    """A path without dot segments and double slashes, encoded once more than it was sent."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in {"", "."}:
            kept.append(part)
    if not kept:
        return "/"
    return quote(f"/{'/'.join(kept)}{'/' if path.endswith('/') else ''}", safe="/~")


def canonical_query(query: str) -> str:
    """A query string with every part encoded the same way, sorted by name and then by value."""
    if not query:
        return ""
    pairs = (pair.partition("=") for pair in query.split("&"))
    encoded = sorted((_encode_query(name), _encode_query(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def signed_headers(headers: Headers) -> str:
    """The names of the signed headers, as the Authorization header lists them."""
    return ";".join(sorted({name.lower() for name, _ in headers}))


def string_to_sign(amz_date: str, scope: Scope, canonical: str) -> str:
    """The string that the key signs. `amz_date` is the request's X-Amz-Date."""
    # What came over the wire and is no UTF-8 was decoded with surrogates.
    digest = sha256(canonical.encode(errors="surrogateescape")).hexdigest()
    return f"{ALGORITHM}\n{amz_date}\n{scope}\n{digest}"


@lru_cache(maxsize=1024)
def signing_key(secret_access_key: str, scope: Scope) -> bytes:
    """The key of one scope. Kept, because one scope signs every request of a day."""
    key = f"AWS4{secret_access_key}".encode()
    for part in (scope.date, scope.region, scope.service, TERMINATION):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(key: bytes, string: str) -> str:
    """The signature, in hex."""
    return hmac.digest(key, string.encode(), "sha256").hex()


def amz_date(wall_ms: int) -> str:
    """Milliseconds since the Unix epoch in the form of X-Amz-Date: `20150830T123600Z`."""
    return _amz_date_of_second(wall_ms // 1000)


@lru_cache(maxsize=16)
def _amz_date_of_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")


def _encode_query(part: str) -> str:
    # By way of bytes: a string would make one replacement character of all that is not UTF-8.
    return quote(unquote_to_bytes(part), safe="-_.~")
