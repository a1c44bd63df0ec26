"""Requests whose heads were seen before mean what they would mean if they were parsed anew."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.broker.connection import Exchange, HttpConnection
from forebay.broker.head import Head, RememberedHeads
from forebay.broker.http import Answers
from forebay.broker.polls import ParkedPoll
from forebay.protocol.actions import EmptyResult
from forebay.protocol.errors import SqsError
from tests.runtime.virtual_time import run

SEND = b"POST / HTTP/1.1\r\nHost: here\r\nX-Amz-Target: AmazonSQS.SendMessage\r\n"


class Transport(asyncio.Transport):
    """Takes what is written."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def write_eof(self) -> None: ...

    def close(self) -> None: ...


class Service:
    """Notes what it is asked and answers at once."""

    stopping = False

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, bytes, dict[bytes, bytes], bool, bytes]] = []
        self.heads: list[Head] = []

    def handle(self, exchange: Exchange, head: Head, body: bytes) -> None:
        self.heads.append(head)
        self.requests.append((head.method, head.url, head.headers, exchange.keep_alive, body))
        exchange.reply(EmptyResult())

    def refused(self, exchange: Exchange, error: SqsError) -> None: ...

    def address(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None: ...

    def abandon(self, poll: ParkedPoll) -> bool:
        return False

    def resume(self, poll: ParkedPoll) -> None: ...

    def opened(self, connection: HttpConnection) -> None: ...

    def closed(self, connection: HttpConnection) -> None: ...


def connect(service: Service, heads: RememberedHeads) -> HttpConnection:
    answers = Answers(bytes(16))
    answers.set_date(0)
    connection = HttpConnection(service, answers, heads)
    connection.connection_made(Transport())
    return connection


def post(body: bytes, headers: bytes = b"") -> bytes:
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (SEND, headers, len(body), body)


def heads_of(*reads: bytes) -> list[Head]:
    """The heads under which one connection's reads were handled."""
    service = Service()
    connection = connect(service, RememberedHeads())
    for read in reads:
        connection.data_received(read)
    return service.heads


def test_a_head_that_comes_again_is_not_parsed_again() -> None:
    first, second = heads_of(post(b"one"), post(b"two"))
    assert first is second


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b"one", b"X-Amz-Date: 20260101T000000Z\r\n"),
        post(b"one", b"amz-sdk-invocation-id: 1\r\n"),
        post(b"one", b"Padding: " + bytes(2_048).replace(b"\0", b"x") + b"\r\n"),
        SEND + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        post(b"one") * 2,
    ],
    ids=["dated", "numbered", "long", "chunked", "pipelined"],
)
def test_what_will_not_come_again_or_is_no_lone_request_is_not_remembered(
    request_bytes: bytes,
) -> None:
    heads = heads_of(request_bytes, request_bytes)
    assert len({id(head) for head in heads}) == len(heads)


def test_a_remembered_head_with_half_a_body_waits_for_the_rest() -> None:
    whole = post(b"one")
    service = Service()
    connection = connect(service, RememberedHeads())
    connection.data_received(whole)
    connection.data_received(whole[:-1])
    assert len(service.requests) == 1
    connection.data_received(whole[-1:] + whole)
    assert [request[-1] for request in service.requests] == [b"one"] * 3


REQUESTS = st.sampled_from(
    [
        post(b"one"),
        post(b"two"),
        post(b""),
        post(b"longer"),
        post(b"one", b"Connection: close\r\n"),
        post(b"POST / HTTP/1.1\r\n\r\n"),
        post(b"\r\n\r\n"),
        SEND + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        SEND + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\none",
        b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\r\n",
        b"not HTTP\r\n\r\n",
    ]
)


@given(requests=st.lists(REQUESTS, max_size=8), cuts=st.lists(st.integers(0, 1_000), max_size=8))
def test_the_same_requests_are_found_however_the_bytes_arrive(
    requests: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(requests)
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})
    reads = [stream[start:end] for start, end in pairwise([0, *ends])]
    heads = RememberedHeads()
    byte_by_byte = run(found_in([bytes([byte]) for byte in stream], RememberedHeads()))
    for _ in range(2):
        assert run(found_in(reads, heads)) == byte_by_byte


async def found_in(reads: list[bytes], heads: RememberedHeads) -> list[object]:
    service = Service()
    connection = connect(service, heads)
    for read in reads:
        connection.data_received(read)
    return list(service.requests)
