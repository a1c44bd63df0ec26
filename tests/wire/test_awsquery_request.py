"""The Query protocol's parameters as they stand on the wire, and what is answered to wrong ones."""

from __future__ import annotations

import re
from urllib.parse import quote_plus, unquote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forebay.protocol.actions import (
    AddPermissionRequest,
    AnyRequest,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    ChangeMessageVisibilityRequest,
    CreateQueueRequest,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    GetQueueAttributesRequest,
    GetQueueUrlRequest,
    ListMessageMoveTasksRequest,
    ListQueuesRequest,
    MessageAttributeValue,
    ReceiveMessageRequest,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageRequest,
    SetQueueAttributesRequest,
    StartMessageMoveTaskRequest,
    TagQueueRequest,
    UntagQueueRequest,
)
from forebay.protocol.awsquery_request import PARAMETERS_MAX, decode_request, read_parameters
from forebay.protocol.errors import SqsError

BROKEN_ESCAPE = re.compile("%(?![0-9a-fA-F]{2})")


def decode(action: str, form: str) -> AnyRequest:
    return decode_request(action, read_parameters(form.encode()))


def refusal(action: str, form: str) -> tuple[str, str]:
    with pytest.raises(SqsError) as refused:
        decode(action, form)
    return refused.value.code, refused.value.message


@pytest.mark.parametrize(
    ("action", "form", "request_"),
    [
        ("CreateQueue", "QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5"
                        "&Tag.1.Key=team&Tag.1.Value=",
         CreateQueueRequest(
             queue_name="q", attributes={"DelaySeconds": "5"}, tags={"team": ""})),
        ("GetQueueUrl", "QueueName=q&QueueOwnerAWSAccountId=123456789012",
         GetQueueUrlRequest(queue_name="q", queue_owner_aws_account_id="123456789012")),
        ("ListQueues", "", ListQueuesRequest()),
        ("ListQueues", "MaxResults=10&QueueNamePrefix=a&NextToken=t",
         ListQueuesRequest(max_results=10, queue_name_prefix="a", next_token="t")),
        ("GetQueueAttributes", "QueueUrl=u&AttributeName.1=All",
         GetQueueAttributesRequest(queue_url="u", attribute_names=["All"])),
        ("SetQueueAttributes", "QueueUrl=u&Attribute.1.Name=Policy&Attribute.1.Value=",
         SetQueueAttributesRequest(queue_url="u", attributes={"Policy": ""})),
        ("SendMessage", "QueueUrl=u&MessageBody=a+b%26c&DelaySeconds=0"
                        "&MessageAttribute.1.Name=n&MessageAttribute.1.Value.DataType=Number"
                        "&MessageAttribute.1.Value.StringValue=1"
                        "&MessageAttribute.2.Name=b&MessageAttribute.2.Value.DataType=Binary"
                        "&MessageAttribute.2.Value.BinaryValue=AP8%3D"
                        "&MessageSystemAttribute.1.Name=AWSTraceHeader"
                        "&MessageSystemAttribute.1.Value.DataType=String"
                        "&MessageSystemAttribute.1.Value.StringValue=Root%3D1"
                        "&MessageGroupId=g&MessageDeduplicationId=d",
         SendMessageRequest(
             queue_url="u", message_body="a b&c", delay_seconds=0,
             message_attributes={
                 "n": MessageAttributeValue(data_type="Number", string_value="1"),
                 "b": MessageAttributeValue(data_type="Binary", binary_value=b"\x00\xff")},
             message_system_attributes={
                 "AWSTraceHeader": MessageAttributeValue(
                     data_type="String", string_value="Root=1")},
             message_group_id="g", message_deduplication_id="d")),
        ("SendMessageBatch", "QueueUrl=u&SendMessageBatchRequestEntry.1.Id=a"
                             "&SendMessageBatchRequestEntry.1.MessageBody=x"
                             "&SendMessageBatchRequestEntry.2.Id=b"
                             "&SendMessageBatchRequestEntry.2.MessageBody=y"
                             "&SendMessageBatchRequestEntry.2.MessageAttribute.1.Name=n"
                             "&SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.DataType=S"
                             "&SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.StringValue=z",
         SendMessageBatchRequest(queue_url="u", entries=[
             SendMessageBatchRequestEntry(id="a", message_body="x"),
             SendMessageBatchRequestEntry(
                 id="b", message_body="y",
                 message_attributes={
                     "n": MessageAttributeValue(data_type="S", string_value="z")})])),
        ("ReceiveMessage", "QueueUrl=u&AttributeName.1=A&MessageAttributeName.1=B"
                           "&MessageSystemAttributeName.1=C&MaxNumberOfMessages=10"
                           "&VisibilityTimeout=0&WaitTimeSeconds=20&ReceiveRequestAttemptId=r",
         ReceiveMessageRequest(
             queue_url="u", attribute_names=["A"], message_attribute_names=["B"],
             message_system_attribute_names=["C"], max_number_of_messages=10,
             visibility_timeout=0, wait_time_seconds=20, receive_request_attempt_id="r")),
        ("DeleteMessageBatch", "QueueUrl=u&DeleteMessageBatchRequestEntry.1.Id=a"
                               "&DeleteMessageBatchRequestEntry.1.ReceiptHandle=h",
         DeleteMessageBatchRequest(
             queue_url="u",
             entries=[DeleteMessageBatchRequestEntry(id="a", receipt_handle="h")])),
        ("ChangeMessageVisibility", "QueueUrl=u&ReceiptHandle=h&VisibilityTimeout=-1",
         ChangeMessageVisibilityRequest(
             queue_url="u", receipt_handle="h", visibility_timeout=-1)),
        ("ChangeMessageVisibilityBatch",
         "QueueUrl=u&ChangeMessageVisibilityBatchRequestEntry.1.Id=a"
         "&ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle=h"
         "&ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout=7",
         ChangeMessageVisibilityBatchRequest(queue_url="u", entries=[
             ChangeMessageVisibilityBatchRequestEntry(
                 id="a", receipt_handle="h", visibility_timeout=7)])),
        ("TagQueue", "QueueUrl=u&Tag.1.Key=a&Tag.1.Value=b",
         TagQueueRequest(queue_url="u", tags={"a": "b"})),
        ("UntagQueue", "QueueUrl=u&TagKey.1=a&TagKey.2=b",
         UntagQueueRequest(queue_url="u", tag_keys=["a", "b"])),
        ("AddPermission", "QueueUrl=u&Label=l&AWSAccountId.1=123456789012&ActionName.1=*",
         AddPermissionRequest(
             queue_url="u", label="l", aws_account_ids=["123456789012"], actions=["*"])),
        ("StartMessageMoveTask", "SourceArn=s&MaxNumberOfMessagesPerSecond=5",
         StartMessageMoveTaskRequest(source_arn="s", max_number_of_messages_per_second=5)),
        ("ListMessageMoveTasks", "SourceArn=s&MaxResults=3",
         ListMessageMoveTasksRequest(source_arn="s", max_results=3)),
    ],
)  # fmt: skip
def test_a_request_is_read_from_what_older_sdks_write(
    action: str, form: str, request_: AnyRequest
) -> None:
    assert decode(action, f"Action={action}&Version=2012-11-05&{form}") == request_


def test_a_batch_left_out_is_an_empty_one() -> None:
    assert decode("SendMessageBatch", "QueueUrl=u").entries == []  # type: ignore[union-attr]


def test_parameters_of_body_and_query_string_count_together() -> None:
    parameters = read_parameters(b"QueueUrl=a&Label=l", b"", b"Action=b&QueueUrl=a")
    assert parameters == {"QueueUrl": "a", "Label": "l", "Action": "b"}


@pytest.mark.parametrize(
    ("forms", "name"),
    [
        ((b"Label=a&Label=b",), "Label"),
        ((b"QueueUrl=a", b"QueueUrl=b"), "QueueUrl"),
        ((b"Tag.1.Key=a&Tag.1.Value=b&Tag.1.Key=c&Tag.1.Value=d",), "Tag.1.Key"),
    ],
)
def test_a_parameter_with_two_values_is_refused(forms: tuple[bytes, ...], name: str) -> None:
    with pytest.raises(SqsError, match=f"The query parameter {name} has two values") as refused:
        read_parameters(*forms)
    assert refused.value.code == "MalformedInput"


def test_parameters_that_the_action_does_not_have_are_ignored() -> None:
    form = (
        "Action=ListQueues&Version=2012-11-05&Timestamp=t&SignatureVersion=2&AWSAccessKeyId=k"
        "&X-Amz-Signature=s&X-Amz-Security-Token=t&MessageBody=b&Colour=red"
    )
    assert decode("ListQueues", form) == ListQueuesRequest()


@pytest.mark.parametrize(
    ("action", "form", "parameter"),
    [
        ("SendMessage", "QueueUrl=u", "MessageBody"),
        ("SendMessage", "MessageBody=b", "QueueUrl"),
        ("SendMessageBatch", "QueueUrl=u&SendMessageBatchRequestEntry.2.MessageBody=a",
         "SendMessageBatchRequestEntry.2.Id"),
        ("SendMessage", "QueueUrl=u&MessageBody=b&MessageAttribute.3.Name=n",
         "MessageAttribute.3.Value"),
        ("SetQueueAttributes", "QueueUrl=u", "Attribute.Name"),
        ("SetQueueAttributes", "QueueUrl=u&Attribute.1.Name=n", "Attribute.1.Value"),
        ("SetQueueAttributes", "QueueUrl=u&Attribute.Value=v", "Attribute.Name"),
        ("TagQueue", "QueueUrl=u", "Tag.Key"),
        ("UntagQueue", "QueueUrl=u", "TagKey"),
        ("AddPermission", "QueueUrl=u&Label=l&AWSAccountId.1=1", "ActionName"),
    ],
)  # fmt: skip
def test_a_missing_parameter_is_named_in_full(action: str, form: str, parameter: str) -> None:
    message = f"The request must contain the parameter {parameter}."
    assert refusal(action, form) == ("MissingParameter", message)


@pytest.mark.parametrize("action", ["CreateQueue", "GetQueueUrl"])
def test_a_queue_without_a_name_is_refused_in_words_of_its_own(action: str) -> None:
    assert refusal(action, "") == (
        "InvalidParameterValue",
        "Value for parameter QueueName is invalid. Reason: Must specify a queue name.",
    )


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("WaitTimeSeconds=soon", "Value soon for parameter WaitTimeSeconds is invalid."),
        ("WaitTimeSeconds=", "Must be an integer"),
        ("WaitTimeSeconds=1.5", "Must be an integer"),
        ("WaitTimeSeconds=%D9%A3", "Must be an integer"),
        ("WaitTimeSeconds=1_0", "Must be an integer"),
        ("WaitTimeSeconds=+5", "Must be an integer"),
        ("WaitTimeSeconds=%2B5", "Must be an integer"),
        ("WaitTimeSeconds=5%0A", "Must be an integer"),
        ("WaitTimeSeconds=0x5", "Must be an integer"),
        ("WaitTimeSeconds=9999999999999999999", "Must be an integer"),
        ("WaitTimeSeconds.1=1", "Start of list found where not expected: WaitTimeSeconds."),
        ("VisibilityTimeout.a=1", "Start of structure or map found where not expected"),
        ("AttributeName.1.a=1", "found where not expected: AttributeName.1."),
        ("AttributeName.1=a&AttributeName.x=b", "AttributeName is invalid. Its structure"),
        ("AttributeName.1=a&AttributeName=b", "AttributeName is invalid. Its structure"),
        ("AttributeName=b&AttributeName.1=a", "AttributeName.1 is invalid. Its structure"),
    ],
)
def test_a_parameter_of_another_form_is_malformed_input(form: str, reason: str) -> None:
    code, message = refusal("ReceiveMessage", f"QueueUrl=u&{form}")
    assert code == "MalformedInput"
    assert reason in message


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("MessageAttribute.1=x", "MessageAttribute.1 has members"),
        ("MessageAttribute.1.Name=n&MessageAttribute.1.Value=x", "MessageAttribute.1.Value has"),
        ("MessageAttribute.1.Name=n&MessageAttribute.1.Value.DataType=Binary"
         "&MessageAttribute.1.Value.BinaryValue=AP8", "1.Value.BinaryValue must be in base64"),
        ("MessageAttribute.1.Name=n&MessageAttribute.1.Value.DataType=Binary"
         "&MessageAttribute.1.Value.BinaryValue=%C3%A9", "1.Value.BinaryValue must be in base64"),
    ],
)  # fmt: skip
def test_a_message_attribute_of_another_form_is_malformed_input(form: str, reason: str) -> None:
    code, message = refusal("SendMessage", f"QueueUrl=u&MessageBody=b&{form}")
    assert code == "MalformedInput"
    assert reason in message


def test_a_flood_of_parameters_is_refused() -> None:
    assert read_parameters(b"a=1&" * PARAMETERS_MAX) == {"a": "1"}
    with pytest.raises(SqsError, match="at most 10000 parameters"):
        read_parameters(b"a=1&" * PARAMETERS_MAX, b"&")


def test_a_name_of_many_parts_makes_no_deep_tree() -> None:
    parameters = read_parameters(b"a" + b".b" * 100_000)
    assert str(parameters).count("{") == 10


@given(st.text(), st.text())
def test_names_and_values_are_read_as_they_were_quoted(name: str, value: str) -> None:
    name = name.replace(".", "") + "x"
    form = f"{quote_plus(name)}={quote_plus(value)}"
    assert read_parameters(form.encode()) == {name: value}


@given(st.text(alphabet=st.sampled_from("%+=aF0_ \t\r\n\u00e9")))
@example("%3d=%+\r\n")
@example("%\n")
@example("%%41")
@example("%4")
def test_an_escape_is_read_or_refused_but_never_guessed(quoted: str) -> None:
    expected = unquote_plus(quoted)
    if BROKEN_ESCAPE.search(quoted) or "\ufffd" in expected:
        with pytest.raises(SqsError, match="MalformedQueryString"):
            read_parameters(b"x=" + quoted.encode())
    else:
        assert read_parameters(b"x=" + quoted.encode()) == {"x": expected}


@pytest.mark.parametrize("form", [b"a=%", b"a=%zz", b"%1=a", b"a=100%"])
def test_a_broken_escape_is_a_malformed_query_string(form: bytes) -> None:
    with pytest.raises(SqsError, match="no two hex digits") as refused:
        read_parameters(form)
    assert refused.value.code == "MalformedQueryString"


@pytest.mark.parametrize("form", [b"a=\xff", b"%ff=a", b"a=%ed%a0%80"])
def test_bytes_that_are_not_utf8_are_a_malformed_query_string(form: bytes) -> None:
    with pytest.raises(SqsError, match="not UTF-8") as refused:
        read_parameters(form)
    assert refused.value.code == "MalformedQueryString"
