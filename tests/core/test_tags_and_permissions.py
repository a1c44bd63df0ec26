"""Tags, permissions, and the sources of a dead-letter queue."""

from __future__ import annotations

import json

import pytest

from forebay.protocol import errors
from forebay.protocol.actions import (
    AddPermissionRequest,
    CreateQueueRequest,
    ListDeadLetterSourceQueuesRequest,
    ListDeadLetterSourceQueuesResult,
    ListQueueTagsRequest,
    ListQueueTagsResult,
    RemovePermissionRequest,
    TagQueueRequest,
    UntagQueueRequest,
)
from forebay.protocol.errors import Fault, SqsError
from tests.core.harness import Sqs, arn_of, url_of

URL = url_of("jobs")
ACCOUNT = "111122223333"


@pytest.fixture
def sqs() -> Sqs:
    sqs = Sqs()
    sqs.create("jobs")
    return sqs


def tags(sqs: Sqs) -> dict[str, str] | None:
    result = sqs.call(ListQueueTagsRequest(queue_url=URL))
    assert isinstance(result, ListQueueTagsResult)
    return result.tags


def test_tags_are_added_replaced_and_taken_off(sqs: Sqs) -> None:
    assert tags(sqs) is None
    sqs.call(TagQueueRequest(queue_url=URL, tags={"team": "a", "Team": "", "cost": "1"}))
    sqs.call(TagQueueRequest(queue_url=URL, tags={"team": "b"}))
    sqs.call(UntagQueueRequest(queue_url=URL, tag_keys=["cost", "unknown"]))
    assert tags(sqs) == {"team": "b", "Team": ""}


def test_tags_may_be_of_any_script_and_as_long_as_sqs_takes_them(sqs: Sqs) -> None:
    given = {"k" * 128: "v" * 256, "Größe 数量": "a_b.c:d/e=f+g-h@i", "awsome": ""}
    sqs.call(TagQueueRequest(queue_url=URL, tags=given))
    assert tags(sqs) == given
    more = {str(index): "" for index in range(47)}
    sqs.call(TagQueueRequest(queue_url=URL, tags=more))
    with pytest.raises(SqsError):
        sqs.call(TagQueueRequest(queue_url=URL, tags={"one more": ""}))
    assert tags(sqs) == {**given, **more}


def test_the_tags_of_a_queue_that_is_created_again_are_compared() -> None:
    sqs = Sqs()
    for given in ({"team": "a", "cost": "1"}, {"cost": "1", "team": "a"}, {}, None):
        sqs.call(CreateQueueRequest(queue_name="jobs", tags=given))
    for given in ({"team": "a"}, {"team": "b", "cost": "1"}, {"team": "a", "cost": "1", "c": ""}):
        with pytest.raises(SqsError) as refusal:
            sqs.call(CreateQueueRequest(queue_name="jobs", tags=given))
        assert refusal.value.fault is errors.QUEUE_NAME_EXISTS
    with pytest.raises(SqsError) as refusal:
        sqs.call(CreateQueueRequest(queue_name="new", tags={"aws:team": "a"}))
    assert refusal.value.fault is errors.INVALID_PARAMETER_VALUE


def test_a_queue_is_created_with_tags() -> None:
    sqs = Sqs()
    sqs.call(CreateQueueRequest(queue_name="jobs", tags={"team": "a"}))
    assert tags(sqs) == {"team": "a"}


@pytest.mark.parametrize(
    "given",
    [
        {str(index): "" for index in range(51)},
        {"": "v"},
        {"k" * 129: "v"},
        {"k": "v" * 257},
        {"aws:team": "v"},
        {"AWS:team": "v"},
        {"team": "aws:v"},
        {"team!": "v"},
        {"team": "a,b"},
        {"team\x1f": "v"},
    ],
)
def test_tags_that_are_refused(sqs: Sqs, given: dict[str, str]) -> None:
    with pytest.raises(SqsError) as refusal:
        sqs.call(TagQueueRequest(queue_url=URL, tags=given))
    assert refusal.value.fault is errors.INVALID_PARAMETER_VALUE
    assert tags(sqs) is None


def add(
    sqs: Sqs, label: str = "label", accounts: tuple[str, ...] = (ACCOUNT,), *actions: str
) -> None:
    sqs.call(
        AddPermissionRequest(
            queue_url=URL,
            label=label,
            aws_account_ids=list(accounts),
            actions=list(actions or ("SendMessage",)),
        )
    )


def test_a_permission_is_a_statement_of_the_policy(sqs: Sqs) -> None:
    add(sqs, "one")
    add(sqs, "many", (ACCOUNT, "444455556666"), "ReceiveMessage", "deletemessage")
    assert json.loads(sqs.attributes("jobs", "Policy")["Policy"]) == {
        "Version": "2008-10-17",
        "Id": f"{arn_of('jobs')}/SQSDefaultPolicy",
        "Statement": [
            {
                "Sid": "one",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                "Action": "SQS:SendMessage",
                "Resource": arn_of("jobs"),
            },
            {
                "Sid": "many",
                "Effect": "Allow",
                "Principal": {
                    "AWS": [f"arn:aws:iam::{ACCOUNT}:root", "arn:aws:iam::444455556666:root"]
                },
                "Action": ["SQS:ReceiveMessage", "SQS:DeleteMessage"],
                "Resource": arn_of("jobs"),
            },
        ],
    }


def test_the_same_permission_again_changes_nothing(sqs: Sqs) -> None:
    add(sqs, "one")
    before = sqs.attributes("jobs", "Policy")
    add(sqs, "one")
    assert sqs.attributes("jobs", "Policy") == before


def test_removing_the_last_permission_removes_the_policy(sqs: Sqs) -> None:
    add(sqs, "a")
    add(sqs, "b")
    for label in "ab":
        assert "Policy" in sqs.attributes("jobs")
        sqs.call(RemovePermissionRequest(queue_url=URL, label=label))
    assert "Policy" not in sqs.attributes("jobs")


@pytest.mark.parametrize(
    ("label", "accounts", "actions", "fault"),
    [
        ("", (ACCOUNT,), ("SendMessage",), errors.MISSING_PARAMETER),
        ("with space", (ACCOUNT,), ("SendMessage",), errors.INVALID_PARAMETER_VALUE),
        ("l" * 81, (ACCOUNT,), ("SendMessage",), errors.INVALID_PARAMETER_VALUE),
        ("taken", (ACCOUNT,), ("DeleteMessage",), errors.INVALID_PARAMETER_VALUE),
        ("label", ("1",), ("SendMessage",), errors.INVALID_PARAMETER_VALUE),
        ("label", (), ("SendMessage",), errors.INVALID_PARAMETER_VALUE),
        ("label", (ACCOUNT,), ("CreateQueue",), errors.INVALID_PARAMETER_VALUE),
        ("label", (ACCOUNT,), ("SendMessage",) * 8, errors.OVER_LIMIT),
    ],
)
def test_permissions_that_are_refused(
    sqs: Sqs, label: str, accounts: tuple[str, ...], actions: tuple[str, ...], fault: Fault
) -> None:
    add(sqs, "taken")
    with pytest.raises(SqsError) as refusal:
        add(sqs, label, accounts, *actions)
    assert refusal.value.fault is fault


def test_a_label_that_is_not_there_cannot_be_removed(sqs: Sqs) -> None:
    with pytest.raises(SqsError, match="can't find label"):
        sqs.call(RemovePermissionRequest(queue_url=URL, label="label"))


def test_the_sources_of_a_dead_letter_queue_are_listed_in_pages() -> None:
    sqs = Sqs()
    sqs.create("dead")
    policy = json.dumps({"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": 1})
    for name in "abc":
        sqs.create(name, {"RedrivePolicy": policy})
    sqs.create("unrelated")
    seen, token = [], None
    while True:
        result = sqs.call(
            ListDeadLetterSourceQueuesRequest(
                queue_url=url_of("dead"), max_results=2, next_token=token
            )
        )
        assert isinstance(result, ListDeadLetterSourceQueuesResult)
        seen.append(result.queue_urls)
        token = result.next_token
        if token is None:
            break
    assert seen == [[url_of("a"), url_of("b")], [url_of("c")]]
