"""Which web pages and host names are let in, and what their browsers are told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from forebay.broker.origins import Origins
from forebay.errors import SettingsError
from tests.wire.http_conversation import HOST, Conversation, conversation, request, serving

SHOP = "http://localhost:3000"

SEND = b'{"QueueUrl":"jobs","MessageBody":"hello"}'

EVIL = "Origin: https://evil.example\r\n"


@pytest.fixture
async def client() -> AsyncIterator[Conversation]:
    """A client of a server that lets in the pages of SHOP."""
    async with serving(Origins([SHOP], [HOST])) as server, conversation(server) as client:
        await client.say(request("CreateQueue", b'{"QueueName":"jobs"}'))
        await client.hear()
        yield client


async def sent(client: Conversation) -> int:
    """How many messages reached the queue."""
    await client.say(request("GetQueueAttributes", b'{"QueueUrl":"jobs","AttributeNames":["All"]}'))
    answer = await client.hear()
    return int(answer.partition(b'"ApproximateNumberOfMessages":"')[2].partition(b'"')[0])


def form(headers: str, *, method: str = "POST", target: str = "/", host: str = HOST) -> bytes:
    body = "Action=SendMessage&QueueUrl=jobs&MessageBody=x" if method == "POST" else ""
    return (
        f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


SENDING = "/?Action=SendMessage&QueueUrl=jobs&MessageBody=x"


@pytest.mark.parametrize(
    "refused",
    [
        request("SendMessage", SEND, headers=EVIL),
        request("SendMessage", SEND, headers="Origin: null\r\n"),
        request("SendMessage", SEND, headers="Sec-Fetch-Site: cross-site\r\n"),
        form(EVIL),
        form("Origin: null\r\n"),
        form("Origin: http://localhost:3001\r\nSec-Fetch-Site: same-site\r\n"),
        form("Origin: https://localhost:3000\r\n"),
        form("Origin: http://localhost:3000.evil.example\r\n"),
        form("Sec-Fetch-Site: cross-site\r\n"),
        form("Sec-Fetch-Site: same-site\r\n"),
        form("Sec-Fetch-Site: none\r\nOrigin: chrome-extension://abc\r\n"),
        form("Referer: https://evil.example/page\r\n"),
        form("Referer: http://[\r\n"),
        form("Sec-Fetch-Site: cross-site\r\n", method="GET", target=SENDING),
        form("Referer: https://evil.example/\r\n", method="GET", target=SENDING),
        form("Sec-Fetch-Site: cross-site\r\n", method="GET", target="/_forebay/messages"),
        form("Sec-Fetch-Site: cross-site\r\n", method="GET", target="/_forebay/queues"),
        form("Sec-Fetch-Site: cross-site\r\n", method="GET", target="/metrics"),
        form("Sec-Fetch-Site: cross-site\r\n", method="GET", target="/health"),
        form(EVIL, method="OPTIONS", target=SENDING),
        form(
            EVIL + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            method="GET",
            target="/_forebay/queues",
        ),
    ],
)
async def test_a_page_of_another_site_is_refused(client: Conversation, refused: bytes) -> None:
    await client.say(refused)
    answer = await client.hear()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"AccessDenied" in answer
    assert b"--allow-origin" in answer
    assert b"access-control-" not in answer.lower()
    assert await sent(client) == 0


@pytest.mark.parametrize(
    "headers",
    [
        "",
        f"Origin: http://{HOST}\r\n",
        f"Origin: http://{HOST}\r\nSec-Fetch-Site: same-origin\r\n",
        # A proxy took the TLS off.
        f"Origin: https://{HOST}\r\nSec-Fetch-Site: same-origin\r\n",
        "Sec-Fetch-Site: same-origin\r\n",
        "Sec-Fetch-Site: none\r\n",
        f"Referer: http://{HOST}/_forebay/queues\r\n",
    ],
)
async def test_own_pages_and_clients_that_are_no_browsers_are_let_in(
    client: Conversation, headers: str
) -> None:
    await client.say(form(headers))
    answer = await client.hear()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Access-Control-" not in answer
    assert await sent(client) == 1


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request("SendMessage", SEND, headers=f"Origin: {SHOP}\r\n"), b"200"),
        (request("SendMessage", b"{}", headers=f"Origin: {SHOP}\r\n"), b"400"),
        (form(f"Origin: {SHOP}\r\nSec-Fetch-Site: same-site\r\n"), b"200"),
        (form(f"Origin: {SHOP}\r\n", method="GET", target="/_forebay/queues"), b"200"),
        (form(f"Origin: {SHOP}\r\n", method="GET", target="/_forebay/nothing"), b"404"),
        (form(f"Origin: {SHOP}\r\n", method="GET", target="/?Action=Nothing"), b"400"),
        (
            f"POST / HTTP/1.1\r\nOrigin: {SHOP}\r\nHost: {HOST}\r\n"
            "Content-Length: 9999999\r\n\r\n".encode(),
            b"413",
        ),
    ],
)
async def test_a_page_of_an_allowed_origin_may_read_answers_and_errors(
    client: Conversation, asked: bytes, status: bytes
) -> None:
    for _ in range(2):
        await client.say(asked)
        head = (await client.hear()).partition(b"\r\n\r\n")[0].split(b"\r\n")
        assert head[0].split()[1] == status
        assert f"Access-Control-Allow-Origin: {SHOP}".encode() in head
        assert b"Vary: Origin" in head
        exposed = b"Access-Control-Expose-Headers: x-amzn-RequestId, x-amzn-query-error, Date"
        assert exposed in head
        if status == b"413":
            return


async def test_an_allowed_page_is_told_what_it_may_send(client: Conversation) -> None:
    wanted = "authorization,content-type,x-amz-date,x-amz-target"
    await client.say(
        form(
            f"Origin: {SHOP}\r\nAccess-Control-Request-Method: POST\r\n"
            f"Access-Control-Request-Headers: {wanted}\r\n"
            "Access-Control-Request-Private-Network: true\r\n",
            method="OPTIONS",
        )
    )
    head = (await client.hear()).split(b"\r\n")
    assert head[0] == b"HTTP/1.1 200 OK"
    for line in (
        f"Access-Control-Allow-Origin: {SHOP}",
        "Access-Control-Allow-Methods: GET, POST",
        f"Access-Control-Allow-Headers: {wanted}",
        "Access-Control-Allow-Private-Network: true",
        "Access-Control-Max-Age: 7200",
    ):
        assert line.encode() in head


async def test_a_question_about_options_carries_nothing_out(client: Conversation) -> None:
    await client.say(form("", method="OPTIONS", target=SENDING))
    answer = await client.hear()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nAllow: GET, POST, OPTIONS\r\n" in answer
    assert await sent(client) == 0


async def test_every_origin_may_be_let_in() -> None:
    async with serving(Origins(["*"], [HOST])) as server, conversation(server) as client:
        for origin in (b"https://evil.example", b"null"):
            await client.say(request("ListQueues", b"{}", headers=f"Origin: {origin.decode()}\r\n"))
            answer = await client.hear()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"\r\nAccess-Control-Allow-Origin: " + origin + b"\r\n" in answer


@pytest.mark.parametrize(
    "host",
    [
        "localhost:9324",
        "LOCALHOST",
        "localhost.",
        "queues.localhost:9324",
        "127.0.0.1:9324",
        "192.168.1.7",
        "[::1]:9324",
        "sqs.eu-west-1.amazonaws.com",
        "sqs.cn-north-1.amazonaws.com.cn:443",
        "eu-west-1.queue.amazonaws.com",
        "queue.amazonaws.com",
        "sqs.us-east-1.api.aws",
        HOST,
        "a.b.example.test",
        "x.localhost.localstack.cloud:4566",
    ],
)
async def test_names_of_this_machine_and_of_sqs_are_known(host: str) -> None:
    origins = Origins(hosts=[HOST, "*.example.test", "*.localhost.localstack.cloud"])
    async with serving(origins) as server, conversation(server) as client:
        await client.say(form("", method="GET", target="/health", host=host))
        assert (await client.hear()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9324",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evillocalhost",
        "host.docker.internal:9324",
        "example.test",
        "evil.s3.amazonaws.com",
        "sqs.us-east-1.amazonaws.com.evil.example",
        "x.sqs.us-east-1.amazonaws.com",
        "evil@localhost",
    ],
)
async def test_a_page_cannot_have_its_own_name_point_here(host: str) -> None:
    async with serving(Origins(hosts=["*.example.test"])) as server, conversation(server) as client:
        for target in ("/_forebay/messages?QueueUrl=jobs", "/health", "/metrics"):
            own = f"Sec-Fetch-Site: same-origin\r\nOrigin: http://{host}\r\n"
            await client.say(form(own, method="GET", target=target, host=host))
            answer = await client.hear()
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert f"--allow-host {host.removesuffix(':9324')}".encode() in answer


def test_off_the_loopback_names_are_refused_only_when_some_are_allowed() -> None:
    open_to_all, named = Origins(), Origins(hosts=["broker"])
    for origins in (open_to_all, named):
        origins.listen("0.0.0.0", ["0.0.0.0"])
    assert open_to_all.let_in({b"host": b"broker:9324"}, "http") == b""
    assert named.let_in({b"host": b"broker:9324"}, "http") == b""
    with pytest.raises(Exception, match=r"--allow-host evil\.example"):
        named.let_in({b"host": b"evil.example"}, "http")


def test_the_name_that_the_broker_listens_on_is_known() -> None:
    origins = Origins()
    origins.listen("queues.internal", ["127.0.1.1"])
    assert origins.let_in({b"host": b"queues.internal:9324"}, "http") == b""


@pytest.mark.parametrize(
    "origin",
    ["null", "localhost:3000", "http://*", "http://localhost:*", "http://a/b", "", "http://"],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(SettingsError, match="--allow-origin scheme, host and port"):
        Origins([origin])


@pytest.mark.parametrize("host", ["http://a", "a:80", "*", "a/b", "", "*.*.a"])
def test_what_is_no_host_name_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match="--allow-host a name without scheme and port"):
        Origins(hosts=[host])


@pytest.mark.parametrize(
    ("setting", "origin"),
    [
        ("http://LOCALHOST:3000/", "http://localhost:3000"),
        ("http://localhost:80", "http://localhost"),
        ("https://a.example:443", "https://a.example"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_an_origin_may_be_written_as_people_do(setting: str, origin: str) -> None:
    assert Origins([setting]).let_in({b"origin": origin.encode()}, "http")


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", SENDING, "", b"403"),
        ("HEAD", SENDING, "", b"403"),
        ("GET", SENDING + "&X-Amz-Signature=made-up", "", b"403"),
        ("GET", SENDING, "Sec-Fetch-Site: none\r\n", b"403"),
        ("GET", "/000000000000/jobs?Action=ReceiveMessage", "", b"403"),
        ("GET", "/000000000000/jobs?Action=PurgeQueue", "", b"403"),
        ("GET", SENDING, "Authorization: AWS4-HMAC-SHA256 Credential=any\r\n", b"200"),
        ("GET", "/000000000000/jobs?Action=GetQueueAttributes", "", b"200"),
        ("GET", "/?Action=ListQueues", "", b"200"),
        ("GET", "/?Action=GetQueueUrl&QueueName=jobs", "", b"200"),
    ],
)
async def test_an_unsigned_get_changes_nothing(
    client: Conversation, method: str, target: str, headers: str, status: bytes
) -> None:
    await client.say(form(headers, method=method, target=target))
    answer = await client.hear()
    assert answer.split()[1] == status
    if status == b"403":
        assert b"Send it as a POST" in answer
    assert await sent(client) == (1 if status == b"200" and target == SENDING else 0)


@pytest.mark.parametrize(
    "target",
    ["/?Action=GetQueueUrl&QueueName=jobs", "/000000000000/jobs?Action=GetQueueAttributes"],
)
async def test_an_unsigned_get_brings_no_queue_into_being(target: str) -> None:
    async with serving(auto_create=True) as server, conversation(server) as client:
        await client.say(form("", method="GET", target=target))
        assert b"CreateQueue changes something" in await client.hear()
        await client.say(form("", method="GET", target="/?Action=ListQueues"))
        assert b"/jobs<" not in await client.hear()
        await client.say(request("GetQueueUrl", b'{"QueueName":"jobs"}'))
        assert b'/jobs"' in await client.hear()
        await client.say(form("", method="GET", target=target))
        assert (await client.hear()).split()[1] == b"200"
