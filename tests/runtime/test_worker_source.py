"""Finding a queue, and what a worker goes by."""

from __future__ import annotations

import asyncio

import pytest

from forebay.client.fake import ScriptedSqsClient
from forebay.errors import NoCredentials, ServiceUnreachable, SettingsError
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    GetQueueUrlRequest,
)
from forebay.protocol.errors import (
    ACCESS_DENIED,
    INVALID_ADDRESS,
    QUEUE_DOES_NOT_EXIST,
    Fault,
    SqsError,
)
from forebay.worker.queue import HIGH, Queue
from forebay.worker.queue_facts import QueueFacts, queue_facts, read_facts
from forebay.worker.settings import WorkerSettings
from forebay.worker.source import Source
from tests.runtime.engine_client import EngineClient
from tests.runtime.virtual_time import LoopClock, run
from tests.runtime.worker_messages import context, message

URL = "http://sqs.test/000000000000/jobs"
DLQ_ARN = "arn:aws:sqs:us-east-1:000000000000:jobs-dlq"


@pytest.mark.parametrize(
    ("url", "attributes", "facts"),
    [
        (URL, {}, QueueFacts(url=URL, arn=URL)),
        (
            URL,
            {
                "QueueArn": "arn:aws:sqs:us-east-1:000000000000:jobs",
                "VisibilityTimeout": "90",
                "ReceiveMessageWaitTimeSeconds": "20",
                "RedrivePolicy": f'{{"deadLetterTargetArn":"{DLQ_ARN}","maxReceiveCount":"4"}}',
            },
            QueueFacts(
                url=URL,
                arn="arn:aws:sqs:us-east-1:000000000000:jobs",
                visibility_timeout_s=90,
                wait_s=20,
                dead_letter_arn=DLQ_ARN,
                max_receive_count=4,
            ),
        ),
        # Nothing can be kept with 0.
        (URL, {"VisibilityTimeout": "0"}, QueueFacts(url=URL, arn=URL, visibility_timeout_s=30)),
        (f"{URL}.fifo", {}, QueueFacts(url=f"{URL}.fifo", arn=f"{URL}.fifo", fifo=True)),
        (URL, {"FifoQueue": "true"}, QueueFacts(url=URL, arn=URL, fifo=True)),
    ],
)
def test_what_the_attributes_say(url: str, attributes: dict[str, str], facts: QueueFacts) -> None:
    assert queue_facts(url, attributes) == facts


def test_a_queue_is_found_by_its_name_and_kept_as_it_says() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs.fifo", VisibilityTimeout=90, max_receive_count=7)
        opened = await Source.open(context(client), Queue("jobs.fifo", priority=HIGH))
        assert (opened.url, opened.name, opened.fifo) == (url, "jobs.fifo", True)
        assert (opened.priority, opened.max_receive_count) == (HIGH, 7)
        by_url = await Source.open(context(client), Queue(url))
        assert by_url.url == url
        assert client.count(GetQueueUrlRequest) == 1
        assert client.count(GetQueueAttributesRequest) == 2

    run(scenario())


@pytest.mark.parametrize(
    ("queue_s", "settings_s", "expected_s"),
    [(None, None, 90), (None, 40, 40), (50, None, 50), (50, 40, 50)],
)
def test_the_visibility_timeout_is_the_queue_s_own_unless_something_says_otherwise(
    queue_s: int | None, settings_s: int | None, expected_s: int
) -> None:
    async def scenario() -> None:
        client = EngineClient()
        await client.create("jobs", VisibilityTimeout=90)
        shared = context(client, settings=WorkerSettings(visibility_timeout_s=settings_s))
        opened = await Source.open(shared, Queue("jobs", visibility_timeout_s=queue_s))
        assert opened.visibility_timeout_s == expected_s
        (taken,) = opened.take_in([message()], 5_000)
        assert taken.until_ms == 5_000 + expected_s * 1000

    run(scenario())


@pytest.mark.parametrize("named", ["jobs", URL, "arn:aws:sqs:us-east-1:000000000000:jobs"])
def test_no_queue_is_its_own_dead_letter_queue(named: str) -> None:
    facts = QueueFacts(url=URL, arn="arn:aws:sqs:us-east-1:000000000000:jobs")
    with pytest.raises(SettingsError, match="dead_letter_queue is the queue itself"):
        Source(context(), Queue(URL, dead_letter_queue=named), facts)


def refusing_attributes(error: Exception) -> ScriptedSqsClient:
    async def answer(request: AnyRequest) -> AnyResult:
        assert isinstance(request, GetQueueAttributesRequest)
        raise error

    return ScriptedSqsClient(answer)


@pytest.mark.parametrize(
    "fault",
    # The Query protocol and the JSON protocol name it differently.
    [ACCESS_DENIED, Fault("AccessDenied", "AccessDeniedException", "No.", 400)],
)
def test_without_the_right_to_read_attributes_the_defaults_hold_and_the_log_names_the_right(
    fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    opened = asyncio.run(
        Source.open(context(refusing_attributes(SqsError(fault))), Queue(f"{URL}.fifo"))
    )
    assert (opened.visibility_timeout_s, opened.fifo, opened.max_receive_count) == (30, True, None)
    assert caplog.text.count("sqs:GetQueueAttributes") == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            SqsError(QUEUE_DOES_NOT_EXIST),
            f"Queue {URL}: The specified queue does not exist. Create",
        ),
        (SqsError(INVALID_ADDRESS), f"Queue {URL}: The specified ID is invalid"),
        (NoCredentials(), "No AWS credentials"),
    ],
)
def test_a_mistake_is_raised_at_once_and_names_the_queue(error: Exception, said: str) -> None:
    with pytest.raises(type(error), match=said):
        asyncio.run(Source.open(context(refusing_attributes(error)), Queue(URL)))


def test_a_queue_whose_url_may_not_be_asked_for_can_be_named_by_it() -> None:
    async def answer(request: AnyRequest) -> AnyResult:
        assert isinstance(request, GetQueueUrlRequest)
        raise SqsError(ACCESS_DENIED)

    with pytest.raises(SqsError, match=r"Queue jobs: .* Grant the worker sqs:GetQueueUrl, or name"):
        asyncio.run(Source.open(context(ScriptedSqsClient(answer)), Queue("jobs")))


def test_a_service_that_is_not_there_yet_is_waited_for_and_said_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer(request: AnyRequest) -> AnyResult:
        if asyncio.get_running_loop().time() < 1_060:
            raise ServiceUnreachable
        return GetQueueAttributesResult(attributes={"VisibilityTimeout": "45"})

    async def scenario() -> None:
        shared = context(ScriptedSqsClient(answer), clock=LoopClock())
        reading = asyncio.create_task(read_facts(shared, URL))
        await asyncio.sleep(0.1)
        assert caplog.messages[0].startswith(f"Looking for queue {URL} fails")
        assert (await reading).visibility_timeout_s == 45
        assert asyncio.get_running_loop().time() < 1_080
        assert len(caplog.messages) == 1

    run(scenario())
