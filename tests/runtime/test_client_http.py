"""The HTTP client against a server whose answers are scripted, one a request."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from unittest import mock

import botocore.auth
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from forebay.client.base import attempt_timeout_s
from forebay.client.credentials import CredentialChain
from forebay.client.http import HttpSqsClient
from forebay.client.pool import Pool
from forebay.client.retry import NO_RETRY, RetryPolicy
from forebay.clock import ManualClock
from forebay.errors import Closed, NoCredentials, ServiceUnreachable, SettingsError
from forebay.protocol.actions import (
    AnyRequest,
    CreateQueueRequest,
    DeleteMessageRequest,
    EmptyResult,
    ListQueuesRequest,
    ListQueuesResult,
    ReceiveMessageRequest,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageRequest,
)
from forebay.protocol.awsjson import encode_error
from forebay.protocol.errors import (
    QUEUE_DOES_NOT_EXIST,
    REQUEST_THROTTLED,
    SERVICE_UNAVAILABLE,
    Fault,
    SqsError,
)
from forebay.protocol.sigv4 import Credentials

CREDENTIALS = Credentials("AKIDEXAMPLE", "secret")

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class SkippingClock(ManualClock):
    """A clock on which sleeping takes no time and is remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.slept_ms: list[int] = []

    async def sleep(self, duration_s: float) -> None:
        duration_ms = round(duration_s * 1000)
        self.slept_ms.append(duration_ms)
        self.advance(duration_ms)


class ScriptedServer:
    """Answers each request with the next line of the script, and remembers them all."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.requests: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self._server = RawTestServer(self._handle)

    @property
    def url(self) -> str:
        return str(self._server.make_url("/"))

    async def start(self) -> None:
        await self._server.start_server()

    async def stop(self) -> None:
        await self._server.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        return await self.script.pop(0)(request)


def says(members: dict[str, object]) -> Answer:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=json.dumps(members).encode())

    return answer


def refuses(fault: Fault) -> Answer:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        status, headers, body = encode_error(SqsError(fault))
        return web.Response(status=status, headers=headers, body=body)

    return answer


async def hangs_up(request: web.BaseRequest) -> web.StreamResponse:
    """Takes the request and closes the connection: the reply is lost."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def says_nothing(request: web.BaseRequest) -> web.StreamResponse:
    """Takes the request and never answers."""
    await asyncio.Event().wait()
    raise AssertionError


async def is_a_broken_proxy(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=502, text="<html>Bad Gateway</html>")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def clock() -> SkippingClock:
    return SkippingClock()


@pytest.fixture
async def client(server: ScriptedServer, clock: SkippingClock) -> AsyncIterator[HttpSqsClient]:
    async with HttpSqsClient(
        server.url,
        region="eu-west-1",
        credentials=CREDENTIALS,
        clock=clock,
        entropy=lambda count: b"\x80" + bytes(count - 1),
        environment={},
    ) as client:
        yield client


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, and nobody else can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_a_request_is_a_signed_post_of_aws_json(
    server: ScriptedServer, client: HttpSqsClient
) -> None:
    server.script = [says({"MessageId": "m", "MD5OfMessageBody": "d"})]
    result = await client.send_message(SendMessageRequest(queue_url="jobs", message_body="hello"))
    assert result.message_id == "m"

    sent = server.requests[0]
    assert (sent.method, sent.path) == ("POST", "/")
    assert sent.headers["Content-Type"] == "application/x-amz-json-1.0"
    assert sent.headers["X-Amz-Target"] == "AmazonSQS.SendMessage"
    assert json.loads(server.bodies[0]) == {"QueueUrl": "jobs", "MessageBody": "hello"}


async def test_what_arrives_verifies_with_botocores_signer(
    server: ScriptedServer, client: HttpSqsClient
) -> None:
    server.script = [says({})]
    await client.list_queues(ListQueuesRequest())
    arrived = server.requests[0].headers
    _, _, given = arrived["Authorization"].partition("SignedHeaders=")
    names, _, signature = given.partition(", Signature=")

    signer = botocore.auth.SigV4Auth(
        BotocoreCredentials("AKIDEXAMPLE", "secret"), "sqs", "eu-west-1"
    )
    again = AWSRequest(
        method="POST",
        url=server.url,
        headers={name: arrived[name] for name in names.split(";")},
        data=server.bodies[0],
    )
    again.context["timestamp"] = arrived["X-Amz-Date"]
    string = signer.string_to_sign(again, signer.canonical_request(again))
    assert signer.signature(string, again) == signature


async def test_a_refusal_is_raised_at_once(
    server: ScriptedServer, client: HttpSqsClient, clock: SkippingClock
) -> None:
    server.script = [refuses(QUEUE_DOES_NOT_EXIST)]
    with pytest.raises(SqsError) as refusal:
        await client.send_message(SendMessageRequest(queue_url="absent", message_body="x"))
    assert refusal.value.code == "AWS.SimpleQueueService.NonExistentQueue"
    assert refusal.value.message == "The specified queue does not exist."
    assert clock.slept_ms == []


@pytest.mark.parametrize(
    "failure",
    [hangs_up, refuses(SERVICE_UNAVAILABLE), refuses(REQUEST_THROTTLED), is_a_broken_proxy],
    ids=["lost reply", "service unavailable", "throttled", "broken proxy"],
)
async def test_a_failure_that_passes_is_survived(
    server: ScriptedServer, client: HttpSqsClient, clock: SkippingClock, failure: Answer
) -> None:
    server.script = [failure, failure, failure, says({"QueueUrls": ["a"]})]
    assert await client.list_queues(ListQueuesRequest()) == ListQueuesResult(queue_urls=["a"])
    assert clock.slept_ms == [25, 50, 100]
    assert len(set(server.bodies)) == 1


async def test_a_service_that_stays_away_is_given_up_at_the_deadline(
    closed_port: int, clock: SkippingClock
) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    async with HttpSqsClient(
        url,
        credentials=CREDENTIALS,
        retry=RetryPolicy(deadline_ms=5_000),
        clock=clock,
        environment={},
    ) as client:
        with pytest.raises(ServiceUnreachable) as failure:
            await client.list_queues(ListQueuesRequest())
    assert sum(clock.slept_ms) == 5_000
    message = str(failure.value)
    assert message.startswith(f"ListQueues at {url}/ failed: ")
    assert message.endswith(
        "Check that the broker runs (`forebay serve`) and that this is its URL."
    )
    assert isinstance(failure.value.__cause__, ConnectionRefusedError)


async def test_a_service_that_says_nothing_is_unreachable(
    server: ScriptedServer, client: HttpSqsClient, clock: SkippingClock
) -> None:
    server.script = [says_nothing]
    with pytest.raises(ServiceUnreachable, match=r"no answer in 0\.01 s"):
        await client.list_queues(ListQueuesRequest(), timeout_s=0.01, retry=NO_RETRY)
    assert clock.slept_ms == []


@pytest.mark.parametrize("body", ["half a pair: \ud800", object()], ids=["surrogate", "object"])
async def test_what_is_no_json_is_refused_before_it_is_sent(
    server: ScriptedServer, client: HttpSqsClient, body: Any
) -> None:
    with pytest.raises(SqsError, match="cannot be written as JSON"):
        await client.send_message(SendMessageRequest(queue_url="q", message_body=body))
    assert server.bodies == []


async def test_an_unexpected_error_below_is_an_unreachable_service(
    server: ScriptedServer, client: HttpSqsClient
) -> None:
    with (
        mock.patch.object(Pool, "exchange", side_effect=KeyError("bug")),
        pytest.raises(ServiceUnreachable, match=r"ListQueues at .* failed: 'bug'"),
    ):
        await client.list_queues(ListQueuesRequest(), retry=NO_RETRY)


async def test_a_failed_handshake_says_what_to_do(server: ScriptedServer) -> None:
    error = ssl.SSLCertVerificationError(1, "self-signed certificate")
    async with HttpSqsClient("https://h", credentials=CREDENTIALS, environment={}) as client:
        with (
            mock.patch.object(Pool, "exchange", side_effect=error),
            pytest.raises(ServiceUnreachable, match=r"no trusted TLS.*self-signed.*SSL_CERT_FILE"),
        ):
            await client.list_queues(ListQueuesRequest(), retry=NO_RETRY)


@pytest.mark.parametrize(
    ("request_", "requests"),
    [
        (SendMessageRequest(queue_url="jobs", message_body="x"), 1),
        (SendMessageRequest(queue_url="jobs.fifo", message_body="x", message_group_id="g"), 2),
        (ReceiveMessageRequest(queue_url="jobs"), 2),
        (DeleteMessageRequest(queue_url="jobs", receipt_handle="h"), 2),
    ],
    ids=["standard send", "FIFO send", "receive", "delete"],
)
async def test_only_what_cannot_be_sent_twice_is_made_again_behind_the_callers_back(
    server: ScriptedServer, client: HttpSqsClient, request_: AnyRequest, requests: int
) -> None:
    answer = {"MessageId": "m", "MD5OfMessageBody": "d"}
    server.script = [says({}), hangs_up, says(dict(answer))]
    await client.list_queues(ListQueuesRequest())
    if requests == 1:
        with pytest.raises(ServiceUnreachable):
            await client.call(request_, retry=NO_RETRY)
    else:
        await client.call(request_, retry=NO_RETRY)
    assert len(server.requests) == 1 + requests


async def test_new_credentials_sign_from_then_on(server: ScriptedServer) -> None:
    server.script = [says({})] * 3
    keys = [Credentials("first", "s", "t"), Credentials("second", "s"), Credentials("second", "s")]
    with mock.patch.object(CredentialChain, "current", side_effect=keys):
        async with HttpSqsClient(server.url, environment={}) as client:
            for _ in keys:
                await client.list_queues(ListQueuesRequest())
    signed = [request.headers for request in server.requests]
    assert [
        "Credential=" + key.access_key_id in headers["Authorization"]
        for key, headers in zip(keys, signed, strict=True)
    ] == [True] * 3
    assert [headers.get("X-Amz-Security-Token") for headers in signed] == ["t", None, None]


@pytest.mark.parametrize("path", ["/sqs", "/a b/ü"])
async def test_a_path_before_sqs_is_kept(server: ScriptedServer, path: str) -> None:
    server.script = [says({})]
    url = server.url.rstrip("/") + path
    async with HttpSqsClient(url, credentials=CREDENTIALS, environment={}) as client:
        await client.list_queues(ListQueuesRequest())
    assert server.requests[0].path == path


async def test_credentials_that_no_header_can_hold_are_refused_by_name(
    server: ScriptedServer,
) -> None:
    broken = Credentials("key", "secret", "token\nX-Injected: 1")
    async with HttpSqsClient(server.url, credentials=broken, environment={}) as client:
        with pytest.raises(NoCredentials, match="line break"):
            await client.list_queues(ListQueuesRequest())
    assert server.requests == []


async def test_a_call_brings_a_retry_policy_of_its_own(
    server: ScriptedServer, client: HttpSqsClient, clock: SkippingClock
) -> None:
    server.script = [hangs_up] * 4
    policy = RetryPolicy(base_delay_ms=200, max_delay_ms=300, deadline_ms=200)
    with pytest.raises(ServiceUnreachable):
        await client.list_queues(ListQueuesRequest(), retry=policy)
    assert clock.slept_ms == [100, 100]


@pytest.mark.parametrize(
    ("request_", "timeout_s"),
    [
        (SendMessageRequest(queue_url="q", message_body="b"), 3.0),
        (ReceiveMessageRequest(queue_url="q", wait_time_seconds=0), 3.0),
        (ReceiveMessageRequest(queue_url="q", wait_time_seconds=20), 23.0),
        (ReceiveMessageRequest(queue_url="q"), 23.0),
    ],
)
def test_a_long_poll_may_take_its_wait_time_more(request_: AnyRequest, timeout_s: float) -> None:
    assert attempt_timeout_s(request_, 3.0) == timeout_s


async def test_a_repeated_receive_from_a_fifo_queue_names_the_same_attempt(
    server: ScriptedServer, client: HttpSqsClient
) -> None:
    server.script = [hangs_up, says({}), says({})]
    await client.receive_message(ReceiveMessageRequest(queue_url="orders.fifo"))
    first, again = (json.loads(body)["ReceiveRequestAttemptId"] for body in server.bodies)
    assert first == again
    assert first


async def test_each_receive_from_a_fifo_queue_is_an_attempt_of_its_own(
    server: ScriptedServer,
) -> None:
    server.script = [says({}), says({})]
    async with HttpSqsClient(server.url, credentials=CREDENTIALS, environment={}) as client:
        for _ in range(2):
            await client.receive_message(ReceiveMessageRequest(queue_url="orders.fifo"))
    first, second = (json.loads(body)["ReceiveRequestAttemptId"] for body in server.bodies)
    assert first != second


@pytest.mark.parametrize(
    ("request_", "attempt_id"),
    [
        (ReceiveMessageRequest(queue_url="jobs"), None),
        (
            ReceiveMessageRequest(queue_url="orders.fifo", receive_request_attempt_id="mine"),
            "mine",
        ),
    ],
)
async def test_a_receive_keeps_what_the_caller_said(
    server: ScriptedServer,
    client: HttpSqsClient,
    request_: ReceiveMessageRequest,
    attempt_id: str | None,
) -> None:
    server.script = [says({})]
    await client.receive_message(request_)
    assert json.loads(server.bodies[0]).get("ReceiveRequestAttemptId") == attempt_id


async def test_a_batch_that_failed_in_part_is_an_answer(
    server: ScriptedServer, client: HttpSqsClient
) -> None:
    server.script = [
        says(
            {
                "Successful": [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "d"}],
                "Failed": [{"Id": "1", "SenderFault": False, "Code": "InternalError"}],
            }
        )
    ]
    result = await client.send_message_batch(
        SendMessageBatchRequest(
            queue_url="jobs",
            entries=[SendMessageBatchRequestEntry(id=str(n), message_body="b") for n in range(2)],
        )
    )
    assert [entry.id for entry in result.successful or ()] == ["0"]
    assert [(entry.id, entry.sender_fault) for entry in result.failed or ()] == [("1", False)]


async def test_an_empty_answer_is_a_success(server: ScriptedServer, client: HttpSqsClient) -> None:
    async def empty(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    server.script = [empty]
    request = DeleteMessageRequest(queue_url="jobs", receipt_handle="handle")
    assert await client.delete_message(request) == EmptyResult()


async def test_a_redirection_is_not_followed(server: ScriptedServer, client: HttpSqsClient) -> None:
    async def elsewhere(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    server.script = [elsewhere]
    with pytest.raises(SqsError, match="Http302"):
        await client.list_queues(ListQueuesRequest())


async def test_a_cancelled_call_leaves_the_client_usable(
    server: ScriptedServer, client: HttpSqsClient
) -> None:
    arrived = asyncio.Event()

    async def arrives(request: web.BaseRequest) -> web.StreamResponse:
        arrived.set()
        return await says_nothing(request)

    server.script = [arrives, says({})]
    call = asyncio.create_task(client.list_queues(ListQueuesRequest()))
    await arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await client.list_queues(ListQueuesRequest()) == ListQueuesResult()


async def test_a_closed_client_says_so(server: ScriptedServer, client: HttpSqsClient) -> None:
    server.script = [says({})]
    await client.list_queues(ListQueuesRequest())
    await client.close()
    await client.close()
    with pytest.raises(Closed):
        await client.create_queue(CreateQueueRequest(queue_name="jobs"))


async def test_closing_ends_the_calls_under_way_and_those_that_wait_to_try_again(
    server: ScriptedServer,
) -> None:
    arrived = asyncio.Event()

    async def arrives(request: web.BaseRequest) -> web.StreamResponse:
        arrived.set()
        return await says_nothing(request)

    patient = RetryPolicy(base_delay_ms=60_000, max_delay_ms=60_000, deadline_ms=60_000)
    clock = ManualClock()
    async with HttpSqsClient(
        server.url, credentials=CREDENTIALS, retry=patient, clock=clock, environment={}
    ) as client:
        server.script = [is_a_broken_proxy, arrives]
        waiting = asyncio.create_task(client.list_queues(ListQueuesRequest()))
        while not server.requests:  # noqa: ASYNC110 - the server is no task of ours
            await asyncio.sleep(0.001)
        under_way = asyncio.create_task(client.list_queues(ListQueuesRequest()))
        await arrived.wait()
    with pytest.raises(Closed):
        await under_way
    while not waiting.done():
        clock.advance(60_000)
        await asyncio.sleep(0.001)
    with pytest.raises(Closed):
        await waiting
    assert len(server.requests) == 2


async def test_a_local_endpoint_works_without_an_account(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, f"{tmp_path}/absent")
    server.script = [says({})]
    async with HttpSqsClient(server.url, environment={}) as client:
        await client.list_queues(ListQueuesRequest())
    assert "Credential=local/" in server.requests[0].headers["Authorization"]
    assert "/us-east-1/sqs/aws4_request" in server.requests[0].headers["Authorization"]


@pytest.mark.parametrize("setting", ["timeout_s", "connections"])
def test_a_setting_out_of_range_is_named(setting: str) -> None:
    with pytest.raises(SettingsError, match=f"HttpSqsClient {setting} is 0; it must be above 0"):
        HttpSqsClient("http://127.0.0.1:9324", **{setting: 0})  # type: ignore[arg-type]


def test_an_endpoint_that_is_no_url_is_refused_when_the_client_is_made() -> None:
    with pytest.raises(SettingsError, match="not an endpoint URL"):
        HttpSqsClient("127.0.0.1:9324")


async def test_aws_without_a_region_says_what_to_set() -> None:
    async with HttpSqsClient(credentials=CREDENTIALS, environment={}) as client:
        with pytest.raises(SettingsError, match="AWS_REGION"):
            await client.list_queues(ListQueuesRequest())
