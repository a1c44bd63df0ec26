"""What plain Python values ask SQS for."""

from __future__ import annotations

from typing import Any

import pytest

from forebay.client.plain import create_queue_request, queue_url_request, send_request
from forebay.protocol.actions import CreateQueueRequest, GetQueueUrlRequest
from forebay.protocol.errors import SqsError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (30, "30"),
        (True, "true"),
        (False, "false"),
        ("", ""),
        ({"a": [1, None]}, '{"a": [1, null]}'),
    ],
)
def test_an_attribute_of_a_queue_is_a_text(value: Any, text: str) -> None:
    assert create_queue_request("jobs", {"Name": value}).attributes == {"Name": text}


def test_a_queue_without_attributes_asks_for_none() -> None:
    assert create_queue_request("jobs", {}) == CreateQueueRequest(queue_name="jobs")


@pytest.mark.parametrize(
    ("name", "given", "asked"),
    [
        ("jobs.fifo", {}, {"FifoQueue": "true"}),
        ("jobs.fifo", {"FifoQueue": False}, {"FifoQueue": "false"}),
        ("jobs", {"FifoQueue": True}, {"FifoQueue": "true"}),
    ],
)
def test_a_name_of_a_fifo_queue_asks_for_one_unless_told_otherwise(
    name: str, given: dict[str, bool], asked: dict[str, str]
) -> None:
    assert create_queue_request(name, given).attributes == asked


def test_an_arn_names_the_account() -> None:
    request = queue_url_request("arn:aws:sqs:eu-west-1:123456789012:jobs")
    assert request == GetQueueUrlRequest("jobs", queue_owner_aws_account_id="123456789012")


@pytest.mark.parametrize("value", [{"a": object()}, {"a": float("nan")}, {"a": {1, 2}}])
def test_what_is_no_json_is_refused_by_name(value: dict[str, object]) -> None:
    with pytest.raises(SqsError, match="The body cannot be written as JSON"):
        send_request("jobs", value)
    with pytest.raises(SqsError, match="The RedrivePolicy cannot be written as JSON"):
        create_queue_request("jobs", {"RedrivePolicy": value})
