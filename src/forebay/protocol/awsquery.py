"""The Query protocol, version 2012-11-05: what SDKs spoke to SQS before AWS JSON 1.0.

A request is a form in the body of a POST, or a query string, or both: `Action=SendMessage&…`. It is
sent to the service's own path with a `QueueUrl`, or to the path of a queue, which then is the
`QueueUrl` unless there is another. The answer is XML, or JSON to a client that accepts it.

Source:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests.html
"""

from __future__ import annotations

import re

from msgspec import Struct

from forebay.protocol import awsquery_json, awsquery_xml
from forebay.protocol.actions import ACTION_OF, ACTIONS, AnyRequest, AnyResult
from forebay.protocol.awsquery_request import decode_request, read_parameters
from forebay.protocol.errors import (
    INVALID_ACTION,
    QUEUE_DOES_NOT_EXIST,
    UNKNOWN_OPERATION,
    SqsError,
)
from forebay.protocol.identifiers import queue_key_from_url

_FORM_CONTENT_TYPE = b"application/x-www-form-urlencoded"

_ACTION = re.compile(rb"(?:^|&)Action=([A-Za-z]{1,80})(?:&|$)")

#: Actions that SQS does not take on the path of a queue. GetQueueUrl it does take there.
_NOT_ON_A_QUEUE = frozenset({"CreateQueue", "ListQueues"})

#: What SQS answers where no action is named, also to a client that accepts JSON.
_UNKNOWN_OPERATION_BODY = b"<UnknownOperationException/>"


class QueryCall(Struct, frozen=True):
    """A request, or why it is refused, and how its answer is written."""

    request: AnyRequest | SqsError
    accepts_json: bool
    #: What the request calls its action; empty where it names none.
    action: str = ""

    def encode(
        self, answer: AnyResult | SqsError, request_id: str
    ) -> tuple[int, dict[str, str], bytes]:
        """The HTTP status, the headers and the body of an answer to this call."""
        codec = awsquery_json if self.accepts_json else awsquery_xml
        headers = {"Content-Type": codec.CONTENT_TYPE}
        if not isinstance(answer, SqsError):
            assert not isinstance(self.request, SqsError)
            action = ACTION_OF[type(self.request)].name
            return 200, headers, codec.encode_result(action, answer, request_id)
        fault, message = answer.fault, answer.message
        if fault is UNKNOWN_OPERATION:
            headers = {"Content-Type": awsquery_xml.CONTENT_TYPE}
            return fault.http_status, headers, _UNKNOWN_OPERATION_BODY
        if fault is QUEUE_DOES_NOT_EXIST:
            message = f"{message.removesuffix('.')} for this wsdl version."
        return fault.http_status, headers, codec.encode_error(fault, message, request_id)


def decode(url: bytes, content_type: bytes, accept: bytes, body: bytes) -> QueryCall:
    """What an HTTP request asks for that is not AWS JSON.

    `url` is the target of the request, path and query string. `content_type` and `accept` are its
    headers of these names, empty where it has none. A body that is no form is passed over. Nothing
    is raised: what cannot be read has its SqsError as the call's `request`.
    """
    path, _, query = url.partition(b"?")
    is_form = not content_type or content_type.lower().startswith(_FORM_CONTENT_TYPE)
    form = body if is_form else b""
    try:
        request: AnyRequest | SqsError = _read(path.decode("latin-1"), query, form)
    except SqsError as error:
        request = error
    named = _ACTION.search(query) or _ACTION.search(form)
    return QueryCall(
        request,
        accepts_json=b"application/json" in accept.lower(),
        action=named[1].decode() if named is not None else "",
    )


def _read(path: str, *forms: bytes) -> AnyRequest:
    parameters = read_parameters(*forms)
    action = parameters.get("Action")
    if not action or not isinstance(action, str):
        raise SqsError(UNKNOWN_OPERATION)
    is_queue = queue_key_from_url(path) is not None
    if action not in ACTIONS or (is_queue and action in _NOT_ON_A_QUEUE):
        raise SqsError(INVALID_ACTION, f"The action {action} is not valid for this endpoint.")
    if is_queue:
        parameters.setdefault("QueueUrl", path)
    return decode_request(action, parameters)
