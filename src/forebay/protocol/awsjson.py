"""AWS JSON 1.0: how requests, answers and errors are written between SDKs and SQS.

A request is a POST whose `X-Amz-Target` header names the action and whose body is a JSON object of
its members. An error answers with the shape's name in `__type` and, for the SDKs that know the
older Query protocol, with that protocol's code in `x-amzn-query-error`.

Source: https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html and
https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#aws-protocols-awsquerycompatible-trait
"""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import MsgspecError, Struct, ValidationError, field
from msgspec.json import Decoder, Encoder

from forebay.protocol.actions import ACTION_OF, ACTIONS, AnyRequest, AnyResult
from forebay.protocol.awsjson_misfits import describe_misfit, describe_unreadable
from forebay.protocol.errors import (
    INTERNAL_FAILURE,
    SERIALIZATION_EXCEPTION,
    UNKNOWN_OPERATION,
    SqsError,
    fault_from_wire,
    missing_parameter,
)

#: The content type of requests and answers.
CONTENT_TYPE = "application/x-amz-json-1.0"

#: The header that names the action, and what stands before the action's name in it.
TARGET_HEADER = "X-Amz-Target"
TARGET_PREFIX = "AmazonSQS."

#: The header that carries the Query protocol's code and whose fault it is: `code;Sender`.
QUERY_ERROR_HEADER = "x-amzn-query-error"

#: What stands before the shape's name in `__type`.
ERROR_NAMESPACE = "com.amazonaws.sqs#"

#: How much of an answer that is no JSON is quoted in the error, in characters.
_QUOTED_CHARACTERS_MAX = 200


class _ErrorBody(Struct):
    type_: str = field(name="__type", default="")
    message: str | None = None
    #: Some of AWS's front ends write it so.
    capital_message: str | None = field(name="Message", default=None)


class _ErrorAnswer(Struct):
    type_: str = field(name="__type")
    message: str


_encode = Encoder().encode

#: The body that answers with a result.
encode_result: Callable[[AnyResult], bytes] = _encode

_error_decoder = Decoder(_ErrorBody)
_request_decoders = {name: Decoder(action.request_type) for name, action in ACTIONS.items()}
_result_decoders = {name: Decoder(action.result_type) for name, action in ACTIONS.items()}

#: What reading a JSON text raises: msgspec's own errors, bytes that are no UTF-8, and nesting that
#: is deeper than the interpreter allows.
_UNREADABLE = (MsgspecError, UnicodeDecodeError, RecursionError)

_MISSING_MEMBER = re.compile(r"missing required field `(?P<member>\w+)`(?: - at `\$(?P<path>.*)`)?")
_NULL_MEMBER = re.compile(r"Expected `\w+`, got `null` - at `\$(?P<path>.*)\.(?P<member>\w+)`")
_ENTRY = re.compile(r"Entries\[(\d+)\]")


def encode_request(request: AnyRequest) -> tuple[str, bytes]:
    """The action's name and the body that ask for `request`."""
    return ACTION_OF[type(request)].name, _encode(request)


def decode_request(action: str, body: bytes) -> AnyRequest:
    """What a body asks of an action. An empty body is an object without members.

    Raises SqsError: UnknownOperationException for an action that is not known,
    MissingRequiredParameterException for a member that is missing or null, and
    SerializationException for anything else that is not the action's JSON.
    """
    decoder = _request_decoders.get(action)
    if decoder is None:
        raise SqsError(UNKNOWN_OPERATION, f"The operation {action} is not known.")
    try:
        return decoder.decode(body or b"{}")
    except ValidationError as error:
        missing = _missing_parameter(action, str(error))
        if missing is None:
            raise SqsError(SERIALIZATION_EXCEPTION, describe_misfit(action, body)) from error
        raise missing_parameter(action, missing) from error
    except _UNREADABLE as error:
        raise SqsError(SERIALIZATION_EXCEPTION, describe_unreadable(error)) from error


def decode_result(action: str, body: bytes) -> AnyResult:
    """What a body answers to an action. An empty body is an answer without members.

    Raises SqsError (InternalFailure) when the body is not that answer.
    """
    try:
        return _result_decoders[action].decode(body or b"{}")
    except _UNREADABLE as error:
        raise SqsError(
            INTERNAL_FAILURE, f"The answer to {action} could not be read: {error}"
        ) from error


def encode_error(error: SqsError) -> tuple[int, dict[str, str], bytes]:
    """The HTTP status, the headers and the body that answer with `error`."""
    fault = error.fault
    headers = {
        "Content-Type": CONTENT_TYPE,
        QUERY_ERROR_HEADER: f"{fault.query_code};{'Sender' if fault.sender else 'Receiver'}",
    }
    return (
        fault.http_status,
        headers,
        _encode(_ErrorAnswer(ERROR_NAMESPACE + fault.name, error.message)),
    )


def decode_error(http_status: int, query_error: str | None, body: bytes) -> SqsError:
    """The error in an answer whose status is not 200; `query_error` is the header of that name.

    An answer that is no AWS JSON, such as a proxy's page, becomes an error that is named after the
    status and quotes the answer.
    """
    query_code = query_error.partition(";")[0] if query_error else None
    try:
        answer = _error_decoder.decode(body)
    except _UNREADABLE:
        answer = _ErrorBody(message=body[:_QUOTED_CHARACTERS_MAX].decode(errors="replace"))
    name = answer.type_.rpartition("#")[2].partition(":")[0] or query_code or f"Http{http_status}"
    message = answer.message or answer.capital_message
    return SqsError(fault_from_wire(name, query_code, http_status), message)


def _missing_parameter(action: str, reason: str) -> str | None:
    """The parameter that msgspec misses, in the words of SQS; None when it misses none.

    SQS counts the entries of a batch from 1: `SendMessageBatchRequestEntry.1.MessageBody`.
    """
    found = _MISSING_MEMBER.search(reason) or _NULL_MEMBER.search(reason)
    if found is None:
        return None
    path = (found["path"] or "").replace("[...]", "")
    path = _ENTRY.sub(lambda entry: f"{action}RequestEntry.{int(entry[1]) + 1}", path)
    return f"{path}.{found['member']}".lstrip(".")
