"""Requests of the Query protocol from the URL to the answer, as AWS was seen to treat them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.protocol.actions import (
    ACTIONS,
    AnyRequest,
    EmptyResult,
    GetQueueAttributesRequest,
    GetQueueUrlRequest,
    ListQueuesRequest,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageRequest,
)
from forebay.protocol.awsquery import QueryCall, decode
from forebay.protocol.errors import PURGE_QUEUE_IN_PROGRESS, QUEUE_DOES_NOT_EXIST, SqsError

FORM = b"application/x-www-form-urlencoded; charset=utf-8"


def get(url: str, accept: str = "*/*") -> QueryCall:
    return decode(url.encode(), b"", accept.encode(), b"")


def refused(call: QueryCall) -> tuple[int, dict[str, str], bytes]:
    assert isinstance(call.request, SqsError)
    return call.encode(call.request, "id-1")


@pytest.mark.parametrize(
    ("url", "content_type", "body", "request_"),
    [
        ("/?Action=ListQueues&Version=2012-11-05", b"", b"", ListQueuesRequest()),
        ("/?Action=GetQueueUrl&QueueName=q", b"", b"", GetQueueUrlRequest(queue_name="q")),
        ("/1/q?Action=ReceiveMessage", b"", b"", ReceiveMessageRequest(queue_url="/1/q")),
        ("/1/q/?Action=ReceiveMessage&AttributeName=All&X-Amz-Signature=5", b"", b"",
         ReceiveMessageRequest(queue_url="/1/q/", attribute_names=["All"])),
        ("/1/q?Action=GetQueueAttributes&QueueUrl=http%3A%2F%2Fh%2F1%2Fr", b"", b"",
         GetQueueAttributesRequest(queue_url="http://h/1/r")),
        ("/1/q?Action=GetQueueUrl&QueueName=r", b"", b"", GetQueueUrlRequest(queue_name="r")),
        ("/", FORM, b"Action=SendMessage&QueueUrl=u&MessageBody=b",
         SendMessageRequest(queue_url="u", message_body="b")),
        ("/1/q", FORM, b"Action=SendMessage&MessageBody=b",
         SendMessageRequest(queue_url="/1/q", message_body="b")),
        ("/1/q?Action=SendMessage", FORM, b"MessageBody=b",
         SendMessageRequest(queue_url="/1/q", message_body="b")),
        ("/1/q", b"", b"Action=SendMessage&MessageBody=b",
         SendMessageRequest(queue_url="/1/q", message_body="b")),
        ("http://h:1/1/q?Action=ReceiveMessage", b"", b"",
         ReceiveMessageRequest(queue_url="http://h:1/1/q")),
    ],
)  # fmt: skip
def test_a_request_is_read_from_path_query_string_and_body(
    url: str, content_type: bytes, body: bytes, request_: AnyRequest
) -> None:
    assert decode(url.encode(), content_type, b"", body).request == request_


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
@pytest.mark.parametrize(
    "url", ["/", "/1/q", "/1/q?Version=2012-11-05", "/?Action=", "/?Action.1=x"]
)
def test_no_action_is_an_unknown_operation_in_xml(url: str, accept: str) -> None:
    assert refused(get(url, accept)) == (
        404,
        {"Content-Type": "text/xml"},
        b"<UnknownOperationException/>",
    )


def test_a_body_that_is_no_form_holds_no_action() -> None:
    call = decode(b"/", b"text/plain", b"", b"Action=ListQueues")
    assert refused(call)[0] == 404


@pytest.mark.parametrize(
    ("url", "action"),
    [
        ("/1/q?Action=CreateQueue&QueueName=r", "CreateQueue"),
        ("/1/q?Action=ListQueues", "ListQueues"),
        ("/1/q?Action=FooBar&Version=2012-11-05", "FooBar"),
        ("/?Action=sendmessage", "sendmessage"),
    ],
)
def test_an_action_that_the_endpoint_does_not_have_is_invalid(url: str, action: str) -> None:
    status, headers, body = refused(get(url))
    assert (status, headers) == (400, {"Content-Type": "text/xml"})
    assert b"<Type>Sender</Type><Code>InvalidAction</Code>" in body
    assert f"<Message>The action {action} is not valid for this endpoint.<" in body.decode()


def test_an_error_is_json_for_a_client_that_accepts_json() -> None:
    status, headers, body = refused(get("/1/q?Action=ListQueues", "application/json"))
    assert (status, headers) == (400, {"Content-Type": "application/json"})
    assert json.loads(body)["Error"] == {
        "Type": "Sender",
        "Code": "InvalidAction",
        "Message": "The action ListQueues is not valid for this endpoint.",
    }


def test_a_missing_parameter_is_refused() -> None:
    _, _, body = refused(get("/1/q?Action=SendMessage"))
    assert b"<Code>MissingParameter</Code>" in body
    assert b"<Message>The request must contain the parameter MessageBody.</Message>" in body


@pytest.mark.parametrize(
    ("accept", "content_type", "start"),
    [
        ("", "text/xml", b"<?xml"),
        ("*/*", "text/xml", b"<?xml"),
        ("application/json", "application/json", b'{"ReceiveMessageResponse"'),
        ("Application/JSON, text/plain, */*", "application/json", b'{"ReceiveMessageResponse"'),
    ],
)
def test_the_answer_is_json_only_where_it_is_accepted(
    accept: str, content_type: str, start: bytes
) -> None:
    call = get("/1/q?Action=ReceiveMessage", accept)
    status, headers, body = call.encode(ReceiveMessageResult(), "id-1")
    assert (status, headers) == (200, {"Content-Type": content_type})
    assert body.startswith(start)
    assert b"id-1" in body


def test_an_answer_is_named_after_the_action_and_not_after_its_struct() -> None:
    _, _, body = get("/1/q?Action=PurgeQueue").encode(EmptyResult(), "id-1")
    assert b"<PurgeQueueResponse " in body


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
def test_a_missing_queue_is_missing_for_this_wsdl_version(accept: str) -> None:
    call = get("/1/q?Action=PurgeQueue", accept)
    status, _, body = call.encode(SqsError(QUEUE_DOES_NOT_EXIST), "id-1")
    assert status == 400
    assert b"AWS.SimpleQueueService.NonExistentQueue" in body
    assert b"The specified queue does not exist for this wsdl version." in body


def test_an_error_keeps_its_own_status() -> None:
    call = get("/1/q?Action=PurgeQueue")
    assert call.encode(SqsError(PURGE_QUEUE_IN_PROGRESS), "id-1")[0] == 403


def test_a_form_that_cannot_be_read_is_refused() -> None:
    status, _, body = refused(get("/?Action=ListQueues&QueueNamePrefix=%zz"))
    assert status == 404
    assert b"<Code>MalformedQueryString</Code>" in body


#: Pieces of forms, so that most of what is tried gets past the first check.
PIECES = st.sampled_from(
    [
        "&", "=", ".", "%", "+", "0", "1", "2", "\x00", "\xe9", "Id", "Key", "Name", "Value", "Tag",
        "member", "DataType", "BinaryValue", "Attribute", "AttributeName", "MessageAttribute",
        "MaxNumberOfMessages", "SendMessageBatchRequestEntry",
    ]
)  # fmt: skip


@given(
    st.sampled_from(sorted(ACTIONS)),
    st.lists(PIECES).map("".join) | st.binary().map(lambda raw: raw.decode("latin-1")),
    st.sampled_from([b"", b"application/json"]),
)
def test_whatever_comes_is_a_request_or_a_refusal(action: str, rest: str, accept: bytes) -> None:
    call = decode(b"/1/q", FORM, accept, f"Action={action}&{rest}".encode())
    if isinstance(call.request, SqsError):
        status, _, _ = refused(call)
        assert status in {400, 404}
