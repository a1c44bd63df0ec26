"""Lists and maps of the Query protocol in every form that SDKs and templates write them in."""

from __future__ import annotations

import pytest

from forebay.protocol.actions import (
    GetQueueAttributesRequest,
    MessageAttributeValue,
    SendMessageBatchRequest,
)
from forebay.protocol.shapes import REQUESTS, Scalar
from tests.wire.test_awsquery_request import decode, refusal


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("", None),
        ("AttributeName=All", ["All"]),
        ("AttributeName.7=b&AttributeName.2=a", ["a", "b"]),
        ("AttributeName.10=b&AttributeName.9=a", ["a", "b"]),
        ("AttributeName.member.2=b&AttributeName.member.1=a", ["a", "b"]),
        ("AttributeName.1=", [""]),
        ("AttributeName.1=a&AttributeName.1=a", ["a"]),
        ("&&AttributeName.1=a&", ["a"]),
    ],
)
def test_the_items_of_a_list_go_by_their_numbers(form: str, names: list[str] | None) -> None:
    request = decode("GetQueueAttributes", f"QueueUrl=u&{form}")
    assert request == GetQueueAttributesRequest(queue_url="u", attribute_names=names)


@pytest.mark.parametrize(
    "form",
    [
        "Tag.Key=a&Tag.Value=b",
        "Tag.7.Value=b&Tag.7.Key=a",
        "Tag.member.1.Key=a&Tag.member.1.Value=b",
    ],
)
def test_a_map_may_have_one_pair_without_a_number(form: str) -> None:
    assert decode("TagQueue", f"QueueUrl=u&{form}").tags == {"a": "b"}  # type: ignore[union-attr]


@pytest.mark.parametrize("form", ["{}=", "{}.member=", "{}.entry="])
@pytest.mark.parametrize(
    ("action", "rest", "name", "attribute", "empty"),
    [
        ("CreateQueue", "QueueName=q", "Attribute", "attributes", {}),
        ("CreateQueue", "QueueName=q", "Tag", "tags", {}),
        ("GetQueueAttributes", "QueueUrl=u", "AttributeName", "attribute_names", []),
        ("SetQueueAttributes", "QueueUrl=u", "Attribute", "attributes", {}),
        ("SendMessage", "QueueUrl=u&MessageBody=b", "MessageAttribute", "message_attributes", {}),
        ("SendMessage", "QueueUrl=u&MessageBody=b", "MessageSystemAttribute",
         "message_system_attributes", {}),
        ("SendMessageBatch", "QueueUrl=u", "SendMessageBatchRequestEntry", "entries", []),
        ("ReceiveMessage", "QueueUrl=u", "AttributeName", "attribute_names", []),
        ("ReceiveMessage", "QueueUrl=u", "MessageAttributeName", "message_attribute_names", []),
        ("ReceiveMessage", "QueueUrl=u", "MessageSystemAttributeName",
         "message_system_attribute_names", []),
        ("DeleteMessageBatch", "QueueUrl=u", "DeleteMessageBatchRequestEntry", "entries", []),
        ("ChangeMessageVisibilityBatch", "QueueUrl=u", "ChangeMessageVisibilityBatchRequestEntry",
         "entries", []),
        ("TagQueue", "QueueUrl=u", "Tag", "tags", {}),
        ("UntagQueue", "QueueUrl=u", "TagKey", "tag_keys", []),
        ("AddPermission", "QueueUrl=u&Label=l&ActionName=*", "AWSAccountId",
         "aws_account_ids", []),
        ("AddPermission", "QueueUrl=u&Label=l&AWSAccountId=1", "ActionName", "actions", []),
    ],
)  # fmt: skip
def test_an_empty_value_is_an_empty_list_or_map(
    action: str, rest: str, name: str, attribute: str, empty: object, form: str
) -> None:
    request = decode(action, f"{rest}&{form.format(name)}")
    assert getattr(request, attribute) == empty


def test_every_list_and_map_of_a_request_has_an_empty_form() -> None:
    """The cases above leave none out."""
    lists_and_maps = {
        (action, member.query_name)
        for action, shape in REQUESTS.items()
        for member in shape.members
        if not isinstance(member.shape, Scalar)
    }
    assert len(lists_and_maps) == 16


def test_a_list_inside_an_entry_may_be_empty() -> None:
    form = (
        "QueueUrl=u&SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=b"
        "&SendMessageBatchRequestEntry.1.MessageAttribute="
        "&SendMessageBatchRequestEntry.2.Id=b&SendMessageBatchRequestEntry.2.MessageBody=b"
        "&SendMessageBatchRequestEntry.2.MessageAttribute.1.Name=n"
        "&SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.DataType=String"
        "&SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.StringListValue="
    )
    request = decode("SendMessageBatch", form)
    assert isinstance(request, SendMessageBatchRequest)
    first, second = request.entries
    assert first.message_attributes == {}
    assert second.message_attributes == {
        "n": MessageAttributeValue(data_type="String", string_list_values=[])
    }


@pytest.mark.parametrize(
    ("action", "form", "same"),
    [
        ("TagQueue", "QueueUrl=u&Tags.1.Key=a&Tags.1.Value=b",
         "QueueUrl=u&Tag.1.Key=a&Tag.1.Value=b"),
        ("TagQueue", "QueueUrl=u&Tags.entry.1.key=a&Tags.entry.1.value=b",
         "QueueUrl=u&Tag.1.Key=a&Tag.1.Value=b"),
        ("TagQueue", "QueueUrl=u&Tag.member.1.Key=a&Tag.member.1.Value=b",
         "QueueUrl=u&Tag.1.Key=a&Tag.1.Value=b"),
        ("UntagQueue", "QueueUrl=u&TagKeys.1=a&TagKeys.2=b", "QueueUrl=u&TagKey.1=a&TagKey.2=b"),
        ("UntagQueue", "QueueUrl=u&TagKeys.member.1=a", "QueueUrl=u&TagKey.1=a"),
        ("CreateQueue", "QueueName=q&Tags.1.Key=a&Tags.1.Value=b&Attributes.1.Name=c"
                        "&Attributes.1.Value=d",
         "QueueName=q&Tag.1.Key=a&Tag.1.Value=b&Attribute.1.Name=c&Attribute.1.Value=d"),
        ("CreateQueue", "QueueName=q&tags.entry.1.key=a&tags.entry.1.value=b"
                        "&Attributes.entry.1.key=c&Attributes.entry.1.value=d",
         "QueueName=q&Tag.1.Key=a&Tag.1.Value=b&Attribute.1.Name=c&Attribute.1.Value=d"),
        ("SetQueueAttributes", "QueueUrl=u&Attributes.1.Name=a&Attributes.1.Value=b",
         "QueueUrl=u&Attribute.1.Name=a&Attribute.1.Value=b"),
        ("GetQueueAttributes", "QueueUrl=u&AttributeNames.1=All", "QueueUrl=u&AttributeName.1=All"),
        ("ReceiveMessage", "QueueUrl=u&AttributeNames.1=a&MessageAttributeNames.1=b"
                           "&MessageSystemAttributeNames.1=c",
         "QueueUrl=u&AttributeName.1=a&MessageAttributeName.1=b&MessageSystemAttributeName.1=c"),
        ("SendMessage", "QueueUrl=u&MessageBody=b&MessageAttributes.1.Name=n"
                        "&MessageAttributes.1.Value.DataType=String"
                        "&MessageAttributes.1.Value.StringValue=v"
                        "&MessageSystemAttributes.1.Name=AWSTraceHeader"
                        "&MessageSystemAttributes.1.Value.DataType=String"
                        "&MessageSystemAttributes.1.Value.StringValue=v",
         "QueueUrl=u&MessageBody=b&MessageAttribute.1.Name=n"
         "&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=v"
         "&MessageSystemAttribute.1.Name=AWSTraceHeader"
         "&MessageSystemAttribute.1.Value.DataType=String"
         "&MessageSystemAttribute.1.Value.StringValue=v"),
        ("SendMessage", "QueueUrl=u&MessageBody=b&MessageAttribute.1.key=n"
                        "&MessageAttribute.1.value.DataType=String"
                        "&MessageAttribute.1.value.StringListValues.1=v",
         "QueueUrl=u&MessageBody=b&MessageAttribute.1.Name=n"
         "&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringListValue.1=v"),
        ("SendMessageBatch", "QueueUrl=u&Entries.member.1.Id=a&Entries.member.1.MessageBody=b"
                             "&Entries.member.1.MessageAttributes.entry.1.key=n"
                             "&Entries.member.1.MessageAttributes.entry.1.value.DataType=Binary"
                             "&Entries.member.1.MessageAttributes.entry.1.value"
                             ".BinaryListValues.member.1=AA%3D%3D",
         "QueueUrl=u&SendMessageBatchRequestEntry.1.Id=a"
         "&SendMessageBatchRequestEntry.1.MessageBody=b"
         "&SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n"
         "&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=Binary"
         "&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.BinaryListValue.1=AA%3D%3D"),
        ("DeleteMessageBatch", "QueueUrl=u&Entries.1.Id=a&Entries.1.ReceiptHandle=h",
         "QueueUrl=u&DeleteMessageBatchRequestEntry.1.Id=a"
         "&DeleteMessageBatchRequestEntry.1.ReceiptHandle=h"),
        ("ChangeMessageVisibilityBatch",
         "QueueUrl=u&Entries.1.Id=a&Entries.1.ReceiptHandle=h&Entries.1.VisibilityTimeout=1",
         "QueueUrl=u&ChangeMessageVisibilityBatchRequestEntry.1.Id=a"
         "&ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle=h"
         "&ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout=1"),
        ("AddPermission", "QueueUrl=u&Label=l&AWSAccountIds.1=1&Actions.1=*",
         "QueueUrl=u&Label=l&AWSAccountId.1=1&ActionName.1=*"),
    ],
)  # fmt: skip
def test_the_full_names_of_lists_and_maps_are_read_too(action: str, form: str, same: str) -> None:
    assert decode(action, form) == decode(action, same)


@pytest.mark.parametrize(
    ("action", "form", "parameter"),
    [
        ("ListQueues", "Colour.1.Hue=red", "Colour"),
        ("SendMessage", "QueueUrl=u&MessageBody=b&MessageAttribut.1.Name=n", "MessageAttribut"),
        ("SendMessage", "QueueUrl=u&MessageBody=b&delayseconds=9", "delayseconds"),
        ("SendMessage", "QueueUrl=u&MessageBody=b&messageattributes=9", "messageattributes"),
        ("SendMessage", "QueueUrl=u&MessageBody=b&MessageAttribute.1.Name=n"
                        "&MessageAttribute.1.Value.DataType=String"
                        "&MessageAttribute.1.Value.Stringvalue=v",
         "MessageAttribute.1.Value.Stringvalue"),
        ("SendMessage", "QueueUrl=u&MessageBody=b&MessageAttribute.1.Name=n"
                        "&MessageAttribute.1.Value.DataType=String"
                        "&MessageAttribute.1.Value.StringValue=v&MessageAttribute.1.Type=x",
         "MessageAttribute.1.Type"),
        ("SendMessageBatch", "QueueUrl=u&SendMessageBatchRequestEntry.1.Id=a"
                             "&SendMessageBatchRequestEntry.1.MessageBody=b"
                             "&SendMessageBatchRequestEntry.1.Delay=5",
         "SendMessageBatchRequestEntry.1.Delay"),
        ("TagQueue", "QueueUrl=u&Tag.1.Key=k&Tag.1.Value=v&Tag.1.Colour=c", "Tag.1.Colour"),
    ],
)  # fmt: skip
def test_what_would_be_lost_is_refused(action: str, form: str, parameter: str) -> None:
    message = f"The query parameter {parameter} is not one of the action's."
    assert refusal(action, form) == ("MalformedInput", message)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("Tag.1.Key=a&Tag.1.Value=b&Tags.1.Key=c&Tags.1.Value=d", "Tags is invalid. Its structure"),
        ("Tag.1.Key=a&Tag.1.Name=a&Tag.1.Value=b", "Tag.1.Name is invalid. Its structure"),
        ("Tag.1.Key=a&Tag.1.Value=b&Tag.2.Key=a&Tag.2.Value=c", "Tag holds a key twice."),
        ("Tag.member.1.Key=a&Tag.member.1.Value=b&Tag.2.Key=c&Tag.2.Value=d",
         "Tag is invalid. Its structure"),
        ("Tag.0.Key=a&Tag.0.Value=b&Tag.1.Key=c&Tag.1.Value=d", "0 is not a valid index"),
        ("Tag=x", "Tag has members and takes no value itself."),
    ],
)  # fmt: skip
def test_what_is_said_twice_or_in_two_ways_is_refused(form: str, reason: str) -> None:
    code, message = refusal("TagQueue", f"QueueUrl=u&{form}")
    assert code == "MalformedInput"
    assert reason in message
