"""LocalStack's look at the messages of a queue, for tests that were written against it.

`GET` or `POST /_aws/sqs/messages` with a `QueueUrl`, or `/_aws/sqs/messages/REGION/ACCOUNT/NAME`,
is answered as ReceiveMessage is, and receives nothing. `ShowInvisible=true` adds the messages in
flight and `ShowDelayed=true` the delayed ones.

Source: https://docs.localstack.cloud/aws/services/sqs/#developer-endpoints
"""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import parse_qs, unquote

import msgspec
from msgspec import Struct

from forebay.protocol.actions import (
    AnyResult,
    Message,
    MessageAttributeValue,
    ReceiveMessageRequest,
    ReceiveMessageResult,
)
from forebay.protocol.awsquery import QueryCall
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, Fault, SqsError

#: Where the look is.
LOOK = b"/_aws/sqs/messages"

_INVALID_REQUEST = Fault(
    "InvalidRequest", "InvalidRequest", "This endpoint only accepts ReceiveMessage calls"
)


class Look(Struct, frozen=True):
    """What is to be looked at."""

    queue_url: str
    #: The region that the path names; None without one.
    region: str | None
    invisible: bool
    delayed: bool


class LookCall(QueryCall, frozen=True):
    """How the answer is written: as ReceiveMessage's, but for LocalStack's own form of JSON."""

    def encode(
        self, answer: AnyResult | SqsError, request_id: str
    ) -> tuple[int, dict[str, str], bytes]:
        if not self.accepts_json:
            return super().encode(answer, request_id)
        status, content = 200, dict[str, object]()
        if isinstance(answer, SqsError):
            status, fault = answer.fault.http_status, answer.fault
            error = {
                "Type": "Sender" if fault.sender else "Receiver",
                "Code": fault.query_code,
                "Message": answer.message,
            }
            content = {"ErrorResponse": {"Error": error, "RequestId": request_id}}
        elif isinstance(answer, ReceiveMessageResult):
            messages = [_message(message) for message in answer.messages or ()]
            result = {"Message": _one_or_many(messages)} if messages else None
            content = {
                "ReceiveMessageResponse": {
                    "ReceiveMessageResult": result,
                    "ResponseMetadata": {"RequestId": request_id},
                }
            }
        return status, {"Content-Type": "application/json"}, msgspec.json.encode(content)


def is_look(path: bytes) -> bool:
    """Whether this is the path of a look."""
    return path == LOOK or path.startswith(LOOK + b"/")


def look_call(accept: bytes) -> LookCall:
    """What writes the answer to a client that accepts this."""
    return LookCall(ReceiveMessageRequest(queue_url=""), b"application/json" in accept.lower())


def read_look(path: bytes, *forms: bytes) -> Look:
    """Read a look from its path, query string and form.

    Raises SqsError: InvalidRequest for another action, QueueDoesNotExist where no queue is named.
    """
    given = parse_qs("&".join(form.decode("latin-1") for form in forms))
    if given.get("Action", ["ReceiveMessage"])[0] != "ReceiveMessage":
        raise SqsError(_INVALID_REQUEST)
    parts = unquote(path[len(LOOK) :].decode("latin-1")).strip("/").split("/")
    region = None
    if len(parts) == 3:
        region, url = parts[0], f"/{parts[1]}/{parts[2]}"
    elif parts == [""] and "QueueUrl" in given:
        url = given["QueueUrl"][0]
    else:
        raise SqsError(QUEUE_DOES_NOT_EXIST)
    return Look(url, region, _is_true(given, "ShowInvisible"), _is_true(given, "ShowDelayed"))


def _is_true(given: dict[str, list[str]], name: str) -> bool:
    return given.get(name, [""])[0].lower() in {"true", "1"}


def _message(message: Message) -> dict[str, object]:
    shown: dict[str, object] = {
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt_handle,
        "MD5OfBody": message.md5_of_body,
        "Body": message.body,
        "Attribute": [
            {"Name": name, "Value": value} for name, value in (message.attributes or {}).items()
        ],
    }
    if message.message_attributes:
        shown["MD5OfMessageAttributes"] = message.md5_of_message_attributes
        shown["MessageAttribute"] = _one_or_many(
            [
                {
                    "Name": name,
                    "Value": _value(value),
                }
                for name, value in message.message_attributes.items()
            ]
        )
    return shown


def _value(value: MessageAttributeValue) -> dict[str, str]:
    shown = {"DataType": value.data_type}
    if value.string_value is not None:
        shown["StringValue"] = value.string_value
    if value.binary_value is not None:
        shown["BinaryValue"] = b64encode(value.binary_value).decode()
    return shown


def _one_or_many(items: list[dict[str, object]]) -> object:
    """LocalStack makes its JSON of XML, where one element is no list."""
    return items[0] if len(items) == 1 else items
