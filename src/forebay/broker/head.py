"""What stands before a request's body, and the heads that come again and again.

A client that does not sign sends the same bytes before every body of the same length. Such a head
is parsed once; after that its bytes are looked up. A head is only ever taken for one that is equal
byte for byte, so it means what the parser said of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from forebay.broker.core.engine import Caller

#: Heads that are remembered. A bound, because clients make them.
_REMEMBERED_MAX = 1_024

#: The longest head that is remembered, in bytes.
_REMEMBERED_BYTES_MAX = 2_048

_END = b"\r\n\r\n"

#: Headers that differ from one request to the next, or that say that more follows than the body.
_NEVER_THE_SAME = frozenset(
    {b"amz-sdk-invocation-id", b"expect", b"transfer-encoding", b"upgrade", b"x-amz-date"}
)


@dataclass(slots=True)
class Call:
    """What an AWS JSON request asks for, as far as its head says."""

    action: str
    caller: Caller


@dataclass(slots=True)
class Head:
    """A request line and its headers."""

    method: bytes
    url: bytes
    #: Header names are in lower case.
    headers: dict[bytes, bytes] = field(default_factory=dict)
    #: Whether the client will go on after the answer.
    keep_alive: bool = True
    body_bytes: int = 0
    #: None until a request with this head was carried out, and where there is more to look at.
    call: Call | None = None


class RememberedHeads:
    """The heads of a server's clients, by their bytes."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, int] | None:
        """The head that `data` begins with and where it ends, if `data` is one whole request."""
        end = data.find(_END) + 4
        head = self._heads.get(data[:end])
        if head is None or len(data) - end != head.body_bytes:
            return None
        return head, end

    def remember(self, data: bytes, head: Head) -> None:
        """Remember the head of `data`, which was parsed and is one whole request."""
        end = len(data) - head.body_bytes
        if end > _REMEMBERED_BYTES_MAX or data.find(_END) + 4 != end:
            return
        if head.keep_alive and _NEVER_THE_SAME.isdisjoint(head.headers):
            if len(self._heads) >= _REMEMBERED_MAX:
                self._heads.clear()
            self._heads[data[:end]] = head
