"""Which web pages, and which host names, may use the broker.

A browser carries out the requests of every page that its user has open, to this machine too, and
such a request comes from 127.0.0.1 like any other. Browsers say which page asks: in `Origin`, in
`Sec-Fetch-Site`, else in `Referer`; no page can change the first two, and no SDK sends any of them.
A page whose own host name is made to point here (DNS rebinding) counts as ours to the browser, and
is known by that name.

Source: https://fetch.spec.whatwg.org/, https://w3c.github.io/webappsec-fetch-metadata/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from forebay.errors import SettingsError
from forebay.protocol.errors import ACCESS_DENIED, SqsError

#: Host headers that are remembered as allowed. A bound, because clients make them.
_REMEMBERED_MAX = 1_000

#: What a page of an allowed origin may read of an answer beside its body.
_EXPOSED = "x-amzn-RequestId, x-amzn-query-error, Date"

#: How long a browser may keep the answer to a preflight, in seconds. Chromium keeps none longer.
_PREFLIGHT_S = 7_200

#: All pages of this setting's origins may use the broker.
_EVERY_ORIGIN = "*"

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._-]+(:\d+)?|[a-z]+://\[[0-9a-f:.]+\](:\d+)?")

_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}

#: The names of SQS itself, which a hosts file may point here. No page is served from them, and
#: nobody but AWS can point them anywhere for others.
#: Source: https://docs.aws.amazon.com/general/latest/gr/sqs-service.html
_AWS_NAME = re.compile(
    r"(sqs(-fips)?\.[a-z0-9-]+|([a-z0-9-]+\.)?queue)\.amazonaws\.com(\.cn)?"
    r"|sqs(-fips)?\.[a-z0-9-]+\.api\.(aws|amazonwebservices\.com\.cn)"
)


class Origins:
    """The web pages and host names that may use a broker.

    `allowed` are origins, scheme, host and port (`http://localhost:3000`), or `*` for all. `hosts`
    are names beside the loopback names, IP addresses and those of SQS itself; `*.example.test`
    stands for all names below example.test. Raises SettingsError for what is neither.
    """

    def __init__(self, allowed: Iterable[str] = (), hosts: Iterable[str] = ()) -> None:
        self._allowed = {_origin(text) for text in allowed}
        self._hosts = {_host(text) for text in hosts}
        #: Whether a name that nobody allowed is refused.
        self._guards_hosts = bool(self._hosts)
        self._known_hosts: set[bytes] = set()

    @property
    def allow_every_origin(self) -> bool:
        """Whether every web page may use the broker."""
        return _EVERY_ORIGIN in self._allowed

    def listen(self, host: str, addresses: Iterable[str]) -> None:
        """Learn that the broker listens on these addresses, which were asked for as `host`.

        Behind an address of the loopback other names are refused. Elsewhere nobody can know all
        names of a machine, so they are refused only when some are allowed by name.
        """
        if all(ip_address(address.partition("%")[0]).is_loopback for address in addresses):
            self._guards_hosts = True
        self._hosts.add(host.lower())

    def let_in(self, headers: Mapping[bytes, bytes], scheme: str) -> bytes:
        """The header lines that the answer to a request needs, none where no page asks.

        Raises SqsError (AccessDenied) for a page or a host name that is not allowed.
        """
        host = headers.get(b"host", b"")
        if self._guards_hosts and host not in self._known_hosts:
            self._check_host(host)
        if b"origin" in headers or b"sec-fetch-site" in headers or b"referer" in headers:
            return self._judge(headers, f"{scheme}://{host.decode('latin-1')}")
        return b""

    def _judge(self, headers: Mapping[bytes, bytes], own: str) -> bytes:
        origin = headers.get(b"origin")
        page = origin.decode("latin-1") if origin is not None else _origin_of(headers)
        if self.allow_every_origin or page in self._allowed:
            return b"" if origin is None else _readable_by(origin)
        site = headers.get(b"sec-fetch-site")
        if site is None:
            if page in {own, None}:
                return b""
        elif site == b"same-origin" or (site == b"none" and origin is None):
            return b""
        raise SqsError(ACCESS_DENIED, _refusal(page))

    def _check_host(self, header: bytes) -> None:
        name = re.sub(r":\d*$", "", header.decode("latin-1")).rstrip(".").lower()
        if not self._is_ours(name):
            raise SqsError(
                ACCESS_DENIED,
                f"This broker is not known as {name}, and any web page can have a name of its own"
                f" point here. If the name is yours, start the broker with --allow-host {name}.",
            )
        if len(self._known_hosts) >= _REMEMBERED_MAX:
            self._known_hosts.clear()
        self._known_hosts.add(header)

    def _is_ours(self, name: str) -> bool:
        if name in {"", "localhost"} or name.endswith(".localhost") or name in self._hosts:
            return True
        if _AWS_NAME.fullmatch(name):
            return True
        above = name.partition(".")
        while above[2]:
            if f"*.{above[2]}" in self._hosts:
                return True
            above = above[2].partition(".")
        try:
            ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True


def preflight(headers: Mapping[bytes, bytes]) -> bytes:
    """The header lines of the answer to an allowed page that asks what it may send."""
    lines = (
        f"Access-Control-Allow-Methods: GET, POST\r\nAccess-Control-Max-Age: {_PREFLIGHT_S}\r\n"
    ).encode()
    wanted = headers.get(b"access-control-request-headers")
    if wanted is not None:
        lines += b"Access-Control-Allow-Headers: " + wanted + b"\r\n"
    if b"access-control-request-private-network" in headers:
        lines += b"Access-Control-Allow-Private-Network: true\r\n"
    return lines


def _readable_by(origin: bytes) -> bytes:
    return (
        b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Expose-Headers: %b\r\nVary: Origin\r\n"
        % (origin, _EXPOSED.encode())
    )


def _origin_of(headers: Mapping[bytes, bytes]) -> str | None:
    """The origin of the page that `Referer` names."""
    referer = headers.get(b"referer")
    if referer is None:
        return None
    try:
        parts = urlsplit(referer.decode("latin-1"))
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc}"


def _refusal(page: str | None) -> str:
    if page is None:
        return (
            "A web page of another site may not use this broker. If the page is yours, start the"
            " broker with --allow-origin and the page's scheme, host and port."
        )
    if page == "null":
        return (
            "A web page without an origin, such as a file, may not use this broker. Serve it, and"
            " start the broker with --allow-origin and its scheme, host and port."
        )
    return (
        f"A web page of {page} may not use this broker. If the page is yours, start the broker with"
        f" --allow-origin {page}"
    )


def _origin(text: str) -> str:
    if text == _EVERY_ORIGIN:
        return text
    origin = text.lower().removesuffix("/")
    if not _ORIGIN.fullmatch(origin):
        raise SettingsError(
            f"{text!r} is not the origin of a web page. Give --allow-origin scheme, host and port"
            " as http://localhost:3000, or * for every page."
        )
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(":")[0], "/"))


def _host(text: str) -> str:
    name = text.lower().removesuffix(".")
    if not _HOST.fullmatch(name):
        raise SettingsError(
            f"{text!r} is not the name of a host. Give --allow-host a name without scheme and port,"
            " as broker.example.test, or *.example.test for all names below."
        )
    return name
