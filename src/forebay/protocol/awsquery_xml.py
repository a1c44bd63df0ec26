"""Answers of the Query protocol as XML.

Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-responses.html
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any, TypeAlias

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

CONTENT_TYPE = "text/xml"

#: The namespace of the 2012-11-05 version of SQS, which is its last.
NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"

_DECLARATION = '<?xml version="1.0"?>'

#: What XML 1.0 has no place for, in UTF-8: control characters, and two characters that are none.
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\r")
_WITHOUT_CONTROLS = bytes.maketrans(_CONTROLS, b"?" * len(_CONTROLS))
_NONCHARACTERS = ("\ufffe".encode(), "\uffff".encode())

_Writer: TypeAlias = Callable[[Any], str]


def encode_result(action: str, result: AnyResult, request_id: str) -> bytes:
    """The document that answers an action with `result`."""
    return _document(
        f'<{action}Response xmlns="{NAMESPACE}">{_result_writers[action](result)}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        f"</{action}Response>"
    )


def encode_error(fault: Fault, message: str, request_id: str) -> bytes:
    """The document that answers with an error."""
    return _document(
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error>'
        f"<Type>{'Sender' if fault.sender else 'Receiver'}</Type>"
        f"<Code>{_text(fault.query_code)}</Code>"
        f"<Message>{_text(message)}</Message><Detail/></Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )


def _document(root: str) -> bytes:
    """The bytes of a document.

    A message has no character that XML lacks, but an error may quote one. It becomes a "?".
    """
    encoded = (_DECLARATION + root).encode(errors="replace").translate(_WITHOUT_CONTROLS)
    for noncharacter in _NONCHARACTERS:
        encoded = encoded.replace(noncharacter, b"?")
    return encoded


def _text(value: str) -> str:
    """A string as the content of an element. A parser would turn a bare CR into an LF."""
    escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("\r", "&#xD;")


def _element(name: str, content: str) -> str:
    return f"<{name}>{content}</{name}>" if content else f"<{name}/>"


_SCALAR_WRITERS: dict[type[Any], _Writer] = {
    str: _text,
    int: str,
    bool: lambda value: "true" if value else "false",
    bytes: lambda value: b64encode(value).decode(),
}


def _writer(name: str, shape: Shape) -> _Writer:
    """What writes a value as elements of that name: one, or one for each item."""
    match shape:
        case Scalar(type=type_):
            write = _SCALAR_WRITERS[type_]
            return lambda value: _element(name, write(value))
        case ListOf(item=item):
            write_item = _writer(name, item)
            return lambda items: "".join(map(write_item, items))
        case MapOf(pair=pair):
            write_pair = _writer(name, pair)
            return lambda items: "".join(map(write_pair, map(Pair._make, items.items())))
        case Structure(members=members):
            writers = [
                (member.attribute, _writer(member.query_name, member.shape)) for member in members
            ]

            def write_structure(owner: Any) -> str:
                content = ""
                for attribute, write in writers:
                    value = getattr(owner, attribute)
                    if value is not None:
                        content += write(value)
                return _element(name, content)

            return write_structure


# An action that has nothing to say has no element for its result either.
_result_writers = {
    action: _writer(f"{action}Result", shape) if shape.members else lambda _: ""
    for action, shape in RESULTS.items()
}
