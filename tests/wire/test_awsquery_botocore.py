"""What botocore wrote and read in the Query protocol, this codec reads and writes.

botocore still has the protocol for other services. Its model of SQS has moved on to JSON, so the
names that its model had up to version 1.31.80 are put back here.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import botocore.session
import msgspec
import pytest
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.protocol import awsquery_xml
from forebay.protocol.actions import ACTIONS
from forebay.protocol.awsquery import decode
from forebay.protocol.errors import FAULTS, Fault

#: `locationName` of the members of lists.
LIST_MEMBERS = {
    "AWSAccountIdList": "AWSAccountId",
    "ActionNameList": "ActionName",
    "AttributeNameList": "AttributeName",
    "BinaryList": "BinaryListValue",
    "BatchResultErrorEntryList": "BatchResultErrorEntry",
    "ChangeMessageVisibilityBatchRequestEntryList": "ChangeMessageVisibilityBatchRequestEntry",
    "ChangeMessageVisibilityBatchResultEntryList": "ChangeMessageVisibilityBatchResultEntry",
    "DeleteMessageBatchRequestEntryList": "DeleteMessageBatchRequestEntry",
    "DeleteMessageBatchResultEntryList": "DeleteMessageBatchResultEntry",
    "ListMessageMoveTasksResultEntryList": "ListMessageMoveTasksResultEntry",
    "MessageAttributeNameList": "MessageAttributeName",
    "MessageList": "Message",
    # Newer than that model; the name is the one that kombu sends.
    "MessageSystemAttributeList": "MessageSystemAttributeName",
    "QueueUrlList": "QueueUrl",
    "SendMessageBatchRequestEntryList": "SendMessageBatchRequestEntry",
    "SendMessageBatchResultEntryList": "SendMessageBatchResultEntry",
    "StringList": "StringListValue",
    "TagKeyList": "TagKey",
}

#: `locationName` of maps, of their keys and of their values.
MAPS = {
    "MessageBodyAttributeMap": ("MessageAttribute", "Name", "Value"),
    "MessageBodySystemAttributeMap": ("MessageSystemAttribute", "Name", "Value"),
    "MessageSystemAttributeMap": ("Attribute", "Name", "Value"),
    "QueueAttributeMap": ("Attribute", "Name", "Value"),
    "TagMap": ("Tag", "Key", "Value"),
}

#: Members that SQS always answers with, although the model does not say so.
ALWAYS_ANSWERED = {
    "ApproximateNumberOfMessagesMoved",
    "Body",
    "MD5OfBody",
    "MD5OfMessageBody",
    "MessageId",
    "QueueUrl",
    "ReceiptHandle",
    "SourceArn",
    "StartedTimestamp",
    "Status",
    "TaskHandle",
}


def query_model() -> Any:
    model = (
        botocore.session.get_session()
        .get_component("data_loader")
        .load_service_model("sqs", "service-2")
    )
    model["metadata"] |= {
        "protocol": "query",
        "protocols": ["query"],
        "xmlNamespace": awsquery_xml.NAMESPACE,
    }
    for name, location in LIST_MEMBERS.items():
        model["shapes"][name]["member"]["locationName"] = location
    for name, (location, key, value) in MAPS.items():
        shape = model["shapes"][name]
        shape["locationName"] = location
        shape["key"]["locationName"] = key
        shape["value"]["locationName"] = value
    for operation in model["operations"].values():
        if "output" in operation:
            operation["output"]["resultWrapper"] = operation["output"]["shape"]
    return ServiceModel(model, "sqs")


MODEL = query_model()
SERIALIZER = create_serializer("query", include_validation=False)
PARSER = create_parser("query")

#: The characters of XML 1.0, which are the ones a message may have.
XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff").filter(
        lambda character: character >= " " or character in "\t\r\n"
    )
)


def values(shape: Any, text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """What a member of that shape may be. An empty list or map is not written at all."""
    match shape.type_name:
        case "string":
            return text
        case "integer" | "long":
            return st.integers(-(10**17), 10**17)
        case "boolean":
            return st.booleans()
        case "blob":
            return st.binary()
        case "list":
            return st.lists(values(shape.member, text), min_size=1, max_size=12)
        case "map":
            return st.dictionaries(text, values(shape.value, text), min_size=1, max_size=3)
        case "structure":
            return structures(shape, text)
    raise AssertionError(shape.type_name)


def structures(shape: Any, text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    members = {name: values(member, text) for name, member in shape.members.items()}
    present = members.keys() & {*shape.required_members, *ALWAYS_ANSWERED}
    return st.fixed_dictionaries(
        {name: members[name] for name in sorted(present)},
        optional={name: members[name] for name in sorted(members.keys() - present)},
    )


@pytest.mark.parametrize("action", ACTIONS)
@settings(max_examples=25)
@given(data=st.data())
def test_every_request_is_read_as_botocore_wrote_it(action: str, data: st.DataObject) -> None:
    operation = MODEL.operation_model(action)
    members = data.draw(structures(operation.input_shape, st.text()))
    body = urlencode(SERIALIZER.serialize_to_request(members, operation)["body"])
    call = decode(b"/", b"application/x-www-form-urlencoded; charset=utf-8", b"", body.encode())
    assert call.request == msgspec.convert(
        members, ACTIONS[action].request_type, builtin_types=(bytes,)
    )


@pytest.mark.parametrize("action", ACTIONS)
@settings(max_examples=25)
@given(data=st.data())
def test_every_result_is_read_by_botocore_as_it_was(action: str, data: st.DataObject) -> None:
    operation = MODEL.operation_model(action)
    shape = operation.output_shape
    members = data.draw(structures(shape, XML_TEXT)) if shape else {}
    result = msgspec.convert(members, ACTIONS[action].result_type, builtin_types=(bytes,))
    answer = {
        "status_code": 200,
        "headers": {},
        "body": awsquery_xml.encode_result(action, result, "id-1"),
    }
    parsed = PARSER.parse(answer, shape)
    metadata = parsed.pop("ResponseMetadata")
    assert parsed == members
    assert metadata["RequestId"] == "id-1"


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_every_error_is_read_by_botocore_as_it_was(fault: Fault) -> None:
    body = awsquery_xml.encode_error(fault, "a < b & c\r\n", "id-1")
    answer = {"status_code": fault.http_status, "headers": {}, "body": body}
    parsed = PARSER.parse(answer, MODEL.shape_for("SendMessageResult"))
    assert parsed["Error"] == {
        "Type": "Sender" if fault.sender else "Receiver",
        "Code": fault.query_code,
        "Message": "a < b & c\r\n",
        "Detail": None,
    }
    assert parsed["ResponseMetadata"]["RequestId"] == "id-1"
