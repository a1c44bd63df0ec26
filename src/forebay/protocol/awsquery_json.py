"""Answers of the Query protocol to a client that accepts JSON.

This is the older of SQS's two JSON forms: the elements of the XML as objects, but with every member
present, null where there is nothing, and a map as a list of pairs.

Source: answers of SQS that API Gateway passes on, in
https://github.com/aws-samples/serverless-patterns/tree/main/APIGateway-SQS-ReceiveMessages
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from msgspec.json import Encoder

from forebay.protocol.actions import AnyResult
from forebay.protocol.errors import Fault
from forebay.protocol.shapes import (
    RESULTS,
    ListOf,
    MapOf,
    Pair,
    Scalar,
    Shape,
    Structure,
)

CONTENT_TYPE = "application/json"

#: Members that this form spells with a small letter.
_SMALL_NAMES = {"Messages": "messages", "QueueUrls": "queueUrls"}

#: Makes of a value what the encoder writes.
_Writer: TypeAlias = Callable[[Any], Any]

_encode = Encoder(order="sorted").encode


def encode_result(action: str, result: AnyResult, request_id: str) -> bytes:
    """The object that answers an action with `result`."""
    response: dict[str, object] = {"ResponseMetadata": {"RequestId": request_id}}
    members = _result_writers[action](result)
    if members:
        response[f"{action}Result"] = members
    return _encode({f"{action}Response": response})


def encode_error(fault: Fault, message: str, request_id: str) -> bytes:
    """The object that answers with an error."""
    error = {
        "Type": "Sender" if fault.sender else "Receiver",
        "Code": fault.query_code,
        "Message": message,
    }
    return _encode({"Error": error, "RequestId": request_id})


def _writer(shape: Shape) -> _Writer:
    match shape:
        case Scalar():
            return lambda value: value
        case ListOf(item=item):
            write_item = _writer(item)
            return lambda items: [write_item(item) for item in items] or None
        case MapOf(pair=pair):
            write_pair = _writer(pair)
            return lambda items: [write_pair(Pair(*item)) for item in items.items()] or None
        case Structure(members=members):
            writers = [
                (
                    _SMALL_NAMES.get(member.name, member.name),
                    member.attribute,
                    _writer(member.shape),
                )
                for member in members
            ]

            def write(owner: Any) -> dict[str, object]:
                return {
                    name: None if (value := getattr(owner, attribute)) is None else write(value)
                    for name, attribute, write in writers
                }

            return write


_result_writers = {action: _writer(shape) for action, shape in RESULTS.items()}
