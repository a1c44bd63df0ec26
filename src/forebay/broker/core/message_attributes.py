"""What SQS refuses in the attributes of a message, with its texts.

Source: SQSDeveloperGuide/sqs-message-metadata.html. Where the texts were seen stands beside each of
them in tests/core/test_message_attributes.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from forebay.broker.core.validation import encoded_text, forbidden_character
from forebay.protocol import errors, limits
from forebay.protocol.actions import MessageAttributes, MessageAttributeValue, MessageToSend
from forebay.protocol.errors import SqsError

_NAME = re.compile(r"[\w.-]+")

#: The types, and the field of a value that each has.
_FIELDS = {"String": "String", "Number": "String", "Binary": "Binary"}

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,9})?", re.ASCII)

#: The one message system attribute that a sender may set.
_SENDABLE_SYSTEM_ATTRIBUTE = "AWSTraceHeader"


def attributes_size_bytes(attributes: Mapping[str, MessageAttributeValue]) -> int:
    """What the attributes count towards the size of the message: each name, type and value."""
    size = 0
    for name, value in attributes.items():
        size += len(name.encode("utf-8", "replace")) + len(value.data_type.encode())
        size += len(value.binary_value or b"")
        size += len((value.string_value or "").encode("utf-8", "replace"))
    return size


def check_message_attributes(attributes: MessageAttributes) -> None:
    """Raise SqsError when SQS would refuse the attributes of a message."""
    if len(attributes) > limits.MESSAGE_ATTRIBUTES_MAX:
        raise _invalid(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum"
            f" [{limits.MESSAGE_ATTRIBUTES_MAX}]."
        )
    for name, value in attributes.items():
        _check_name(name)
        _check_value(f"(user) attribute '{name}'", value)


def refuse_lists(message: MessageToSend, action: str) -> None:
    """Raise SqsError when a message has an attribute with a list of values, be it empty."""
    for attributes in (message.message_attributes, message.message_system_attributes):
        if not attributes:
            continue
        for value in attributes.values():
            if value.string_list_values is not None or value.binary_list_values is not None:
                raise SqsError(
                    errors.UNSUPPORTED_OPERATION,
                    f"Message attribute list values in {action} operation are not supported.",
                )


def trace_header(system_attributes: MessageAttributes | None) -> str | None:
    """The AWSTraceHeader that a sender set. Raises SqsError for any other system attribute."""
    if not system_attributes:
        return None
    for name, value in system_attributes.items():
        if name != _SENDABLE_SYSTEM_ATTRIBUTE:
            raise _invalid(f"Message system attribute name '{name}' is invalid.")
        attribute = f"system attribute '{name}'"
        _check_value(attribute, value)
        if value.data_type != "String":
            raise _invalid(
                f"The type of message {attribute} is invalid. You must use only the following"
                " supported type: String."
            )
    return system_attributes[_SENDABLE_SYSTEM_ATTRIBUTE].string_value


def _invalid(message: str) -> SqsError:
    return SqsError(errors.INVALID_PARAMETER_VALUE, message)


def _check_name(name: str) -> None:
    if not name:
        raise _invalid("The request must contain non-empty message (user) attribute names.")
    if len(name) > limits.MESSAGE_ATTRIBUTE_NAME_CHARACTERS_MAX:
        raise _invalid(
            "Message (user) attribute name must be shorter than"
            f" {limits.MESSAGE_ATTRIBUTE_NAME_CHARACTERS_MAX} bytes."
        )
    if name.lower().startswith(("aws.", "amazon.")):
        raise _invalid(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'."
            " These strings are reserved for internal use."
        )
    if name.startswith("."):
        raise _invalid("Message (user) attribute name must not begin with character '.'.")
    if name.endswith("."):
        raise _invalid("Message (user) attribute name must not end with character '.'.")
    if ".." in name:
        raise _invalid("Message (user) attribute name must not have successive '.' characters.")
    if not _NAME.fullmatch(name):
        raise _invalid(
            f"The message attribute name '{name}' is invalid. Attribute name can contain A-Z, a-z,"
            " 0-9, underscore (_), hyphen (-), and period (.) characters."
        )


def _check_value(attribute: str, value: MessageAttributeValue) -> None:
    """Raise SqsError unless SQS takes the value of the attribute that its texts call so."""
    if not value.data_type:
        lacking = "type" if value.string_value or value.binary_value else "value"
        raise _invalid(
            f"The message {attribute} must contain a non-empty message attribute {lacking}."
        )
    kind = value.data_type.partition(".")[0]
    field = _FIELDS.get(kind)
    if field is None:
        raise _invalid(
            f"The type of message {attribute} is invalid. You must use only the"
            " following supported type prefixes: Binary, Number, String."
        )
    if len(value.data_type) > limits.MESSAGE_ATTRIBUTE_TYPE_CHARACTERS_MAX:
        raise _invalid(
            f"Message {attribute.partition(' ')[0]} attribute type must be shorter than"
            f" {limits.MESSAGE_ATTRIBUTE_TYPE_CHARACTERS_MAX} bytes."
        )
    _check_characters(value.data_type, f"message {attribute} type")
    given = [field for field in (value.string_value, value.binary_value) if field is not None]
    if not given or not all(given):
        raise _invalid(f"Message {attribute} must contain a non-empty value of type '{kind}'.")
    if len(given) > 1:
        raise _invalid(f"Message {attribute} must have a single value.")
    if bool(value.binary_value) != (field == "Binary"):
        raise _invalid(f"Message {attribute} with type '{kind}' must use field '{field}'.")
    if value.string_value:
        _check_characters(value.string_value, f"message {attribute} value")
        if kind == "Number" and not _is_number(value.string_value):
            raise _invalid(f"Can't cast the value of message {attribute} to a number.")


def _check_characters(text: str, place: str) -> None:
    if encoded_text(text) is None:
        raise _invalid(forbidden_character(text, place))


def _is_number(text: str) -> bool:
    """Whether SQS takes the text as a number: by its form, its digits and its size."""
    if not _NUMBER.fullmatch(text):
        return False
    number = Decimal(text)
    if not number:
        return True
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    return (
        len(digits) <= limits.NUMBER_DIGITS_MAX
        and limits.NUMBER_MIN <= number.copy_abs() <= limits.NUMBER_MAX
    )
