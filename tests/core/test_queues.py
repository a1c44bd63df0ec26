"""The actions on queues: create, find, list, delete, purge, attributes."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from forebay.broker.core.engine import Caller, Engine
from forebay.protocol import errors
from forebay.protocol.actions import (
    CreateQueueRequest,
    CreateQueueResult,
    DeleteQueueRequest,
    GetQueueUrlRequest,
    GetQueueUrlResult,
    ListQueuesRequest,
    ListQueuesResult,
    PurgeQueueRequest,
    ReceiveMessageRequest,
    SetQueueAttributesRequest,
)
from forebay.protocol.errors import Fault, SqsError
from tests.core.harness import ENDPOINT_URL, Sqs, arn_of, url_of


@pytest.fixture
def sqs() -> Sqs:
    return Sqs()


def refused(sqs: Sqs, name: str, attributes: Mapping[str, object] | None = None) -> Fault:
    texts = {key: str(value) for key, value in (attributes or {}).items()}
    with pytest.raises(SqsError) as refusal:
        sqs.call(CreateQueueRequest(queue_name=name, attributes=texts))
    return refusal.value.fault


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("", {}),
        ("a" * 81, {}),
        ("with.dot", {}),
        ("with space", {}),
        ("ümlaut", {}),
        ("jobs.fifo", {}),
        ("jobs.fifo", {"FifoQueue": "false"}),
        ("jobs", {"FifoQueue": "true"}),
        (".fifo", {"FifoQueue": "true"}),
        ("a" * 76 + ".fifo", {"FifoQueue": "true"}),
    ],
)
def test_names_that_are_refused(sqs: Sqs, name: str, attributes: dict[str, str]) -> None:
    assert refused(sqs, name, attributes) is errors.INVALID_PARAMETER_VALUE


@pytest.mark.parametrize("name", ["a", "a" * 80, "A-b_9", "a" * 75 + ".fifo"])
def test_names_that_are_taken(sqs: Sqs, name: str) -> None:
    assert sqs.create(name) == url_of(name)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("VisibilityTimeout", 0, 43_200),
        ("DelaySeconds", 0, 900),
        ("MessageRetentionPeriod", 60, 1_209_600),
        ("MaximumMessageSize", 1024, 1_048_576),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("KmsDataKeyReusePeriodSeconds", 60, 86_400),
    ],
)
def test_ranges_of_attributes(sqs: Sqs, name: str, least: int, most: int) -> None:
    for index, value in enumerate((least, most)):
        sqs.create(f"ok-{index}", {name: value})
        assert sqs.attributes(f"ok-{index}", name) == {name: str(value)}
    sqs.create("zeros", {name: f"000{most}"})
    assert sqs.attributes("zeros", name) == {name: str(most)}
    near = (
        "many",
        "",
        f"{least}_0",
        f" {least}",
        f"+{most}",
        f"{most}.0",
        "\u0661\u0660\u0662\u0664",
    )
    for refused_value in (least - 1, most + 1, *near):
        fault = refused(sqs, "jobs", {name: refused_value})
        assert fault is errors.INVALID_ATTRIBUTE_VALUE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FifoQueue", "false"),
        ("ContentBasedDeduplication", "false"),
        ("DeduplicationScope", "queue"),
        ("FifoThroughputLimit", "perQueue"),
        ("Colour", "red"),
        ("QueueArn", "arn"),
        ("All", ""),
    ],
)
def test_attributes_a_standard_queue_does_not_have(sqs: Sqs, name: str, value: str) -> None:
    assert refused(sqs, "jobs", {name: value}) is errors.INVALID_ATTRIBUTE_NAME


def test_defaults(sqs: Sqs) -> None:
    sqs.create("jobs")
    assert sqs.attributes("jobs") == {
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "CreatedTimestamp": "1000",
        "DelaySeconds": "0",
        "LastModifiedTimestamp": "1000",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "QueueArn": "arn:aws:sqs:us-east-1:000000000000:jobs",
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": "30",
    }


def test_a_fifo_queue_has_four_more(sqs: Sqs) -> None:
    sqs.create("jobs")
    sqs.create("jobs.fifo")
    more = sqs.attributes("jobs.fifo").keys() - sqs.attributes("jobs").keys()
    assert more == {
        "FifoQueue",
        "ContentBasedDeduplication",
        "DeduplicationScope",
        "FifoThroughputLimit",
    }


def test_creating_again_answers_the_same_queue_when_nothing_differs(sqs: Sqs) -> None:
    sqs.create("jobs", {"VisibilityTimeout": 5})
    sqs.create("jobs")
    sqs.create("jobs", {"VisibilityTimeout": 5, "DelaySeconds": 0})
    assert refused(sqs, "jobs", {"VisibilityTimeout": 6}) is errors.QUEUE_NAME_EXISTS


def test_creating_again_compares_what_the_values_mean(sqs: Sqs) -> None:
    sqs.create("dead")
    redrive = {"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": "5"}
    statement = {"Effect": "Allow", "Principal": {"AWS": "111122223333"},
                 "Action": ["sqs:SendMessage"], "Resource": "*"}  # fmt: skip
    policy = {"Version": "2008-10-17", "Statement": [statement]}
    sqs.create(
        "jobs",
        {
            "DelaySeconds": "60",
            "RedrivePolicy": json.dumps(redrive),
            "Policy": json.dumps(policy, indent=2),
            "SqsManagedSseEnabled": "False",
        },
    )
    account = {"AWS": "arn:aws:iam::111122223333:root"}
    same = {**statement, "Principal": account, "Action": "sqs:SendMessage"}
    sqs.create(
        "jobs",
        {
            "DelaySeconds": "060",
            "RedrivePolicy": json.dumps({**redrive, "maxReceiveCount": 5}, indent=1),
            "Policy": json.dumps({"Statement": same}),
            "SqsManagedSseEnabled": "false",
            "KmsMasterKeyId": "",
        },
    )
    for name, value in {
        "DelaySeconds": "61",
        "RedrivePolicy": json.dumps({**redrive, "maxReceiveCount": 6}),
        "Policy": json.dumps({"Statement": {**same, "Effect": "Deny"}}),
        "SqsManagedSseEnabled": "true",
        "KmsMasterKeyId": "alias/mine",
        "RedriveAllowPolicy": '{"redrivePermission":"allowAll"}',
    }.items():
        with pytest.raises(SqsError, match=f"different value for attribute {name}$"):
            sqs.create("jobs", {name: value})


def test_a_customer_key_brings_its_default_period_and_keeps_a_given_one(sqs: Sqs) -> None:
    period = "KmsDataKeyReusePeriodSeconds"
    sqs.create("jobs")
    assert period not in sqs.attributes("jobs")
    set_attributes(sqs, "jobs", KmsMasterKeyId="alias/mine")
    assert sqs.attributes("jobs")[period] == "300"
    sqs.create("jobs", {"KmsMasterKeyId": "alias/mine", period: "300"})
    for given in ("300", "6000"):
        sqs.create(f"with-{given}", {period: given})
        assert sqs.attributes(f"with-{given}", period) == {period: given}


def test_the_managed_key_takes_the_place_of_a_customer_key(sqs: Sqs) -> None:
    sqs.create("jobs", {"KmsMasterKeyId": "alias/mine", "KmsDataKeyReusePeriodSeconds": "6000"})
    set_attributes(sqs, "jobs", SqsManagedSseEnabled="true")
    attributes = sqs.attributes("jobs")
    assert attributes["SqsManagedSseEnabled"] == "true"
    assert not attributes.keys() & {"KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds"}


def test_high_throughput_needs_both_of_its_attributes(sqs: Sqs) -> None:
    high = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    sqs.create("fast.fifo", high)
    sqs.create("slow.fifo")
    set_attributes(sqs, "slow.fifo", DeduplicationScope="messageGroup")
    set_attributes(sqs, "slow.fifo", FifoThroughputLimit="perMessageGroupId")
    for refused_attributes in (
        {"DeduplicationScope": "queue"},
        {"DeduplicationScope": "queue", "FifoThroughputLimit": "perMessageGroupId"},
    ):
        with pytest.raises(SqsError, match="The perMessageGroupId value is allowed only when"):
            set_attributes(sqs, "fast.fifo", **refused_attributes)
    set_attributes(sqs, "fast.fifo", DeduplicationScope="queue", FifoThroughputLimit="perQueue")
    with pytest.raises(SqsError, match="The perMessageGroupId value is allowed only when"):
        sqs.create("new.fifo", {"FifoThroughputLimit": "perMessageGroupId"})


def test_a_customer_key_turns_the_managed_key_off_for_good(sqs: Sqs) -> None:
    sqs.create("jobs", {"KmsMasterKeyId": "alias/mine"})
    assert sqs.attributes("jobs")["SqsManagedSseEnabled"] == "false"
    set_attributes(sqs, "jobs", KmsMasterKeyId="")
    attributes = sqs.attributes("jobs")
    assert "KmsMasterKeyId" not in attributes
    assert attributes["SqsManagedSseEnabled"] == "false"


def set_attributes(sqs: Sqs, name: str, **attributes: str) -> None:
    sqs.call(SetQueueAttributesRequest(queue_url=url_of(name), attributes=attributes))


def test_setting_attributes_changes_only_those(sqs: Sqs) -> None:
    sqs.create("jobs", {"DelaySeconds": 3})
    sqs.wait(60)
    set_attributes(sqs, "jobs", VisibilityTimeout="9")
    attributes = sqs.attributes("jobs")
    assert attributes["VisibilityTimeout"] == "9"
    assert attributes["DelaySeconds"] == "3"
    assert attributes["LastModifiedTimestamp"] == "1060"


def test_a_refused_attribute_leaves_the_others_unset(sqs: Sqs) -> None:
    sqs.create("jobs")
    with pytest.raises(SqsError, match="DelaySeconds"):
        set_attributes(sqs, "jobs", VisibilityTimeout="9", DelaySeconds="901")
    assert sqs.attributes("jobs", "VisibilityTimeout") == {"VisibilityTimeout": "30"}


def test_a_fifo_queue_stays_one(sqs: Sqs) -> None:
    sqs.create("jobs.fifo")
    set_attributes(sqs, "jobs.fifo", FifoQueue="True")
    with pytest.raises(SqsError, match="Modifying queue type"):
        set_attributes(sqs, "jobs.fifo", FifoQueue="false")


def test_no_names_no_attributes(sqs: Sqs) -> None:
    sqs.create("jobs")
    assert sqs.attributes("jobs", "Policy") == {}
    with pytest.raises(SqsError, match=r"Unknown Attribute Colour\."):
        sqs.attributes("jobs", "Colour")


def test_a_deleted_queue_is_gone_and_its_waiting_receives_are_told(sqs: Sqs) -> None:
    sqs.create("jobs")
    sqs.send("jobs", "a")
    sqs.engine.take_readable()
    sqs.call(DeleteQueueRequest(queue_url=url_of("jobs")))
    assert sqs.engine.take_readable() == [1]
    for request in (
        ReceiveMessageRequest(queue_url=url_of("jobs")),
        DeleteQueueRequest(queue_url=url_of("jobs")),
        GetQueueUrlRequest(queue_name="jobs"),
    ):
        with pytest.raises(SqsError) as refusal:
            sqs.call(request)
        assert refusal.value.fault is errors.QUEUE_DOES_NOT_EXIST
    sqs.create("jobs")
    assert sqs.counts("jobs") == (0, 0, 0)


def test_the_name_of_a_deleted_queue_stays_taken_for_a_while() -> None:
    sqs = Sqs(recreate_interval_ms=60_000)
    sqs.create("jobs")
    sqs.call(DeleteQueueRequest(queue_url=url_of("jobs")))
    sqs.wait(59.999)
    assert refused(sqs, "jobs") is errors.QUEUE_DELETED_RECENTLY
    sqs.wait(0.001)
    sqs.create("jobs")


def test_a_purge_takes_everything_and_forgets_deduplication(sqs: Sqs) -> None:
    sqs.create("jobs.fifo")
    sqs.send("jobs.fifo", "a", group="g1")
    sqs.receive("jobs.fifo")
    sqs.send("jobs.fifo", "b", group="g2")
    sqs.call(PurgeQueueRequest(queue_url=url_of("jobs.fifo")))
    assert sqs.counts("jobs.fifo") == (0, 0, 0)
    sqs.send("jobs.fifo", "a", group="g1")
    assert sqs.bodies("jobs.fifo") == ["a"]


def test_a_queue_is_purged_once_in_sixty_seconds(sqs: Sqs) -> None:
    sqs.create("jobs")
    sqs.call(PurgeQueueRequest(queue_url=url_of("jobs")))
    sqs.wait(59.999)
    with pytest.raises(SqsError) as refusal:
        sqs.call(PurgeQueueRequest(queue_url=url_of("jobs")))
    assert refusal.value.fault is errors.PURGE_QUEUE_IN_PROGRESS
    sqs.wait(0.001)
    sqs.call(PurgeQueueRequest(queue_url=url_of("jobs")))


def listed(sqs: Sqs, **members: object) -> tuple[list[str], str | None]:
    result = sqs.call(ListQueuesRequest(**members))  # type: ignore[arg-type]
    assert isinstance(result, ListQueuesResult)
    return [url.rpartition("/")[2] for url in result.queue_urls or []], result.next_token


def test_queues_are_listed_by_name_prefix_and_page(sqs: Sqs) -> None:
    for name in ("b", "a2", "a1", "a3"):
        sqs.create(name)
    assert listed(sqs) == (["a1", "a2", "a3", "b"], None)
    assert listed(sqs, queue_name_prefix="a") == (["a1", "a2", "a3"], None)
    page, token = listed(sqs, queue_name_prefix="a", max_results=2)
    assert page == ["a1", "a2"]
    assert token is not None
    assert listed(sqs, queue_name_prefix="a", max_results=2, next_token=token) == (["a3"], None)
    assert listed(sqs, queue_name_prefix="z") == ([], None)
    assert listed(sqs, next_token="") == listed(sqs)


@pytest.mark.parametrize(
    "members", [{"max_results": 0}, {"max_results": 1001}, {"next_token": "é"}]
)
def test_pages_that_are_refused(sqs: Sqs, members: dict[str, object]) -> None:
    with pytest.raises(SqsError) as refusal:
        listed(sqs, **members)
    assert refusal.value.fault is errors.INVALID_PARAMETER_VALUE


@pytest.mark.parametrize(
    "url",
    [
        "jobs",
        "/000000000000/jobs",
        f"{ENDPOINT_URL}/000000000000/jobs",
        "https://sqs.eu-west-1.amazonaws.com/000000000000/jobs",
        "http://localhost:9324/queue/us-east-1/000000000000/jobs",
    ],
)
def test_forms_of_a_queue_url(sqs: Sqs, url: str) -> None:
    sqs.create("jobs")
    sqs.call(ReceiveMessageRequest(queue_url=url))


@pytest.mark.parametrize(
    "url", ["", "/", "http://localhost:9324", f"{ENDPOINT_URL}/1/nowhere", "http://[x/1/q"]
)
def test_urls_of_no_queue(sqs: Sqs, url: str) -> None:
    with pytest.raises(SqsError) as refusal:
        sqs.call(ReceiveMessageRequest(queue_url=url))
    assert refusal.value.fault is errors.QUEUE_DOES_NOT_EXIST


def test_accounts_do_not_share_queues() -> None:
    engine = Engine(entropy=bytes)
    mine = Caller("111111111111", "eu-west-1", "http://sqs.local")
    theirs = Caller("222222222222", "eu-west-1", "http://sqs.local")
    created = engine.apply(CreateQueueRequest(queue_name="jobs"), mine, 1)
    assert isinstance(created, CreateQueueResult)
    assert created.queue_url == "http://sqs.local/111111111111/jobs"
    with pytest.raises(SqsError):
        engine.apply(ReceiveMessageRequest(queue_url="jobs"), theirs, 2)
    engine.apply(ReceiveMessageRequest(queue_url=created.queue_url), theirs, 2)
    found = engine.apply(
        GetQueueUrlRequest(queue_name="jobs", queue_owner_aws_account_id="111111111111"), theirs, 3
    )
    assert isinstance(found, GetQueueUrlResult)
    assert found.queue_url == created.queue_url
