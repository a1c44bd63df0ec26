"""What the endpoint shows beside SQS, and to whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from forebay.broker.access import Access
from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.keys import load_keys, load_token
from forebay.broker.origins import Origins
from forebay.broker.server import HttpServer
from forebay.errors import SettingsError
from tests.wire.http_conversation import HOST, Conversation, conversation, request, serving

TOKEN = b"a-token-for-prometheus"

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def client() -> AsyncIterator[Conversation]:
    async with serving() as server, conversation(server) as client:
        await client.say(request("CreateQueue", b'{"QueueName":"jobs"}'))
        await client.hear()
        await client.say(request("SendMessage", b'{"QueueUrl":"jobs","MessageBody":"hello"}'))
        await client.hear()
        yield client


async def get(client: Conversation, target: str, headers: str = "") -> tuple[int, bytes]:
    await client.say(f"GET {target} HTTP/1.1\r\nHost: sqs.test\r\n{headers}\r\n".encode())
    head, _, body = (await client.hear()).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def get_json(client: Conversation, target: str) -> Any:
    status, body = await get(client, target)
    assert status == 200
    return json.loads(body)


async def test_queues_are_listed_with_their_counts(client: Conversation) -> None:
    [queue] = (await get_json(client, "/_forebay/queues"))["queues"]
    assert (queue["name"], queue["visible"], queue["totals"]["sent"]) == ("jobs", 1, 1)


async def test_messages_are_shown_and_not_received(client: Conversation) -> None:
    for _ in range(2):
        shown = await get_json(client, "/_forebay/messages?QueueUrl=jobs&MaxResults=10")
        [message] = shown["messages"]
        assert (message["body"], message["state"]) == ("hello", "VISIBLE")
        assert message["receive_count"] == 0


async def test_the_host_names_the_region_of_the_queue_that_is_shown(client: Conversation) -> None:
    host = "sqs.eu-west-1.localhost:9324"
    target = "/_forebay/messages?QueueUrl=jobs"
    await client.say(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert b"The specified queue does not exist." in await client.hear()
    create = "/?Action=CreateQueue&QueueName=jobs"
    await client.say(f"POST {create} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert f"<QueueUrl>http://{host}/000000000000/jobs</QueueUrl>".encode() in await client.hear()
    await client.say(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert b'{"messages":[]}' in await client.hear()
    listed = (await get_json(client, "/_forebay/queues"))["queues"]
    assert [queue["region"] for queue in listed] == ["eu-west-1", "us-east-1"]


async def test_metrics_are_for_prometheus(client: Conversation) -> None:
    status, body = await get(client, "/metrics")
    assert status == 200
    labels = b'{account="000000000000",queue="jobs",region="us-east-1"}'
    assert b"forebay_queue_visible_messages" + labels + b" 1.0" in body
    assert b"forebay_queue_sent_total" + labels + b" 1.0" in body
    assert b"forebay_queue_oldest_message_age_seconds" + labels in body
    assert b"forebay_queue_oldest_unprocessed_age_seconds" + labels in body
    assert b"forebay_queue_noisy_groups" + labels + b" 0.0" in body
    assert b"forebay_queue_quiet_visible_messages" + labels + b" 1.0" in body
    assert b"forebay_queue_groups_in_flight" + labels not in body


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/_forebay/nothing", 404, b"There is no such page"),
        ("/_forebay/messages", 400, b"must contain the parameter QueueUrl"),
        ("/_forebay/messages?QueueUrl=nowhere", 400, b"does not exist"),
        ("/_forebay/messages?QueueUrl=jobs&MaxResults=0", 400, b"between 1 and 1000"),
        ("/_forebay/messages?QueueUrl=jobs&MaxResults=x", 400, b"between 1 and 1000"),
    ],
)
async def test_pages_that_are_refused(
    client: Conversation, target: str, status: int, text: bytes
) -> None:
    answered, body = await get(client, target)
    assert answered == status
    assert text in body


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Conversation]:
    """A server that asks for signatures. The key `sender` may only send."""
    path = tmp_path / "keys.toml"
    path.write_text(
        f'[[key]]\naccess_key_id = "owner"\nsecret_access_key = "{SECRET}"\n'
        f'[[key]]\naccess_key_id = "sender"\nsecret_access_key = "{SECRET}"\n'
        'allow = ["sqs:SendMessage"]\n'
        f'[[key]]\naccess_key_id = "lister"\nsecret_access_key = "{SECRET}"\n'
        'allow = ["sqs:ListQueues"]\n'
    )
    path.chmod(0o600)
    broker = Broker(MemoryJournal(), executor=InlineExecutor(), auto_create=True)
    access = Access(load_keys(path), metrics_token=TOKEN)
    server = HttpServer(broker, access=access, origins=Origins(hosts=[HOST]))
    await server.start("127.0.0.1", 0)
    async with conversation(server) as client:
        yield client
    await server.stop()


def signed(key: str, method: str, target: str, **headers: str) -> str:
    """The headers of a request that botocore signed."""
    aws_request = AWSRequest(method, f"http://sqs.test{target}", headers=headers)
    SigV4Auth(Credentials(key, SECRET), "sqs", "us-east-1").add_auth(aws_request)
    return "".join(f"{name}: {value}\r\n" for name, value in aws_request.headers.items())


@pytest.mark.parametrize("target", ["/metrics", "/_forebay/queues"])
async def test_with_keys_pages_must_be_asked_for_with_a_signature(
    guarded: Conversation, target: str
) -> None:
    status, body = await get(guarded, target)
    assert status == 403
    assert b"MissingAuthenticationToken" in body
    assert (await get(guarded, target, signed("owner", "GET", target)))[0] == 200


async def test_with_keys_a_bearer_token_shows_the_metrics_and_nothing_else(
    guarded: Conversation,
) -> None:
    bearer = f"Authorization: Bearer {TOKEN.decode()}\r\n"
    assert (await get(guarded, "/metrics", bearer))[0] == 200
    status, body = await get(guarded, "/metrics", "Authorization: Bearer another-token\r\n")
    assert status == 403
    assert b"not the one in the file of --metrics-token" in body
    assert (await get(guarded, "/_forebay/queues", bearer))[0] != 200


def test_open_metrics_are_for_everybody() -> None:
    assert Access({}, open_metrics=True).shows_metrics(b"")
    assert not Access({}).shows_metrics(b"Bearer anything")


@pytest.mark.parametrize("content", ["short", "", "two words of many letters"])
def test_a_bad_token_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="one word of 16 characters or more"):
        load_token(path)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_token(path)


async def post(client: Conversation, target: str, headers: str = "") -> tuple[int, bytes]:
    await client.say(
        f"POST {target} HTTP/1.1\r\nHost: {HOST}\r\n{headers}Content-Length: 0\r\n\r\n".encode()
    )
    head, _, body = (await client.hear()).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_a_reset_deletes_everything_and_frees_the_names(client: Conversation) -> None:
    await client.say(request("CreateQueue", b'{"QueueName":"another"}'))
    await client.hear()
    assert (await get(client, "/_forebay/reset"))[0] == 400
    assert (await post(client, "/_forebay/reset", "Origin: https://evil.example\r\n"))[0] == 403
    assert len((await get_json(client, "/_forebay/queues"))["queues"]) == 2
    assert await post(client, "/_forebay/reset") == (200, b"{}")
    assert (await get_json(client, "/_forebay/queues"))["queues"] == []
    await client.say(request("CreateQueue", b'{"QueueName":"jobs"}'))
    assert (await client.hear()).startswith(b"HTTP/1.1 200")


async def test_with_keys_a_reset_needs_the_right_to_delete_every_queue(
    guarded: Conversation,
) -> None:
    create = "/?Action=CreateQueue&QueueName=jobs"
    assert (await post(guarded, create, signed("owner", "POST", create)))[0] == 200
    target = "/_forebay/reset"
    assert (await post(guarded, target))[0] == 403
    assert (await post(guarded, target, signed("sender", "POST", target)))[0] == 403
    status, body = await post(guarded, target, signed("lister", "POST", target))
    assert status == 403
    arn = "arn:aws:sqs:us-east-1:000000000000:jobs"
    assert f"not authorized to perform: sqs:deletequeue on resource: {arn}".encode() in body
    assert (await post(guarded, target, signed("owner", "POST", target)))[0] == 200
    listed = await get(guarded, "/_forebay/queues", signed("owner", "GET", "/_forebay/queues"))
    assert listed == (200, b'{"queues":[]}')


async def test_with_keys_a_queue_appears_only_for_who_may_create_it(
    guarded: Conversation,
) -> None:
    target = "/000000000000/new?Action=SendMessage&MessageBody=a"
    status, body = await post(guarded, target, signed("sender", "POST", target))
    assert status == 403
    assert b"not authorized to perform: sqs:createqueue" in body
    foreign = "/111111111111/new?Action=SendMessage&MessageBody=a"
    status, body = await post(guarded, foreign, signed("owner", "POST", foreign))
    assert status in {400, 403}
    assert (await post(guarded, target, signed("owner", "POST", target)))[0] == 200


async def test_looking_at_messages_needs_the_right_to_receive(guarded: Conversation) -> None:
    target = "/_forebay/messages?QueueUrl=jobs"
    status, body = await get(guarded, target, signed("sender", "GET", target))
    assert status == 403
    assert b"not authorized to perform: sqs:receivemessage" in body
    assert (await get(guarded, target, signed("owner", "GET", target)))[0] == 400


async def test_health_needs_no_signature(guarded: Conversation) -> None:
    assert (await get(guarded, "/health"))[0] == 200


async def test_with_keys_an_unsigned_request_of_either_protocol_is_refused(
    guarded: Conversation,
) -> None:
    await guarded.say(request("ListQueues", b"{}"))
    refusal = await guarded.hear()
    assert refusal.startswith(b"HTTP/1.1 403")
    assert b"x-amzn-query-error: MissingAuthenticationToken;Sender" in refusal
    status, body = await get(guarded, "/?Action=ListQueues")
    assert status == 403
    assert b"<Code>MissingAuthenticationToken</Code>" in body


async def test_more_connections_than_allowed_are_turned_away() -> None:
    broker = Broker(MemoryJournal(), executor=InlineExecutor())
    server = HttpServer(broker, origins=Origins(hosts=[HOST]), connections_max=1)
    await server.start("127.0.0.1", 0)
    async with conversation(server) as first:
        assert (await get(first, "/health"))[0] == 200
        async with conversation(server) as second:
            assert await second.hear_end() == b""
        assert (await get(first, "/health"))[0] == 200
    await asyncio.sleep(0)
    await server.stop()
