"""The answers of the Query protocol as they stand on the wire: XML, and JSON where it is asked for.

The transcripts are those of SQS, with ids and digests shortened.
"""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.protocol import awsquery_json, awsquery_xml
from forebay.protocol.actions import (
    ACTIONS,
    AnyResult,
    BatchResult,
    BatchResultEntry,
    BatchResultErrorEntry,
    EmptyResult,
    GetQueueAttributesResult,
    GetQueueUrlResult,
    ListDeadLetterSourceQueuesResult,
    ListMessageMoveTasksResult,
    ListMessageMoveTasksResultEntry,
    ListQueuesResult,
    ListQueueTagsResult,
    Message,
    MessageAttributeValue,
    ReceiveMessageResult,
    SendMessageBatchResult,
    SendMessageBatchResultEntry,
    SendMessageResult,
)
from forebay.protocol.errors import OVER_LIMIT, SERVICE_UNAVAILABLE

XMLNS = 'xmlns="http://queue.amazonaws.com/doc/2012-11-05/"'
METADATA = "<ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata>"


@pytest.mark.parametrize(
    ("action", "result", "xml"),
    [
        ("GetQueueUrl", GetQueueUrlResult(queue_url="http://h/1/q"),
         "<GetQueueUrlResult><QueueUrl>http://h/1/q</QueueUrl></GetQueueUrlResult>"),
        ("ListQueues", ListQueuesResult(queue_urls=["a", "b"], next_token="t"),
         "<ListQueuesResult><QueueUrl>a</QueueUrl><QueueUrl>b</QueueUrl>"
         "<NextToken>t</NextToken></ListQueuesResult>"),
        ("ListQueues", ListQueuesResult(), "<ListQueuesResult/>"),
        ("ListDeadLetterSourceQueues", ListDeadLetterSourceQueuesResult(queue_urls=["a"]),
         "<ListDeadLetterSourceQueuesResult><QueueUrl>a</QueueUrl>"
         "</ListDeadLetterSourceQueuesResult>"),
        ("GetQueueAttributes", GetQueueAttributesResult(attributes={"A": "1", "B": ""}),
         "<GetQueueAttributesResult><Attribute><Name>A</Name><Value>1</Value></Attribute>"
         "<Attribute><Name>B</Name><Value/></Attribute></GetQueueAttributesResult>"),
        ("ListQueueTags", ListQueueTagsResult(tags={"team": "sales"}),
         "<ListQueueTagsResult><Tag><Key>team</Key><Value>sales</Value></Tag>"
         "</ListQueueTagsResult>"),
        ("SendMessage", SendMessageResult(message_id="m", md5_of_message_body="d"),
         "<SendMessageResult><MessageId>m</MessageId><MD5OfMessageBody>d</MD5OfMessageBody>"
         "</SendMessageResult>"),
        ("SendMessageBatch", SendMessageBatchResult(
            successful=[
                SendMessageBatchResultEntry(id="a", message_id="m", md5_of_message_body="d")],
            failed=[BatchResultErrorEntry(id="b", sender_fault=True, code="c", message="no")]),
         "<SendMessageBatchResult><SendMessageBatchResultEntry><MessageId>m</MessageId>"
         "<MD5OfMessageBody>d</MD5OfMessageBody><Id>a</Id></SendMessageBatchResultEntry>"
         "<BatchResultErrorEntry><Id>b</Id><SenderFault>true</SenderFault><Code>c</Code>"
         "<Message>no</Message></BatchResultErrorEntry></SendMessageBatchResult>"),
        ("DeleteMessageBatch", BatchResult(successful=[BatchResultEntry(id="a")]),
         "<DeleteMessageBatchResult><DeleteMessageBatchResultEntry><Id>a</Id>"
         "</DeleteMessageBatchResultEntry></DeleteMessageBatchResult>"),
        ("ChangeMessageVisibilityBatch", BatchResult(successful=[BatchResultEntry(id="a")]),
         "<ChangeMessageVisibilityBatchResult><ChangeMessageVisibilityBatchResultEntry><Id>a</Id>"
         "</ChangeMessageVisibilityBatchResultEntry></ChangeMessageVisibilityBatchResult>"),
        ("ReceiveMessage", ReceiveMessageResult(messages=[Message(
            message_id="m", receipt_handle="h", md5_of_body="d", body="hi",
            attributes={"SentTimestamp": "1"}, md5_of_message_attributes="e",
            message_attributes={
                "n": MessageAttributeValue(data_type="Number", string_value="1"),
                "b": MessageAttributeValue(data_type="Binary", binary_value=b"\x00\xff")})]),
         "<ReceiveMessageResult><Message><MessageId>m</MessageId><ReceiptHandle>h</ReceiptHandle>"
         "<MD5OfBody>d</MD5OfBody><Body>hi</Body>"
         "<Attribute><Name>SentTimestamp</Name><Value>1</Value></Attribute>"
         "<MD5OfMessageAttributes>e</MD5OfMessageAttributes>"
         "<MessageAttribute><Name>n</Name><Value><DataType>Number</DataType>"
         "<StringValue>1</StringValue></Value></MessageAttribute>"
         "<MessageAttribute><Name>b</Name><Value><DataType>Binary</DataType>"
         "<BinaryValue>AP8=</BinaryValue></Value></MessageAttribute>"
         "</Message></ReceiveMessageResult>"),
        ("ReceiveMessage", ReceiveMessageResult(), "<ReceiveMessageResult/>"),
        ("ListMessageMoveTasks", ListMessageMoveTasksResult(results=[
            ListMessageMoveTasksResultEntry(
                status="COMPLETED", source_arn="s", started_timestamp=7)]),
         "<ListMessageMoveTasksResult><ListMessageMoveTasksResultEntry>"
         "<Status>COMPLETED</Status><SourceArn>s</SourceArn>"
         "<StartedTimestamp>7</StartedTimestamp></ListMessageMoveTasksResultEntry>"
         "</ListMessageMoveTasksResult>"),
        ("DeleteMessage", EmptyResult(), ""),
    ],
)  # fmt: skip
def test_a_result_is_written_as_xml(action: str, result: AnyResult, xml: str) -> None:
    assert awsquery_xml.encode_result(action, result, "id-1").decode() == (
        f'<?xml version="1.0"?><{action}Response {XMLNS}>{xml}{METADATA}</{action}Response>'
    )


def test_an_error_is_written_as_xml() -> None:
    assert awsquery_xml.encode_error(SERVICE_UNAVAILABLE, "a<b", "id-1").decode() == (
        f'<?xml version="1.0"?><ErrorResponse {XMLNS}><Error><Type>Receiver</Type>'
        "<Code>ServiceUnavailable</Code><Message>a&lt;b</Message><Detail/></Error>"
        "<RequestId>id-1</RequestId></ErrorResponse>"
    )


def text_after_xml(text: str) -> str | None:
    document = awsquery_xml.encode_result("GetQueueUrl", GetQueueUrlResult(queue_url=text), "id")
    return ElementTree.fromstring(document)[0][0].text


@pytest.mark.parametrize(
    "text",
    ["<a href='x'>&amp;</a>", "]]>", "\r", "\r\n\r", "\t\n ", "\x7f\x85\u2028", "\U0010ffff\ufffd"],
)
def test_every_character_of_xml_survives(text: str) -> None:
    assert text_after_xml(text) == text


@pytest.mark.parametrize("text", ["\x00", "\x1b", "\ufffe", "\uffff", "\ud800"])
def test_a_character_that_xml_has_no_place_for_is_replaced(text: str) -> None:
    assert text_after_xml(f"a{text}b") == "a?b"


@given(st.text(st.characters(exclude_categories=[]), min_size=1))
def test_every_text_makes_a_document(text: str) -> None:
    written = text_after_xml(text)
    assert written is not None
    assert len(written) == len(text)


ATTRIBUTE = MessageAttributeValue(data_type="Binary", binary_value=b"\x00\xff")


@pytest.mark.parametrize(
    ("action", "result", "members"),
    [
        ("SendMessage", SendMessageResult(message_id="m", md5_of_message_body="d"),
         '{"MD5OfMessageAttributes":null,"MD5OfMessageBody":"d",'
         '"MD5OfMessageSystemAttributes":null,"MessageId":"m","SequenceNumber":null}'),
        ("ReceiveMessage", ReceiveMessageResult(), '{"messages":null}'),
        ("ReceiveMessage", ReceiveMessageResult(messages=[]), '{"messages":null}'),
        ("ReceiveMessage", ReceiveMessageResult(messages=[Message(
            message_id="m", receipt_handle="h", md5_of_body="d", body="hi")]),
         '{"messages":[{"Attributes":null,"Body":"hi","MD5OfBody":"d",'
         '"MD5OfMessageAttributes":null,"MessageAttributes":null,"MessageId":"m",'
         '"ReceiptHandle":"h"}]}'),
        ("ReceiveMessage", ReceiveMessageResult(messages=[Message(
            message_id="m", receipt_handle="h", md5_of_body="d", body="hi",
            attributes={"SentTimestamp": "1"}, md5_of_message_attributes="e",
            message_attributes={"b": ATTRIBUTE})]),
         '{"messages":[{"Attributes":[{"Name":"SentTimestamp","Value":"1"}],"Body":"hi",'
         '"MD5OfBody":"d","MD5OfMessageAttributes":"e","MessageAttributes":[{"Name":"b",'
         '"Value":{"BinaryListValues":null,"BinaryValue":"AP8=","DataType":"Binary",'
         '"StringListValues":null,"StringValue":null}}],'
         '"MessageId":"m","ReceiptHandle":"h"}]}'),
        ("ListQueues", ListQueuesResult(queue_urls=["a"]), '{"NextToken":null,"queueUrls":["a"]}'),
        ("GetQueueAttributes", GetQueueAttributesResult(attributes={"A": "1"}),
         '{"Attributes":[{"Name":"A","Value":"1"}]}'),
        ("ListQueueTags", ListQueueTagsResult(tags={"team": "sales"}),
         '{"Tags":[{"Key":"team","Value":"sales"}]}'),
    ],
)  # fmt: skip
def test_a_result_is_written_as_json(action: str, result: AnyResult, members: str) -> None:
    answer = awsquery_json.encode_result(action, result, "id-1")
    envelope = {
        f"{action}Response": {
            "ResponseMetadata": {"RequestId": "id-1"},
            f"{action}Result": json.loads(members),
        }
    }
    assert json.loads(answer) == envelope
    assert members in answer.decode()


def test_an_answer_in_json_that_has_nothing_to_say_has_no_result() -> None:
    answer = awsquery_json.encode_result("DeleteMessage", EmptyResult(), "id-1")
    assert answer == b'{"DeleteMessageResponse":{"ResponseMetadata":{"RequestId":"id-1"}}}'


def test_an_error_is_written_as_json() -> None:
    assert awsquery_json.encode_error(OVER_LIMIT, "Too much.", "id-1") == (
        b'{"Error":{"Code":"OverLimit","Message":"Too much.","Type":"Sender"},"RequestId":"id-1"}'
    )


@pytest.mark.parametrize(
    "action", [name for name in ACTIONS if ACTIONS[name].result_type is EmptyResult]
)
def test_an_action_without_a_result_answers_with_the_request_id_alone(action: str) -> None:
    document = awsquery_xml.encode_result(action, EmptyResult(), "id-1")
    assert [element.tag.rpartition("}")[2] for element in ElementTree.fromstring(document)] == [
        "ResponseMetadata"
    ]
