"""What an HTTP request asks of SQS, in either of its protocols."""

from __future__ import annotations

from collections.abc import Mapping

from forebay.broker.head import Head
from forebay.protocol import awsquery, errors
from forebay.protocol.actions import (
    ACTION_OF,
    ACTIONS,
    AnyRequest,
    GetQueueAttributesRequest,
    GetQueueUrlRequest,
    ListDeadLetterSourceQueuesRequest,
    ListMessageMoveTasksRequest,
    ListQueuesRequest,
    ListQueueTagsRequest,
    add_trace_header,
)
from forebay.protocol.awsjson import TARGET_HEADER, TARGET_PREFIX, decode_request
from forebay.protocol.awsquery import QueryCall
from forebay.protocol.errors import SqsError

#: The header that names the action of an AWS JSON request.
TARGET = TARGET_HEADER.lower().encode()

#: The header that becomes a message's AWSTraceHeader.
#: Source: SQSDeveloperGuide/sqs-message-metadata.html
TRACE_HEADER = b"x-amzn-trace-id"

#: The requests that change nothing, and may therefore come as an unsigned GET.
_READING = (
    GetQueueAttributesRequest,
    GetQueueUrlRequest,
    ListDeadLetterSourceQueuesRequest,
    ListMessageMoveTasksRequest,
    ListQueueTagsRequest,
    ListQueuesRequest,
)

_ACTIONS = {(TARGET_PREFIX + name).encode(): name for name in ACTIONS}


def is_json_call(head: Head) -> bool:
    """Whether a request is AWS JSON, a POST that names its action in a header."""
    return TARGET in head.headers and head.method == b"POST"


def read_query(head: Head, body: bytes) -> QueryCall:
    """What a request of the Query protocol asks for, and how it is answered."""
    headers = head.headers
    return awsquery.decode(
        head.url, headers.get(b"content-type", b""), headers.get(b"accept", b""), body
    )


def read_json(head: Head, body: bytes) -> tuple[str, AnyRequest]:
    """The action and the request of an AWS JSON call. Raises SqsError."""
    target = head.headers.get(TARGET, b"")
    action = _ACTIONS.get(target)
    if action is None:
        raise _unknown_action(target)
    return action, decode_request(action, body)


def give_trace(request: AnyRequest, headers: Mapping[bytes, bytes]) -> bool:
    """Give what is sent the trace header of its HTTP request. Answers whether there is one."""
    trace_header = headers.get(TRACE_HEADER)
    if trace_header is None:
        return False
    add_trace_header(request, trace_header.decode("latin-1"))
    return True


def check_may_come_unsigned(request: AnyRequest, headers: Mapping[bytes, bytes]) -> None:
    """A GET without a signature may be a picture in some web page, or a link in a mail.

    A signature in the URL counts for nothing where it is not checked: the page may have made it up.
    """
    if not isinstance(request, _READING) and b"authorization" not in headers:
        raise SqsError(
            errors.MISSING_AUTHENTICATION_TOKEN,
            f"{ACTION_OF[type(request)].name} changes something. Send it as a POST, or with an"
            " Authorization header: without either, any web page or link could have asked for it.",
        )


def _unknown_action(target: bytes) -> SqsError:
    return SqsError(
        errors.UNKNOWN_OPERATION,
        f"The action {target.decode(errors='replace')} is not known here. This broker knows"
        f" {', '.join(sorted(ACTIONS))}.",
    )
