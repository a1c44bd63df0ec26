"""Connections of the client against a server that says its bytes as a script has them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme

from forebay.client import connection as connection_module
from forebay.client.connection import Disconnected, HttpAnswer, NotHttp
from forebay.client.endpoint import Address
from forebay.client.pool import IDLE_S, Pool

Say = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

REQUEST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class RawServer:
    """Answers each request, on whatever connection it comes, with the next line of the script."""

    def __init__(self) -> None:
        self.script: list[Say] = []
        self.connections = 0
        self.requests = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, host, 0, ssl=tls)
        self.address = Address(host, self._server.sockets[0].getsockname()[1], tls is not None)

    async def stop(self) -> None:
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    def hang_up(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n{}")
                self.requests += 1
                await self.script.pop(0)(reader, writer)
        writer.close()


def says(*parts: bytes) -> Say:
    """Each part is a read of its own."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.005 if len(parts) > 1 else 0)

    return say


def says_and_hangs_up(*parts: bytes) -> Say:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(*parts)(reader, writer)
        writer.close()

    return say


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    server = RawServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(4)
    yield pool
    await pool.close()


async def ask(
    pool: Pool, server: RawServer, *, timeout_s: float = 5.0, repeatable: bool = True
) -> HttpAnswer:
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    return await pool.exchange(
        server.address, REQUEST, deadline_s=deadline_s, repeatable=repeatable
    )


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        (OK,),
        tuple(bytes([byte]) for byte in OK),
        (OK[:-1], OK[-1:]),
        (CHUNKED, b"1\r\n{\r\n", b"1\r\n}\r\n0\r\n\r\n"),
        (CHUNKED + b"2\r\n{}\r\n0\r\nTrailer: x\r\n\r\n",),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK,),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", OK),
    ],
    ids=["whole", "bytes", "late end", "chunked", "trailer", "continue", "hints"],
)
async def test_an_answer_is_read_however_it_comes_and_the_connection_kept(
    pool: Pool, server: RawServer, parts: tuple[bytes, ...]
) -> None:
    server.script = [says(*parts)] * 3
    for _ in range(3):
        assert await ask(pool, server) == HttpAnswer(200, None, b"{}")
    assert server.connections == 1


async def test_the_header_of_an_error_and_an_empty_body_are_read(
    pool: Pool, server: RawServer
) -> None:
    answer = b"HTTP/1.1 400 Bad\r\nX-AMZN-Query-Error: Code;Sender\r\nContent-Length: 0\r\n\r\n"
    server.script = [says(answer), says(OK)]
    assert await ask(pool, server) == HttpAnswer(400, "Code;Sender", b"")
    assert await ask(pool, server) == HttpAnswer(200, None, b"{}")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\n\r\n{}",
    ],
    ids=["said so", "old", "ends with the connection", "old, ends with the connection"],
)
async def test_a_connection_that_ends_with_its_answer_is_not_used_again(
    pool: Pool, server: RawServer, answer: bytes
) -> None:
    server.script = [says_and_hangs_up(answer)] * 2
    for _ in range(2):
        assert await ask(pool, server) == HttpAnswer(200, None, b"{}")
    assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", Disconnected),
        (OK[:-1], Disconnected),
        (OK[:20], Disconnected),
        (CHUNKED + b"2\r\n{}\r\n", Disconnected),
        (b"SSH-2.0-OpenSSH_9.6\r\n", NotHttp),
        (b"\x15\x03\x01\x00\x02\x02\x16", NotHttp),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", NotHttp),
        (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", NotHttp),
        (CHUNKED + b"zz\r\n", NotHttp),
    ],
    ids=["nothing", "cut body", "cut head", "cut chunks", "ssh", "tls", "length", "upgrade", "hex"],
)
async def test_what_is_no_answer_is_an_error_and_ends_the_connection(
    pool: Pool, server: RawServer, answer: bytes, error: type[Exception]
) -> None:
    server.script = [says_and_hangs_up(answer), says(OK)]
    with pytest.raises(error):
        await ask(pool, server)
    assert await ask(pool, server) == HttpAnswer(200, None, b"{}")
    assert server.connections == 2


async def test_an_answer_that_never_ends_is_given_up(
    pool: Pool, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "BODY_BYTES_MAX", 100_000)
    head = b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 70_000
    body = CHUNKED + b"20000\r\n" + b"x" * 0x20000 + b"\r\n"
    server.script = [says(head), says(body)]
    for _ in range(2):
        with pytest.raises(NotHttp, match="too long"):
            await ask(pool, server)


async def test_a_large_answer_is_no_long_head(pool: Pool, server: RawServer) -> None:
    body = b"x" * 3_000_000
    server.script = [says(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + body)]
    assert (await ask(pool, server)).body == body


async def test_bytes_that_nobody_asked_for_end_the_connection(
    pool: Pool, server: RawServer
) -> None:
    server.script = [says(OK + OK), says(OK), says(OK)]
    assert await ask(pool, server) == HttpAnswer(200, None, b"{}")
    assert await ask(pool, server) == HttpAnswer(200, None, b"{}")
    assert server.connections == 2


async def test_a_kept_connection_that_the_server_closed_is_not_used(
    pool: Pool, server: RawServer
) -> None:
    server.script = [says(OK), says(OK)]
    await ask(pool, server)
    server.hang_up()
    await asyncio.sleep(0.05)
    await ask(pool, server, repeatable=False)
    assert (server.connections, server.requests) == (2, 2)


async def test_a_request_that_met_the_end_of_a_kept_connection_is_made_again_if_it_may_be(
    pool: Pool, server: RawServer
) -> None:
    server.script = [says(OK), says_and_hangs_up(), says(OK)]
    await ask(pool, server)
    assert await ask(pool, server) == HttpAnswer(200, None, b"{}")
    assert (server.connections, server.requests) == (2, 3)

    server.script = [says_and_hangs_up()]
    with pytest.raises(Disconnected):
        await ask(pool, server, repeatable=False)
    assert server.requests == 4


async def test_a_request_is_made_again_only_once_and_only_when_no_byte_came(
    pool: Pool, server: RawServer
) -> None:
    server.script = [says(OK), says_and_hangs_up(), says_and_hangs_up()]
    await ask(pool, server)
    with pytest.raises(Disconnected):
        await ask(pool, server)
    server.script = [says(OK), says_and_hangs_up(b"HTTP/1.1 2")]
    await ask(pool, server)
    with pytest.raises(Disconnected):
        await ask(pool, server)
    assert server.requests == 5


async def test_a_connection_that_was_idle_for_long_is_closed_instead_of_used(
    pool: Pool, server: RawServer
) -> None:
    server.script = [says(OK), says(OK)]
    await ask(pool, server)
    (idle,) = pool._idle[server.address]
    idle.idle_since_s -= IDLE_S + 1
    await ask(pool, server)
    assert server.connections == 2


async def test_no_more_are_under_way_than_allowed_and_turns_come_in_order(
    server: RawServer,
) -> None:
    pool = Pool(2)
    under_way = most = 0
    order: list[int] = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        await says(OK)(reader, writer)

    async def one(number: int) -> None:
        await ask(pool, server)
        order.append(number)

    server.script = [slow] * 10
    await asyncio.gather(*(one(number) for number in range(10)))
    assert most == 2
    assert server.connections == 2
    pairs = [set(order[at : at + 2]) for at in range(0, 10, 2)]
    assert pairs == [{at, at + 1} for at in range(0, 10, 2)]
    await pool.close()


async def test_a_cancelled_request_frees_its_place_wherever_it_was(server: RawServer) -> None:
    pool = Pool(1)
    server.script = [says_nothing, says(OK), says(OK)]
    first = asyncio.create_task(ask(pool, server))
    while not server.requests:  # noqa: ASYNC110 - the server is no task of ours
        await asyncio.sleep(0.001)
    second, third = (asyncio.create_task(ask(pool, server)) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    # The third gets its turn and is cancelled in the same moment.
    first.cancel()
    await asyncio.sleep(0)
    third.cancel()
    fourth = asyncio.create_task(ask(pool, server))
    assert await fourth == HttpAnswer(200, None, b"{}")
    assert await ask(pool, server) == HttpAnswer(200, None, b"{}")
    for cancelled in (first, second, third):
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    await pool.close()


async def test_each_wait_ends_in_time_and_says_what_for(server: RawServer) -> None:
    pool = Pool(1)
    server.script = [says_nothing, says(OK)]
    holding = asyncio.create_task(ask(pool, server, timeout_s=0.5))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError, match="no connection was free"):
        await ask(pool, server, timeout_s=0.01)
    with pytest.raises(TimeoutError, match="no answer"):
        await holding
    with pytest.raises(TimeoutError, match=r"no connection$"):
        await ask(pool, server, timeout_s=-1)
    assert await ask(pool, server) == HttpAnswer(200, None, b"{}")
    await pool.close()


async def test_closing_ends_what_is_under_way_and_what_is_idle(server: RawServer) -> None:
    pool = Pool(3)
    server.script = [says(OK), says_nothing, says_nothing]
    await ask(pool, server)
    waiting = [asyncio.create_task(ask(pool, server, repeatable=False)) for _ in range(2)]
    while server.requests < 3:  # noqa: ASYNC110 - the server is no task of ours
        await asyncio.sleep(0.001)
    await pool.close()
    await pool.close()
    for call in waiting:
        with pytest.raises(Disconnected):
            await call
    with pytest.raises(Disconnected):
        await ask(pool, server)


async def test_ipv6_is_spoken(pool: Pool) -> None:
    server = RawServer()
    try:
        await server.start("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    server.script = [says(OK)]
    assert await ask(pool, server) == HttpAnswer(200, None, b"{}")
    await server.stop()


async def test_tls_is_spoken_with_those_it_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = RawServer()
    await server.start(tls=context)
    server.script = [says(OK)] * 2

    stranger = Pool(1)
    with pytest.raises(ssl.SSLCertVerificationError):
        await ask(stranger, server)
    await stranger.close()

    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    friend = Pool(1)
    for _ in range(2):
        assert await ask(friend, server) == HttpAnswer(200, None, b"{}")
    await friend.close()
    await server.stop()


async def test_a_server_that_speaks_no_tls_is_an_error_of_tls(pool: Pool) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    plain = await asyncio.start_server(refuse, "127.0.0.1", 0)
    address = Address("127.0.0.1", plain.sockets[0].getsockname()[1], tls=True)
    deadline_s = asyncio.get_running_loop().time() + 5
    with pytest.raises(ssl.SSLError):
        await pool.exchange(address, REQUEST, deadline_s=deadline_s, repeatable=True)
    plain.close()
    await plain.wait_closed()
