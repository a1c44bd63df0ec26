"""boto3's signatures are checked: in headers over both protocols, and in presigned URLs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from xml.etree import ElementTree

import pytest

from tests.clients.boto3.conversation import Boto3, conversation
from tests.clients.environments import python_environment

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"


class Answer(NamedTuple):
    status: int
    body: bytes


@pytest.fixture(params=["boto3", "boto3_query"])
def python(request: pytest.FixtureRequest) -> Path:
    return python_environment(request.param) / "python"


@pytest.fixture
def presigner(endpoint_url: str) -> Iterator[Boto3]:
    """The boto3 of old: a presigned URL is a request of the Query protocol."""
    with conversation(python_environment("boto3_query") / "python", endpoint_url) as sqs:
        yield sqs


def presigned(sqs: Boto3, operation: str, **parameters: object) -> str:
    url = sqs("generate_presigned_url", ClientMethod=operation, Params=parameters, HttpMethod="GET")
    assert isinstance(url, str)
    return url


def get(url: str, **headers: str) -> Answer:
    """What a program without any SDK gets."""
    try:
        with urlopen(Request(url, headers=headers), timeout=30) as answer:
            return Answer(answer.status, answer.read())
    except HTTPError as refusal:
        with refusal:
            return Answer(refusal.code, refusal.read())


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "another secret, as long"}, "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": "AKIDSTRANGER"}, "InvalidClientTokenId"),
    ],
)
def test_who_signs_wrongly_is_refused(
    python: Path, endpoint_url: str, variables: dict[str, str], code: str
) -> None:
    with conversation(python, endpoint_url, **variables) as sqs:
        refusal = sqs.refused("list_queues")
    assert (refusal.code, refusal.status) == (code, 403)


def test_a_presigned_url_lets_anybody_do_what_it_says(presigner: Boto3) -> None:
    url = presigner("create_queue", QueueName="presigned")["QueueUrl"]
    body = "for <you> & \u65e5\u672c"
    sent = get(presigned(presigner, "send_message", QueueUrl=url, MessageBody=body))
    assert sent.status == 200
    receive = presigned(presigner, "receive_message", QueueUrl=url, VisibilityTimeout=0)
    answer = ElementTree.fromstring(get(receive).body)
    assert answer.tag == f"{NAMESPACE}ReceiveMessageResponse"
    assert answer.findtext(f".//{NAMESPACE}Message/{NAMESPACE}Body") == body
    assert answer.findtext(f".//{NAMESPACE}RequestId")
    as_json = json.loads(get(receive, Accept="application/json").body)
    [message] = as_json["ReceiveMessageResponse"]["ReceiveMessageResult"]["messages"]
    assert message["Body"] == body


def test_a_presigned_url_that_was_changed_is_refused(presigner: Boto3) -> None:
    url = presigner("create_queue", QueueName="presigned-and-changed")["QueueUrl"]
    sent = presigned(presigner, "send_message", QueueUrl=url, MessageBody="ten")
    refusal = get(sent.replace("MessageBody=ten", "MessageBody=thousand"))
    assert refusal.status == 403
    assert b"<Code>SignatureDoesNotMatch</Code>" in refusal.body
    assert "Messages" not in presigner("receive_message", QueueUrl=url)
