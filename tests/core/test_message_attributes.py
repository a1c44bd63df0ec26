"""Which message attributes SQS takes, and in which words it refuses the others.

Each row says where AWS's words come from. Where none were seen, the row says whose form it has.
"""

from __future__ import annotations

import pytest

from forebay.protocol.actions import (
    MessageAttributes,
    MessageAttributeValue,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageRequest,
)
from forebay.protocol.errors import SqsError
from tests.core.harness import Sqs, url_of

#: Where a row comes from.
LOCALSTACK = (
    "github.com/localstack/localstack/blob/main/tests/aws/services/sqs/test_sqs.snapshot.json"
)
LOCAL_AWS_SQS = "github.com/Inqnuam/local-aws-sqs, src/validators and test/send-message.test.ts"
NITRO = "the form that the body has in github.com/asim/nitro-plugins/issues/437"
SNS = "the form that SNS has for the same"

ALLOWED = "#x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]"
TYPES = "You must use only the following supported type prefixes: Binary, Number, String."
LISTS = "Message attribute list values in {} operation are not supported."
NOT_A_NUMBER = "Can't cast the value of message (user) attribute 'n' to a number."


def string(value: str, data_type: str = "String") -> MessageAttributeValue:
    return MessageAttributeValue(data_type=data_type, string_value=value)


def binary(value: bytes, data_type: str = "Binary") -> MessageAttributeValue:
    return MessageAttributeValue(data_type=data_type, binary_value=value)


def unlawful(character: str, place: str) -> str:
    return (
        f"Invalid binary character '{character}' was found in the message (user) attribute 'n'"
        f" {place}, the set of allowed characters is {ALLOWED}"
    )


REFUSED: list[tuple[MessageAttributes, str, str]] = [
    ({f"n{index}": string("v") for index in range(11)},
     "Number of message attributes [11] exceeds the allowed maximum [10].",
     "github.com/aws/aws-sdk-js/issues/2876"),
    ({"": string("v")},
     "The request must contain non-empty message (user) attribute names.", LOCAL_AWS_SQS),
    ({"n" * 257: string("v")},
     "Message (user) attribute name must be shorter than 256 bytes.", LOCAL_AWS_SQS),
    ({"AWS.trace": string("v")},
     "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'."
     " These strings are reserved for internal use.", LOCAL_AWS_SQS),
    ({"aMaZoN.trace": string("v")},
     "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'."
     " These strings are reserved for internal use.", LOCAL_AWS_SQS),
    ({".dot": string("v")},
     "Message (user) attribute name must not begin with character '.'.", LOCAL_AWS_SQS),
    ({"dot.": string("v")},
     "Message (user) attribute name must not end with character '.'.", LOCAL_AWS_SQS),
    ({"a..b": string("v")},
     "Message (user) attribute name must not have successive '.' characters.", LOCAL_AWS_SQS),
    *(({name: string("v")},
       f"The message attribute name '{name}' is invalid. Attribute name can contain A-Z, a-z, 0-9,"
       " underscore (_), hyphen (-), and period (.) characters.",
       "github.com/getmoto/moto, tests/test_sqs/test_sqs.py")
      for name in ("with space", "a!b", 'a"b', "a:b", "a/b", "a(b", "a\u00a7b", "a\nb", "\ud800")),
    ({"n": MessageAttributeValue()},
     "The message (user) attribute 'n' must contain a non-empty message attribute value.",
     LOCAL_AWS_SQS),
    ({"n": string("v", "")},
     "The message (user) attribute 'n' must contain a non-empty message attribute type.",
     LOCAL_AWS_SQS),
    *(({"n": string("v", data_type)},
       f"The type of message (user) attribute 'n' is invalid. {TYPES}",
       "github.com/grafana/k6-jslib-aws/pull/65")
      for data_type in ("Text", "string", "Strings", "StringList", "Number,int", ".String",
                        " String")),
    ({"n": string("v", "String." + "x" * 250)},
     "Message (user) attribute type must be shorter than 256 bytes.", LOCAL_AWS_SQS),
    ({"n": string("v", "String.\x07")}, unlawful("#x7", "type"), NITRO),
    ({"n": string("v", "Number.\uffff")}, unlawful("#xFFFF", "type"), NITRO),
    ({"n": string("")},
     "Message (user) attribute 'n' must contain a non-empty value of type 'String'.", LOCALSTACK),
    ({"n": string("", "Number.int")},
     "Message (user) attribute 'n' must contain a non-empty value of type 'Number'.",
     "the row above"),
    ({"n": binary(b"")},
     "Message (user) attribute 'n' must contain a non-empty value of type 'Binary'.",
     "the row above"),
    ({"n": MessageAttributeValue(data_type="String", string_value="v", binary_value=b"")},
     "Message (user) attribute 'n' must contain a non-empty value of type 'String'.",
     LOCAL_AWS_SQS),
    ({"n": MessageAttributeValue(data_type="String")},
     "Message (user) attribute 'n' must contain a non-empty value of type 'String'.",
     LOCAL_AWS_SQS),
    ({"n": MessageAttributeValue(data_type="String", string_value="a", binary_value=b"a")},
     "Message (user) attribute 'n' must have a single value.", LOCAL_AWS_SQS),
    ({"n": string("v", "Binary")},
     "Message (user) attribute 'n' with type 'Binary' must use field 'Binary'.", LOCAL_AWS_SQS),
    ({"n": binary(b"v", "String")},
     "Message (user) attribute 'n' with type 'String' must use field 'String'.", LOCAL_AWS_SQS),
    ({"n": binary(b"7", "Number")},
     "Message (user) attribute 'n' with type 'Number' must use field 'String'.", SNS),
    ({"n": string("\x00")}, unlawful("#x0", "value"), NITRO),
    ({"n": string("a\x08b\x0b")}, unlawful("#x8", "value"), NITRO),
    ({"n": string("\ufffe")}, unlawful("#xFFFE", "value"), NITRO),
    ({"n": string("a\ud800")}, unlawful("#xD800", "value"), NITRO),
    *(({"n": string(number, "Number")}, NOT_A_NUMBER,
       LOCAL_AWS_SQS)
      for number in ("many", "1_0", " 5", "5 ", "5\n", "\u0663", "0x10", "1,5", "1.2.3", "+", ".",
                     "e5", "1e", "NaN", "Infinity", "1" * 39, "0." + "1" * 39, "1e127", "-2e126",
                     "1e-129", "9e-129", "1e99999999999")),
]  # fmt: skip


def send(sqs: Sqs, attributes: MessageAttributes) -> None:
    request = SendMessageRequest(
        queue_url=url_of("jobs"), message_body="a", message_attributes=attributes
    )
    sqs.call(request)


@pytest.fixture
def sqs() -> Sqs:
    sqs = Sqs()
    sqs.create("jobs")
    return sqs


@pytest.mark.parametrize(("attributes", "text", "source"), REFUSED)
def test_attributes_that_are_refused(
    sqs: Sqs, attributes: MessageAttributes, text: str, source: str
) -> None:
    with pytest.raises(SqsError) as refusal:
        send(sqs, attributes)
    assert (refusal.value.code, refusal.value.message) == ("InvalidParameterValue", text), source
    assert sqs.counts("jobs") == (0, 0, 0)


@pytest.mark.parametrize(
    "attributes",
    [
        {"n" * 256: string("v")},
        {"n\u00e4me-1_2.3": string("v")},
        {"AWSome": string("v"), "amazonian": string("v")},
        {"n": string("\t\r\n \U0001f600")},
        {"n": string("v", "String." + "x" * 249)},
        {"n": string("v", "String.\u65e5 label!")},
        {"n": binary(b"\x00")},
        *({"n": string(number, "Number.label")}
          for number in ("0", "-0.0", "007", "+7", "-1.5e3", ".5", "5.", "1" * 38, "1" * 38 + "000",
                         "0.000" + "1" * 38, "1e126", "-1E+126", "1e-128", "10" + "0" * 125)),
    ],
)  # fmt: skip
def test_attributes_that_are_taken(sqs: Sqs, attributes: MessageAttributes) -> None:
    send(sqs, attributes)
    assert sqs.counts("jobs") == (1, 0, 0)


@pytest.mark.parametrize(
    "value",
    [
        MessageAttributeValue(data_type="StringList", string_list_values=["a"]),
        MessageAttributeValue(data_type="BinaryList", binary_list_values=[b"a"]),
        MessageAttributeValue(data_type="String", string_value="a", string_list_values=[]),
        MessageAttributeValue(data_type="Binary", binary_value=b"a", binary_list_values=[]),
    ],
)
@pytest.mark.parametrize("members", ["message_attributes", "message_system_attributes"])
def test_lists_are_refused_even_when_they_are_empty(
    sqs: Sqs, members: str, value: MessageAttributeValue
) -> None:
    """Source: https://github.com/ruby-shoryuken/shoryuken/issues/769 (AWS JSON) and
    https://github.com/lumigo-io/lumigo-CLI/issues/94 (Query), where a received message with empty
    lists was sent again, in a batch."""
    message = {"message_body": "a", members: {"n": value}}
    single = SendMessageRequest(queue_url=url_of("jobs"), **message)  # type: ignore[arg-type]
    bad = SendMessageBatchRequestEntry(id="0", **message)  # type: ignore[arg-type]
    good = SendMessageBatchRequestEntry(id="1", message_body="a")
    batch = SendMessageBatchRequest(queue_url=url_of("jobs"), entries=[good, bad])
    for action, request in (("SendMessage", single), ("SendMessageBatch", batch)):
        with pytest.raises(SqsError) as refusal:
            sqs.call(request)
        assert refusal.value.code == "AWS.SimpleQueueService.UnsupportedOperation"
        assert refusal.value.message == LISTS.format(action)
    assert sqs.counts("jobs") == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("Hello", string("v"), "Message system attribute name 'Hello' is invalid."),
        ("AWSTraceHeader", string("v", "Number"),
         "Can't cast the value of message system attribute 'AWSTraceHeader' to a number."),
        ("AWSTraceHeader", string("5", "Number"),
         "The type of message system attribute 'AWSTraceHeader' is invalid."
         " You must use only the following supported type: String."),
        ("AWSTraceHeader", binary(b"v"),
         "The type of message system attribute 'AWSTraceHeader' is invalid."
         " You must use only the following supported type: String."),
        ("AWSTraceHeader", string("v", "String.label"),
         "The type of message system attribute 'AWSTraceHeader' is invalid."
         " You must use only the following supported type: String."),
        ("AWSTraceHeader", string("v", "Text"),
         f"The type of message system attribute 'AWSTraceHeader' is invalid. {TYPES}"),
        ("AWSTraceHeader", string(""),
         "Message system attribute 'AWSTraceHeader' must contain a non-empty value of type"
         " 'String'."),
        ("AWSTraceHeader", string("\x07"),
         "Invalid binary character '#x7' was found in the message system attribute"
         f" 'AWSTraceHeader' value, the set of allowed characters is {ALLOWED}"),
    ],
)  # fmt: skip
def test_system_attributes_that_are_refused(
    sqs: Sqs, name: str, value: MessageAttributeValue, text: str
) -> None:
    """Source: github.com/Inqnuam/local-aws-sqs, and API SendMessage: "its type must be String"."""
    with pytest.raises(SqsError) as refusal:
        sqs.call(
            SendMessageRequest(
                queue_url=url_of("jobs"), message_body="a", message_system_attributes={name: value}
            )
        )
    assert (refusal.value.code, refusal.value.message) == ("InvalidParameterValue", text)
