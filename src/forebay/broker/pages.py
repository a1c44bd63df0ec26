"""What the endpoint shows beside SQS: health, metrics, and a look at queues and messages.

* `GET /health` says whether requests are carried out: 200 or 503. Its `alarms` say why messages are
  refused while all else is carried out, which is no reason to take the broker out of service.
* `GET /metrics` is for Prometheus.
* `GET /_forebay/queues` lists every queue with its counts.
* `GET /_forebay/messages?QueueUrl=…` shows the oldest messages of a queue without receiving them;
  `MaxResults` bounds how many.
* `/_aws/sqs/messages` is LocalStack's look at messages; see localstack.py.
* `POST /_forebay/reset` deletes all queues, and what is known of deleted ones.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct

from forebay.broker.broker import Broker
from forebay.broker.core.engine import Caller
from forebay.broker.core.views import PEEK_MESSAGES_MAX
from forebay.broker.metrics import METRICS_CONTENT_TYPE, metrics_text
from forebay.protocol import errors
from forebay.protocol.actions import AnyRequest, ListQueuesRequest, ReceiveMessageRequest
from forebay.protocol.errors import SqsError

#: Where the metrics are.
METRICS = b"/metrics"

#: Where everything is deleted.
RESET = b"/_forebay/reset"

_JSON = "application/json"


class Page(Struct, frozen=True):
    """An answer that is no SQS result."""

    status: int
    content_type: str
    body: bytes


def is_page(path: bytes) -> bool:
    """Whether the endpoint shows something at this path."""
    return path in {b"/health", b"/metrics"} or path.startswith(b"/_forebay/")


def permission_for(path: bytes, query: bytes) -> AnyRequest | None:
    """The SQS request whose permission a page needs, where the broker asks for keys.

    None for a page that anyone may see.
    """
    if path == b"/health":
        return None
    if path == b"/_forebay/messages":
        return ReceiveMessageRequest(queue_url=_parameter(query, "QueueUrl"))
    return ListQueuesRequest()


def show(broker: Broker, path: bytes, query: bytes, caller: Caller) -> Page:
    """Make a page. Raises SqsError when there is no such page or queue, or the broker is away."""
    match path:
        case b"/health":
            return _health(broker)
        case b"/metrics":
            return Page(
                200,
                METRICS_CONTENT_TYPE,
                metrics_text(broker.view_queues(), broker.alarms, broker.room, broker.memory),
            )
        case b"/_forebay/queues":
            return _json(200, {"queues": broker.view_queues()})
        case b"/_forebay/messages":
            messages = broker.peek(_parameter(query, "QueueUrl"), caller, _limit(query))
            return _json(200, {"messages": messages})
        case _:
            raise SqsError(
                errors.UNKNOWN_OPERATION,
                "There is no such page. There are /health, /metrics, /_forebay/queues,"
                " /_forebay/messages?QueueUrl=… and, as a POST, /_forebay/reset.",
            )


def _health(broker: Broker) -> Page:
    available = broker.available
    return _json(
        200 if available else 503,
        {
            "status": "ok" if available else "unavailable",
            "durability": broker.durability.value,
            "alarms": [
                {"name": name, "reason": reason}
                for name, reason in broker.alarms.items()
                if reason is not None
            ],
        },
    )


def _json(status: int, content: Any) -> Page:
    return Page(status, _JSON, msgspec.json.encode(content))


def _parameter(query: bytes, name: str) -> str:
    values = parse_qs(query.decode("latin-1")).get(name)
    if not values:
        raise SqsError(errors.MISSING_PARAMETER, f"The request must contain the parameter {name}.")
    return values[0]


def _limit(query: bytes) -> int:
    text = parse_qs(query.decode("latin-1")).get("MaxResults", [str(PEEK_MESSAGES_MAX)])[0]
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= PEEK_MESSAGES_MAX:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            f"Value {text} for parameter MaxResults is invalid. Reason: Must be between 1 and"
            f" {PEEK_MESSAGES_MAX}, if provided.",
        )
    return int(text)
