"""HTTP answers as bytes."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

from forebay.broker.polls import Answer
from forebay.protocol.awsjson import CONTENT_TYPE, encode_error, encode_result
from forebay.protocol.awsquery import QueryCall
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import message_id

#: What a client that asked `Expect: 100-continue` waits for before it sends its body.
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

#: Request ids count up to this many behind one random beginning.
_REQUEST_IDS = 1 << 48


class Answers:
    """Makes answers. Each has a request id of its own: a random beginning and a count.

    `entropy` is 16 random bytes. `set_date` must be called about once a second, and before the
    first answer.
    """

    def __init__(self, entropy: bytes) -> None:
        self._request_id = message_id(entropy)[:24]
        self._count = 0
        self._date = ""
        self._ok = b""

    def set_date(self, wall_ms: int) -> None:
        """Let the `Date` header say this time from now on."""
        self._date = formatdate(wall_ms // 1000, usegmt=True)
        self._ok = self._head(200, f"Content-Type: {CONTENT_TYPE}\r\n").encode()

    def answer(self, answer: Answer, keep_alive: bool) -> bytes:
        """The answer to a request of SQS."""
        if isinstance(answer, SqsError):
            status, headers, body = encode_error(answer)
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = self._head(status, lines).encode("latin-1", "replace")
        else:
            head = self._ok
            body = encode_result(answer)
        return self._complete(head, body, keep_alive)

    def query_answer(self, call: QueryCall, answer: Answer, keep_alive: bool) -> bytes:
        """The answer to a request of the Query protocol, whose body has the request id too."""
        request_id = f"{self._request_id}{(self._count + 1) % _REQUEST_IDS:012x}"
        status, headers, body = call.encode(answer, request_id)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return self._complete(
            self._head(status, lines).encode("latin-1", "replace"), body, keep_alive
        )

    def page(self, status: int, content_type: str, body: bytes, *, keep_alive: bool) -> bytes:
        """An answer that is no SQS result."""
        head = self._head(status, f"Content-Type: {content_type}\r\n").encode()
        return self._complete(head, body, keep_alive)

    def _head(self, status: int, headers: str) -> str:
        return (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{headers}Date: {self._date}\r\n"
            f"x-amzn-RequestId: {self._request_id}"
        )

    def _complete(self, head: bytes, body: bytes, keep_alive: bool) -> bytes:
        self._count = count = (self._count + 1) % _REQUEST_IDS
        connection = b"" if keep_alive else b"Connection: close\r\n"
        return b"%b%012x\r\nContent-Length: %d\r\n%b\r\n%b" % (
            head,
            count,
            len(body),
            connection,
            body,
        )


def with_headers(response: bytes, lines: bytes) -> bytes:
    """An answer with more header lines; each ends in CRLF."""
    return response.replace(b"\r\n", b"\r\n" + lines, 1)
