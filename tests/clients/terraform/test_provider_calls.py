"""The calls that Terraform's AWS provider makes, in its order, and what it expects of the answers.

Source: the provider's requests in its debug log (5.100), and the functions that wait in
internal/service/sqs of hashicorp/terraform-provider-aws. Here they are checked without Terraform.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

#: The values that the provider sends for what a configuration leaves out.
DEFAULTS = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "262144",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "VisibilityTimeout": "30",
}

#: Attributes that hold JSON, of which the provider compares the meaning.
JSON_ATTRIBUTES = {"Policy", "RedrivePolicy", "RedriveAllowPolicy"}

_numbers = count(1)


def create(sqs: Any, suffix: str = "", **attributes: str) -> str:
    """What the provider does for a new `aws_sqs_queue`, up to its id."""
    sent = DEFAULTS | attributes
    name = f"provided-{next(_numbers)}{suffix}"
    url: str = sqs.create_queue(QueueName=name, Attributes=sent)["QueueUrl"]
    assert_propagated(sqs, url, sent)
    # The provider takes the name from the URL, and insists on an account before it.
    _, account, last = urlsplit(url).path.split("/")
    assert (account, last) == ("000000000000", name)
    return url


def read(sqs: Any, url: str) -> dict[str, str]:
    attributes: dict[str, str] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
        "Attributes"
    ]
    return attributes


def change(sqs: Any, url: str, **attributes: str) -> None:
    """What the provider does for a changed queue or one of its policies."""
    sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    assert_propagated(sqs, url, attributes)


def assert_propagated(sqs: Any, url: str, expected: dict[str, str]) -> None:
    """The provider's condition for going on: everything is echoed, nothing is empty."""
    got = read(sqs, url)
    for name, value in expected.items():
        if value == "":
            assert name not in got
        elif name in JSON_ATTRIBUTES:
            assert unwrapped(json.loads(got[name])) == unwrapped(json.loads(value))
        else:
            assert got[name] == value


def unwrapped(value: Any) -> Any:
    """JSON as the provider compares it: a list of one means what is in it."""
    if isinstance(value, dict):
        return {key: unwrapped(member) for key, member in value.items()}
    if isinstance(value, list):
        members = [unwrapped(member) for member in value]
        return members[0] if len(members) == 1 else members
    return value


def arn(sqs: Any, url: str) -> str:
    return read(sqs, url)["QueueArn"]


def test_the_attributes_of_a_new_queue_are_echoed(sqs: Any) -> None:
    url = create(sqs, MessageRetentionPeriod="1209600", SqsManagedSseEnabled="false")
    everything = read(sqs, url)
    # Attributes of other kinds of queues would be a difference in the next plan.
    assert not everything.keys() & {"FifoQueue", "Policy", "RedrivePolicy", "KmsMasterKeyId"}
    assert sqs.list_queue_tags(QueueUrl=url).get("Tags", {}) == {}


def test_the_attributes_of_an_encrypted_fifo_queue_are_echoed(sqs: Any) -> None:
    url = create(
        sqs,
        ".fifo",
        FifoQueue="true",
        ContentBasedDeduplication="true",
        DeduplicationScope="messageGroup",
        FifoThroughputLimit="perMessageGroupId",
        KmsMasterKeyId="alias/aws/sqs",
        KmsDataKeyReusePeriodSeconds="600",
    )
    assert read(sqs, url)["SqsManagedSseEnabled"] == "false"


def test_policies_are_echoed_and_taken_away_by_an_empty_value(sqs: Any) -> None:
    dead_url, url = create(sqs), create(sqs)
    redrive = {"deadLetterTargetArn": arn(sqs, dead_url), "maxReceiveCount": 3}
    allow = {"redrivePermission": "byQueue", "sourceQueueArns": [arn(sqs, url)]}
    statement = {
        "Sid": "partners",
        "Effect": "Allow",
        "Principal": {"AWS": ["arn:aws:iam::111111111111:root"]},
        "Action": ["sqs:SendMessage"],
        "Resource": arn(sqs, url),
        "Condition": {"Bool": {"aws:SecureTransport": "true"}},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    change(sqs, url, RedrivePolicy=json.dumps(redrive))
    change(sqs, dead_url, RedriveAllowPolicy=json.dumps(allow))
    change(sqs, url, Policy=json.dumps(policy))
    change(
        sqs, url, VisibilityTimeout="90", RedrivePolicy=json.dumps(redrive | {"maxReceiveCount": 5})
    )
    change(sqs, url, Policy="")
    change(sqs, url, RedrivePolicy="")
    change(sqs, dead_url, RedriveAllowPolicy="")


def test_tags_are_merged_and_removed_by_key(sqs: Any) -> None:
    tags = {"team": "shop", "cost:centre": ""}
    url = sqs.create_queue(QueueName="provided-tags", Attributes=DEFAULTS, tags=tags)["QueueUrl"]
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == tags
    sqs.untag_queue(QueueUrl=url, TagKeys=["cost:centre"])
    sqs.tag_queue(QueueUrl=url, Tags={"team": "till", "stage": "test"})
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "till", "stage": "test"}


def test_a_queue_can_be_created_again_as_it_is(sqs: Any) -> None:
    url = create(sqs, VisibilityTimeout="60")
    name = url.rpartition("/")[2]
    attributes = DEFAULTS | {"VisibilityTimeout": "60"}
    assert sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"] == url


def test_a_destroyed_queue_is_gone_at_once_and_gone_twice(sqs: Any) -> None:
    url = create(sqs)
    sqs.delete_queue(QueueUrl=url)
    calls: list[Callable[[], object]] = [
        lambda: read(sqs, url),
        lambda: sqs.list_queue_tags(QueueUrl=url),
        lambda: sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""}),
        lambda: sqs.delete_queue(QueueUrl=url),
    ]
    for call in calls:
        with pytest.raises(ClientError) as refusal:
            call()
        code = refusal.value.response["Error"]["Code"]
        assert code == "AWS.SimpleQueueService.NonExistentQueue"
    with pytest.raises(ClientError) as refusal:
        sqs.create_queue(QueueName=url.rpartition("/")[2], Attributes=DEFAULTS)
    # The provider repeats the call for more than a minute while it gets this code.
    code = refusal.value.response["Error"]["Code"]
    assert code == "AWS.SimpleQueueService.QueueDeletedRecently"
