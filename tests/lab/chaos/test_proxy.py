"""Clients take the proxy for the SQS behind it: nothing is different but the host of queue URLs."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from forebay.broker.broker import Broker
from forebay.broker.core.engine import Caller
from forebay.broker.embedded import EmbeddedBroker
from forebay.broker.polls import ParkedPoll, Reply
from forebay.client.fake import ScriptedSqsClient
from forebay.clock import SystemClock
from forebay.errors import Closed, SettingsError
from forebay.fault_injection import FaultRates
from forebay.lab.chaos.forwarder import Forwarder
from forebay.lab.chaos.ledger import ChaosLedger
from forebay.lab.chaos.queue_urls import QueueUrls
from forebay.lab.chaos.running import ChaosSettings, running_proxy
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    GetQueueUrlResult,
    ListQueuesRequest,
    ListQueuesResult,
    PurgeQueueRequest,
)
from forebay.protocol.errors import SERVICE_UNAVAILABLE, SqsError
from tests.lab.chaos.proxied import REGION, apart, client_at, proxied

#: What says the region of a request. Nobody checks the signature.
SIGNED = f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/sqs/aws4_request, Signature=0"


async def test_the_life_of_a_message_by_boto3() -> None:
    async with proxied() as chaos:
        sqs = chaos.boto3()
        created = await apart(sqs.create_queue, QueueName="jobs")
        url = created["QueueUrl"]
        assert url == f"{chaos.url}/000000000000/jobs"
        sent = await apart(
            sqs.send_message,
            QueueUrl=url,
            MessageBody="hello \u65e5\u672c",
            MessageAttributes={"seat": {"DataType": "Binary", "BinaryValue": b"\0\xff"}},
        )
        received = await apart(
            sqs.receive_message,
            QueueUrl=url,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        [message] = received["Messages"]
        assert message["MessageId"] == sent["MessageId"]
        assert message["Body"] == "hello \u65e5\u672c"
        assert message["MessageAttributes"]["seat"]["BinaryValue"] == b"\0\xff"
        assert message["Attributes"]["ApproximateReceiveCount"] == "1"
        handle = message["ReceiptHandle"]
        await apart(
            sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=60
        )
        await apart(sqs.delete_message, QueueUrl=url, ReceiptHandle=handle)
        sqs.close()
        assert chaos.figures.sent == chaos.figures.deleted == 1


async def test_queue_urls_lead_to_the_proxy_and_arns_stay() -> None:
    async with proxied() as chaos:
        sqs = chaos.boto3()
        dead = (await apart(sqs.create_queue, QueueName="dead"))["QueueUrl"]
        read = await apart(sqs.get_queue_attributes, QueueUrl=dead, AttributeNames=["QueueArn"])
        arn = read["Attributes"]["QueueArn"]
        assert arn == "arn:aws:sqs:eu-central-1:000000000000:dead"
        policy = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"3"}}'
        created = await apart(
            sqs.create_queue, QueueName="jobs", Attributes={"RedrivePolicy": policy}
        )
        jobs = created["QueueUrl"]
        assert (await apart(sqs.get_queue_url, QueueName="jobs"))["QueueUrl"] == jobs
        assert sorted((await apart(sqs.list_queues))["QueueUrls"]) == [dead, jobs]
        sources = await apart(sqs.list_dead_letter_source_queues, QueueUrl=dead)
        assert sources["queueUrls"] == [jobs]
        assert all(urlsplit(url).netloc == urlsplit(chaos.url).netloc for url in (dead, jobs))
        listed = await chaos.behind.list_queues(ListQueuesRequest())
        assert all(url.startswith(chaos.broker_url) for url in listed.queue_urls or ())
        # The URL that the service itself gives out, and a bare name, mean the same queue.
        for other in (f"{chaos.broker_url}/000000000000/jobs", "jobs"):
            await apart(sqs.send_message, QueueUrl=other, MessageBody="a")
        sqs.close()
        assert chaos.ledger.figures()["jobs"].sent == 2


async def test_the_query_protocol_is_answered_in_xml() -> None:
    async with proxied() as chaos:
        status, xml = await chaos.get(Action="CreateQueue", QueueName="jobs")
        assert (status, f"<QueueUrl>{chaos.url}/000000000000/jobs</QueueUrl>" in xml) == (200, True)
        path = "/000000000000/jobs"
        status, xml = await chaos.get(path, Action="SendMessage", MessageBody="hello")
        assert (status, "<MD5OfMessageBody>5d41402abc4b2a76b9719d911017c592" in xml) == (200, True)
        status, xml = await chaos.get(path, Action="ReceiveMessage", MaxNumberOfMessages="10")
        assert (status, "<Body>hello</Body>" in xml) == (200, True)
        status, xml = await chaos.get("/000000000000/none", Action="ReceiveMessage")
        assert status == 400
        assert "<Code>AWS.SimpleQueueService.NonExistentQueue</Code>" in xml
        assert "<Type>Sender</Type>" in xml


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("send_message", {"QueueUrl": "none", "MessageBody": "a"}),
        ("send_message", {"QueueUrl": "jobs", "MessageBody": "\0"}),
        ("receive_message", {"QueueUrl": "jobs", "MaxNumberOfMessages": 11}),
        ("delete_message", {"QueueUrl": "jobs", "ReceiptHandle": "bad"}),
        ("send_message_batch", {"QueueUrl": "jobs", "Entries": []}),
        ("start_message_move_task", {"SourceArn": "arn:aws:sqs:eu-central-1:000000000000:none"}),
    ],
)
async def test_errors_are_those_of_the_service(call: str, arguments: dict[str, object]) -> None:
    async with proxied() as chaos:
        await chaos.behind.create_queue("jobs")
        sqs = chaos.boto3()
        with pytest.raises(ClientError) as here:
            await apart(getattr(sqs, call), **arguments)
        sqs.close()
        chaos.url = chaos.broker_url
        direct = chaos.boto3()
        with pytest.raises(ClientError) as there:
            await apart(getattr(direct, call), **arguments)
        direct.close()
        assert here.value.response["Error"] == there.value.response["Error"]
        statuses = [
            error.value.response["ResponseMetadata"]["HTTPStatusCode"] for error in (here, there)
        ]
        assert statuses[0] == statuses[1]


async def test_entries_of_a_batch_fail_alone() -> None:
    async with proxied() as chaos:
        await chaos.behind.create_queue("jobs")
        sqs = chaos.boto3()
        sent = await apart(
            sqs.send_message_batch,
            QueueUrl="jobs",
            Entries=[
                {"Id": "good", "MessageBody": "a"},
                {"Id": "bad", "MessageBody": "a", "DelaySeconds": 901},
            ],
        )
        sqs.close()
        assert [entry["Id"] for entry in sent["Successful"]] == ["good"]
        [failed] = sent["Failed"]
        assert (failed["Id"], failed["SenderFault"]) == ("bad", True)
        assert failed["Code"] == "InvalidParameterValue"
        assert chaos.figures.sent == 1


async def test_a_long_poll_waits_for_a_message() -> None:
    async with proxied() as chaos:
        url = (await chaos.sqs.create_queue("jobs")).queue_url
        poll = asyncio.create_task(chaos.sqs.receive(url, wait_s=20))
        await chaos.sqs.send(url, "a")
        assert [message.body for message in await poll] == ["a"]


async def test_a_poll_whose_client_is_gone_takes_no_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parked, abandoned = asyncio.Event(), asyncio.Event()
    submit, abandon = Broker.submit, Broker.abandon

    def noting_submit(
        broker: Broker, request: AnyRequest, caller: Caller, reply: Reply
    ) -> ParkedPoll | None:
        poll = submit(broker, request, caller, reply)
        if poll is not None:
            parked.set()
        return poll

    def noting_abandon(broker: Broker, poll: ParkedPoll) -> bool:
        abandoned.set()
        return abandon(broker, poll)

    monkeypatch.setattr(Broker, "submit", noting_submit)
    monkeypatch.setattr(Broker, "abandon", noting_abandon)
    async with proxied() as chaos:
        url = (await chaos.sqs.create_queue("jobs")).queue_url
        gone = client_at(chaos.url)
        poll = asyncio.create_task(gone.receive(url, wait_s=20))
        await parked.wait()
        await gone.close()
        with pytest.raises(Closed):
            await poll
        await abandoned.wait()
        await chaos.sqs.send(url, "a")
        assert [message.body for message in await chaos.sqs.receive(url)] == ["a"]


async def test_regions_are_those_of_the_clients() -> None:
    async with proxied() as chaos:
        for region in ("eu-west-1", "us-west-2"):
            sqs = chaos.boto3(region)
            await apart(sqs.create_queue, QueueName=f"only-in-{region}")
            listed = await apart(sqs.list_queues)
            assert listed["QueueUrls"] == [f"{chaos.url}/000000000000/only-in-{region}"]
            sqs.close()


async def test_a_trace_header_reaches_the_message() -> None:
    async with proxied() as chaos:
        await chaos.behind.create_queue("jobs")
        form = {"Action": "SendMessage", "MessageBody": "a"}
        headers = {"X-Amzn-Trace-Id": "Root=1-2-3", "Authorization": SIGNED}
        await chaos.get("/000000000000/jobs", headers, **form)
        [message] = await chaos.behind.receive("jobs")
        assert message.attributes is not None
        assert message.attributes["AWSTraceHeader"] == "Root=1-2-3"


async def test_web_pages_and_foreign_names_are_refused() -> None:
    async with proxied() as chaos:
        for headers in ({"Origin": "https://evil.test"}, {"Host": "evil.test"}):
            status, answer = await chaos.get("/", headers, Action="CreateQueue", QueueName="jobs")
            assert (status, "AccessDenied" in answer) == (403, True)
        status, answer = await chaos.get("/?Action=CreateQueue&QueueName=jobs")
        assert (status, "MissingAuthenticationToken" in answer) == (403, True)
        assert (await chaos.behind.list_queues(ListQueuesRequest())).queue_urls is None


async def test_its_health_is_its_own() -> None:
    async with proxied() as chaos:
        assert await chaos.get("/health") == (200, '{"status":"ok"}')


async def test_a_service_that_is_away_is_an_error_to_try_again_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "forebay")
    broker = EmbeddedBroker()
    broker.start()
    port = urlsplit(broker.endpoint_url).port or 0
    settings = ChaosSettings(endpoint_url=broker.endpoint_url, rates=FaultRates())
    async with (
        running_proxy(settings, SystemClock(), ChaosLedger()) as proxy,
        client_at(proxy.endpoint_url) as client,
    ):
        await client.list_queues(ListQueuesRequest())
        broker.stop()
        for _ in range(3):
            with pytest.raises(SqsError) as refused:
                await client.list_queues(ListQueuesRequest())
            assert refused.value.fault == SERVICE_UNAVAILABLE
        again = EmbeddedBroker(port=port)
        again.start()
        await client.list_queues(ListQueuesRequest())
        again.stop()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("Clients are told to try again later (503). ListQueues at http://")
    assert said[1] == f"http://127.0.0.1:{port} answers again"


async def test_a_service_that_is_silent_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forebay.lab.chaos.forwarder._STOP_S", 0)

    async def answer(request: AnyRequest) -> AnyResult:
        await asyncio.Event().wait()
        raise AssertionError

    client = ScriptedSqsClient(answer)
    forwarder = Forwarder("http://sqs.test", SystemClock(), client=lambda region: client)
    caller = Caller("000000000000", "eu-west-1", "http://proxy.test")
    forwarder.submit(ListQueuesRequest(), caller, lambda _: None)
    await asyncio.sleep(0)
    assert client.requests == [ListQueuesRequest()]
    await forwarder.close()


def test_a_service_may_name_another_host_in_its_urls() -> None:
    """LocalStack does. The path alone stands for such a URL, as long as the proxy runs."""
    urls = QueueUrls("http://localhost:4566")
    theirs = "http://sqs.eu-west-1.localhost.localstack.cloud:4566/000000000000/jobs"
    here = urls.result_here(GetQueueUrlResult(queue_url=theirs), "eu-west-1", "http://proxy:1")
    assert here == GetQueueUrlResult(queue_url="http://proxy:1/000000000000/jobs")
    purge = PurgeQueueRequest(queue_url="http://proxy:1/000000000000/jobs")
    assert urls.request_there(purge, "eu-west-1") == PurgeQueueRequest(queue_url=theirs)
    elsewhere = PurgeQueueRequest(queue_url="http://localhost:4566/000000000000/jobs")
    assert urls.request_there(purge, "us-east-1") == elsewhere
    assert urls.result_here(ListQueuesResult(), "eu-west-1", "http://proxy:1") == ListQueuesResult()


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    with pytest.raises(SettingsError, match="is not an endpoint URL"):
        Forwarder("localhost:9324", SystemClock())
