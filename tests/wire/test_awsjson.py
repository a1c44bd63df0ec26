"""AWS JSON 1.0 as it stands on the wire, and what a malformed body is answered with."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.protocol.actions import (
    ACTIONS,
    AnyRequest,
    AnyResult,
    BatchResult,
    BatchResultEntry,
    BatchResultErrorEntry,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    CreateQueueRequest,
    EmptyResult,
    GetQueueUrlRequest,
    ListQueuesRequest,
    Message,
    MessageAttributeValue,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageRequest,
    SendMessageResult,
)
from forebay.protocol.awsjson import (
    decode_error,
    decode_request,
    decode_result,
    encode_error,
    encode_request,
    encode_result,
)
from forebay.protocol.errors import (
    FAULTS,
    QUEUE_DOES_NOT_EXIST,
    SERIALIZATION_EXCEPTION,
    Fault,
    SqsError,
)
from forebay.protocol.shapes import REQUESTS as SHAPES

#: Members of many actions, so that what is tried gets past the first check.
MEMBERS = sorted(
    {member.name for shape in SHAPES.values() for member in shape.members}
    | {"BinaryValue", "DataType", "Id", "StringListValues", "StringValue"}
)

URL = "http://127.0.0.1:9324/000000000000/jobs"

REQUESTS: list[tuple[AnyRequest, str, dict[str, object]]] = [
    (
        CreateQueueRequest(queue_name="jobs", attributes={"DelaySeconds": "5"}, tags={"a": "b"}),
        "CreateQueue",
        {"QueueName": "jobs", "Attributes": {"DelaySeconds": "5"}, "tags": {"a": "b"}},
    ),
    (
        GetQueueUrlRequest(queue_name="jobs", queue_owner_aws_account_id="123456789012"),
        "GetQueueUrl",
        {"QueueName": "jobs", "QueueOwnerAWSAccountId": "123456789012"},
    ),
    (ListQueuesRequest(), "ListQueues", {}),
    (
        SendMessageRequest(
            queue_url=URL,
            message_body="hello",
            delay_seconds=0,
            message_attributes={
                "digest": MessageAttributeValue(data_type="Binary", binary_value=b"\x00\xff"),
                "kind": MessageAttributeValue(data_type="String", string_value="x"),
            },
        ),
        "SendMessage",
        {
            "QueueUrl": URL,
            "MessageBody": "hello",
            "DelaySeconds": 0,
            "MessageAttributes": {
                "digest": {"DataType": "Binary", "BinaryValue": "AP8="},
                "kind": {"DataType": "String", "StringValue": "x"},
            },
        },
    ),
    (
        ReceiveMessageRequest(
            queue_url=URL,
            message_system_attribute_names=["All"],
            max_number_of_messages=10,
            wait_time_seconds=20,
        ),
        "ReceiveMessage",
        {
            "QueueUrl": URL,
            "MessageSystemAttributeNames": ["All"],
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": 20,
        },
    ),
    (
        ChangeMessageVisibilityBatchRequest(
            queue_url=URL,
            entries=[
                ChangeMessageVisibilityBatchRequestEntry(
                    id="0", receipt_handle="handle", visibility_timeout=0
                )
            ],
        ),
        "ChangeMessageVisibilityBatch",
        {
            "QueueUrl": URL,
            "Entries": [{"Id": "0", "ReceiptHandle": "handle", "VisibilityTimeout": 0}],
        },
    ),
]


@pytest.mark.parametrize(("request_", "action", "members"), REQUESTS)
def test_a_request_is_written_as_sdks_write_it(
    request_: AnyRequest, action: str, members: dict[str, object]
) -> None:
    name, body = encode_request(request_)
    assert (name, json.loads(body)) == (action, members)


@pytest.mark.parametrize(("request_", "action", "members"), REQUESTS)
def test_a_request_is_read_from_what_sdks_write(
    request_: AnyRequest, action: str, members: dict[str, object]
) -> None:
    assert decode_request(action, json.dumps(members).encode()) == request_


RESULTS: list[tuple[AnyResult, str, dict[str, object]]] = [
    (EmptyResult(), "DeleteMessage", {}),
    (ReceiveMessageResult(), "ReceiveMessage", {}),
    (
        SendMessageResult(message_id="m", md5_of_message_body="d", sequence_number="1"),
        "SendMessage",
        {"MessageId": "m", "MD5OfMessageBody": "d", "SequenceNumber": "1"},
    ),
    (
        ReceiveMessageResult(
            messages=[
                Message(
                    message_id="m",
                    receipt_handle="handle",
                    md5_of_body="d",
                    body="hello",
                    attributes={"ApproximateReceiveCount": "1"},
                )
            ]
        ),
        "ReceiveMessage",
        {
            "Messages": [
                {
                    "MessageId": "m",
                    "ReceiptHandle": "handle",
                    "MD5OfBody": "d",
                    "Body": "hello",
                    "Attributes": {"ApproximateReceiveCount": "1"},
                }
            ]
        },
    ),
    (
        BatchResult(
            successful=[BatchResultEntry(id="0")],
            failed=[
                BatchResultErrorEntry(
                    id="1", sender_fault=True, code="ReceiptHandleIsInvalid", message="no"
                )
            ],
        ),
        "DeleteMessageBatch",
        {
            "Successful": [{"Id": "0"}],
            "Failed": [
                {"Id": "1", "SenderFault": True, "Code": "ReceiptHandleIsInvalid", "Message": "no"}
            ],
        },
    ),
]


@pytest.mark.parametrize(("result", "action", "members"), RESULTS)
def test_an_answer_goes_over_the_wire_and_back(
    result: AnyResult, action: str, members: dict[str, object]
) -> None:
    body = encode_result(result)
    assert json.loads(body) == members
    assert decode_result(action, body) == result


def test_an_answer_without_a_body_has_no_members() -> None:
    assert decode_result("DeleteMessage", b"") == EmptyResult()


def test_a_request_without_a_body_has_no_members() -> None:
    assert decode_request("ListQueues", b"") == ListQueuesRequest()


def test_members_that_the_action_does_not_know_are_ignored() -> None:
    assert decode_request("ListQueues", b'{"Colour":"red"}') == ListQueuesRequest()


@pytest.mark.parametrize(
    ("action", "body", "parameter"),
    [
        ("SendMessageBatch", b'{"QueueUrl":"u"}', "Entries"),
        ("SendMessage", b'{"QueueUrl":"u"}', "MessageBody"),
        ("SendMessage", b'{"QueueUrl":null,"MessageBody":"b"}', "QueueUrl"),
        (
            "SendMessageBatch",
            b'{"QueueUrl":"u","Entries":[{"Id":"0","MessageBody":"b"},{"MessageBody":"b"}]}',
            "SendMessageBatchRequestEntry.2.Id",
        ),
        (
            "DeleteMessageBatch",
            b'{"QueueUrl":"u","Entries":[{"Id":null,"ReceiptHandle":"h"}]}',
            "DeleteMessageBatchRequestEntry.1.Id",
        ),
    ],
)
def test_a_missing_member_is_named(action: str, body: bytes, parameter: str) -> None:
    with pytest.raises(SqsError) as refusal:
        decode_request(action, body)
    assert refusal.value.code == "MissingParameter"
    assert refusal.value.message == f"The request must contain the parameter {parameter}."


@pytest.mark.parametrize("action", ["CreateQueue", "GetQueueUrl"])
def test_a_queue_without_a_name_is_refused_in_words_of_its_own(action: str) -> None:
    with pytest.raises(
        SqsError, match=r"QueueName is invalid\. Reason: Must specify a queue name\."
    ):
        decode_request(action, b"{}")


STRING = "can not be converted to a String"
INTEGER = "can not be converted to an Integer"
BLOB = "can not be converted to a Blob"
LIST = "Start of list found where not expected"
OBJECT = "Start of structure or map found where not expected."


@pytest.mark.parametrize(
    ("action", "members", "text"),
    [
        ("SendMessage", '"MessageBody":7', f"NUMBER_VALUE {STRING}"),
        ("SendMessage", '"MessageBody":7.5', f"DECIMAL_VALUE {STRING}"),
        ("SendMessage", '"MessageBody":true', f"TRUE_VALUE {STRING}"),
        ("SendMessage", '"MessageBody":false', f"FALSE_VALUE {STRING}"),
        ("SendMessage", '"MessageBody":[]', LIST),
        ("SendMessage", '"MessageBody":{}', OBJECT),
        ("ReceiveMessage", '"MaxNumberOfMessages":"10"', f"STRING_VALUE {INTEGER}"),
        ("ReceiveMessage", '"MaxNumberOfMessages":true', f"TRUE_VALUE {INTEGER}"),
        ("ReceiveMessage", '"MaxNumberOfMessages":2.5', f"DECIMAL_VALUE {INTEGER}"),
        ("ReceiveMessage", '"MaxNumberOfMessages":1.0', f"DECIMAL_VALUE {INTEGER}"),
        ("ReceiveMessage", '"MaxNumberOfMessages":[1]', LIST),
        ("ReceiveMessage", '"MaxNumberOfMessages":{"a":1}', OBJECT),
        ("ReceiveMessage", '"AttributeNames":"All"', "Expected list or null"),
        ("ReceiveMessage", '"AttributeNames":7', "Expected list or null"),
        ("ReceiveMessage", '"AttributeNames":{}', OBJECT),
        ("ReceiveMessage", '"AttributeNames":["a",7]', f"NUMBER_VALUE {STRING}"),
        ("ReceiveMessage", '"AttributeNames":["a",null]', "Null found where not expected"),
        ("SetQueueAttributes", '"Attributes":"x"', "Expected map or null"),
        ("SetQueueAttributes", '"Attributes":[]', LIST),
        ("SetQueueAttributes", '"Attributes":{"DelaySeconds":5}', f"NUMBER_VALUE {STRING}"),
        ("SetQueueAttributes", '"Attributes":{"DelaySeconds":null}',
         "Null found where not expected"),
        ("SendMessage", '"MessageBody":"b","MessageAttributes":{"a":"x"}', "Expected null"),
        ("SendMessage", '"MessageBody":"b","MessageAttributes":{"a":[]}', LIST),
        ("SendMessage", '"MessageBody":"b","MessageAttributes":{"a":{"StringValue":1}}',
         f"NUMBER_VALUE {STRING}"),
        ("SendMessage", '"MessageBody":"b","MessageAttributes":{"a":{"BinaryValue":1}}',
         f"NUMBER_VALUE {BLOB}"),
        ("SendMessage", '"MessageBody":"b","MessageAttributes":{"a":{"BinaryValue":"23456"}}',
         f"'23456' {BLOB}: Base64 encoded length is expected a multiple of 4 bytes but found: 5"),
        ("SendMessage", '"MessageBody":"b","MessageAttributes":{"a":{"BinaryValue":"=+/="}}',
         f"'=+/=' {BLOB}: Invalid Base64 character: '='"),
        ("SendMessageBatch", '"Entries":{}', OBJECT),
        ("SendMessageBatch", '"Entries":[7]', "Expected null"),
        ("SendMessageBatch", '"Entries":[{"Id":"0","MessageBody":"b"},{"Id":1,"MessageBody":"b"}]',
         f"NUMBER_VALUE {STRING}"),
        ("SendMessageBatch", '"Entries":[{"Id":"0","MessageBody":"b","DelaySeconds":"1"}]',
         f"STRING_VALUE {INTEGER}"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_in_the_words_of_json(
    action: str, members: str, text: str
) -> None:
    with pytest.raises(SqsError) as refusal:
        decode_request(action, f'{{"QueueUrl":"u",{members}}}'.encode())
    assert refusal.value.fault is SERIALIZATION_EXCEPTION
    assert refusal.value.message == text


def test_the_first_of_two_misfits_is_told_and_before_what_is_missing() -> None:
    with pytest.raises(SqsError, match="TRUE_VALUE"):
        decode_request("SendMessage", b'{"QueueUrl":true,"MessageBody":7}')
    with pytest.raises(SqsError, match="STRING_VALUE"):
        decode_request("ChangeMessageVisibility", b'{"VisibilityTimeout":"7"}')


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[]", LIST),
        (b'"x"', "The request's body is not the JSON object that ReceiveMessage takes."),
        (b"null", "The request's body is not the JSON object that ReceiveMessage takes."),
        (b'{"QueueUrl":"u"', "The request's body is not JSON: it ends too early"),
        (b'{"QueueUrl":"\xff"}', "The request's body is not JSON: it is not UTF-8."),
        (b'{"QueueUrl":"\\ud800"}', "The request's body is not JSON: it ends too early, or"),
        (b'{"QueueUrl":"u","WaitTimeSeconds":1e400}',
         "The request's body is not JSON: Number out of range."),
        (b'{"Colour":' + b"[" * 100_000,
         "The request's body is not JSON that can be read: it is nested too deeply."),
    ],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_a_serialization_exception(body: bytes, text: str) -> None:
    with pytest.raises(SqsError) as refusal:
        decode_request("ReceiveMessage", body)
    assert refusal.value.fault is SERIALIZATION_EXCEPTION
    assert refusal.value.message.startswith(text)


#: What Python says of values.
PYTHONS_WORDS = re.compile(r"`|\b(?:str|int|bool|dict|None|codec|recursion)\b")

JSON: st.SearchStrategy[object] = st.deferred(
    lambda: st.one_of(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        st.lists(JSON, max_size=3),
        st.dictionaries(st.sampled_from(MEMBERS) | st.text(), JSON, max_size=4),
    )
)


@given(st.sampled_from(sorted(ACTIONS)), JSON)
def test_a_refusal_never_speaks_of_python(action: str, value: object) -> None:
    message = ""
    try:
        decode_request(action, json.dumps(value).encode())
    except SqsError as error:
        message = error.message if error.fault is SERIALIZATION_EXCEPTION else ""
    assert "Blob" in message or not PYTHONS_WORDS.search(message)


def test_an_unknown_action_is_refused_by_its_name() -> None:
    with pytest.raises(SqsError, match="FetchMessage is not known") as refusal:
        decode_request("FetchMessage", b"{}")
    assert refusal.value.fault.http_status == 404


def test_an_error_carries_both_of_its_names() -> None:
    status, headers, body = encode_error(SqsError(QUEUE_DOES_NOT_EXIST))
    assert status == 400
    assert headers == {
        "Content-Type": "application/x-amz-json-1.0",
        "x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender",
    }
    assert json.loads(body) == {
        "__type": "com.amazonaws.sqs#QueueDoesNotExist",
        "message": "The specified queue does not exist.",
    }


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_every_error_comes_back_as_it_went(fault: Fault) -> None:
    status, headers, body = encode_error(SqsError(fault, "in other words"))
    error = decode_error(status, headers["x-amzn-query-error"], body)
    assert (error.fault, error.message) == (fault, "in other words")


@pytest.mark.parametrize(
    ("status", "header", "body", "code", "message", "sender"),
    [
        (400, None, b'{"__type":"com.amazon.coral.service#ValidationException","Message":"no"}',
         "ValidationException", "no", True),
        (400, "Odd.Code;Sender", b'{"__type":"com.amazonaws.sqs#OddShape"}',
         "Odd.Code", "OddShape", True),
        (400, None, b'{"__type":"ThrottlingException:http://internal/","message":"slow"}',
         "ThrottlingException", "slow", True),
        (502, None, b"<html>Bad Gateway</html>", "Http502", "<html>Bad Gateway</html>", False),
        (503, None, b"", "Http503", "Http503", False),
        (400, None, b'["?"]', "Http400", '["?"]', True),
        (500, None, b"\xff\xfe", "Http500", "\ufffd\ufffd", False),
    ],
)  # fmt: skip
def test_an_error_that_the_table_lacks_is_still_an_sqs_error(
    status: int, header: str | None, body: bytes, code: str, message: str, sender: bool
) -> None:
    error = decode_error(status, header, body)
    assert (error.code, error.message, error.fault.sender) == (code, message, sender)
    assert error.fault.http_status == status


def test_an_answer_that_cannot_be_read_is_an_error_of_the_service() -> None:
    with pytest.raises(SqsError, match="The answer to SendMessage could not be read") as refusal:
        decode_result("SendMessage", b"<html>")
    assert not refusal.value.fault.sender


def test_every_action_has_a_codec() -> None:
    for action in ACTIONS:
        with pytest.raises(SqsError, match="MalformedInput"):
            decode_request(action, b"]")
