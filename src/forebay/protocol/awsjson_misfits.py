"""What AWS says of a JSON body that is not an action's request.

Source: the answers of AWS's JSON front end, which is the same for many services: SQS in
https://github.com/async-aws/aws/issues/1667, Kinesis in `assertType` of
https://github.com/mhart/kinesalite/blob/master/test/helpers.js, and DynamoDB in the file of that
name of https://github.com/mhart/dynalite.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import Any

import msgspec

from forebay.protocol.shapes import REQUESTS, ListOf, MapOf, Scalar, Shape, Structure

_LIST = "Start of list found where not expected"
_OBJECT = "Start of structure or map found where not expected."
_NULL = "Null found where not expected"

_TYPE_NAMES: dict[type[Any], str] = {str: "a String", int: "an Integer", bytes: "a Blob"}

#: How much of a bad value is quoted, in characters.
_QUOTED_CHARACTERS_MAX = 50

#: What msgspec says of both: it looks for the other half of a surrogate pair and meets the end.
_TRUNCATED = "Input data was truncated"

#: The characters of Base64, without those that fill its end.
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


def describe_misfit(action: str, body: bytes) -> str:
    """What is wrong with a body that is JSON but not the action's request; the first of it."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return describe_unreadable(error)
    misfit = _LIST if isinstance(value, list) else None
    if isinstance(value, dict):
        misfit = _misfit(REQUESTS[action], value)
    return misfit or f"The request's body is not the JSON object that {action} takes."


def describe_unreadable(error: Exception) -> str:
    """What is wrong with a body that is no JSON; AWS does not say it."""
    if isinstance(error, UnicodeDecodeError):
        return "The request's body is not JSON: it is not UTF-8."
    if isinstance(error, RecursionError):
        return "The request's body is not JSON that can be read: it is nested too deeply."
    reason = str(error).partition(" - at ")[0]
    if reason == _TRUNCATED:
        reason = "it ends too early, or has half of a surrogate pair"
    return f"The request's body is not JSON: {reason}."


def _misfit(shape: Shape, value: Any) -> str | None:
    """What is wrong with a value; None when nothing is."""
    if value is None:
        return _NULL
    match shape:
        case Scalar(type=type_):
            return _scalar_misfit(type_, value)
        case ListOf(item=item):
            if isinstance(value, dict):
                return _OBJECT
            if not isinstance(value, list):
                return "Expected list or null"
            return _first(_misfit(item, each) for each in value)
        case MapOf(pair=pair):
            if isinstance(value, list):
                return _LIST
            if not isinstance(value, dict):
                return "Expected map or null"
            return _first(_misfit(pair.members[1].shape, each) for each in value.values())
        case Structure(members=members):
            if isinstance(value, list):
                return _LIST
            if not isinstance(value, dict):
                return "Expected null"
            shapes = {member.name: member.shape for member in members}
            return _first(
                _misfit(shapes[name], each)
                for name, each in value.items()
                if name in shapes and each is not None
            )


def _first(misfits: Iterable[str | None]) -> str | None:
    return next((misfit for misfit in misfits if misfit is not None), None)


def _scalar_misfit(type_: type[Any], value: Any) -> str | None:
    match value:
        case list():
            return _LIST
        case dict():
            return _OBJECT
        case bool():
            found, fits = str(value).upper(), False
        case int():
            found, fits = "NUMBER", type_ is int
        case float():
            found, fits = "DECIMAL", False
        case _ if type_ is bytes:
            return _base64_misfit(value)
        case _:
            found, fits = "STRING", type_ is str
    return None if fits else f"{found}_VALUE can not be converted to {_TYPE_NAMES[type_]}"


def _base64_misfit(text: str) -> str | None:
    quoted = f"'{text[:_QUOTED_CHARACTERS_MAX]}' can not be converted to a Blob: "
    if len(text) % 4:
        length = len(text)
        return (
            f"{quoted}Base64 encoded length is expected a multiple of 4 bytes but found: {length}"
        )
    wrong = next((character for character in text.rstrip("=") if character not in _BASE64), None)
    if wrong is None and "=" in text.rstrip("="):
        wrong = "="
    if wrong is not None:
        return f"{quoted}Invalid Base64 character: '{wrong}'"
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return f"{quoted}Invalid last non-pad Base64 character dectected"
    return None
