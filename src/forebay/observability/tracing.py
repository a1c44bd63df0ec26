"""OpenTelemetry spans of handlers that continue the traces of those who sent the messages.

    worker = Worker(client, "orders", router, middleware=[tracing.middleware()])

Needs the extra `otel`. Attributes are those of OpenTelemetry's semantic conventions for messaging
and Amazon SQS: https://opentelemetry.io/docs/specs/semconv/messaging/
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from forebay.errors import ForebayError
from forebay.worker.handled import HANDLED
from forebay.worker.middleware import CallNext, Middleware
from forebay.worker.outcomes import PartlyFailed, Reject, Retry
from forebay.worker.received import Received


class TracingExtraMissing(ForebayError):
    """Tracing needs OpenTelemetry. Run: pip install 'forebay[otel]'"""


try:
    from opentelemetry import propagate, trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
except ModuleNotFoundError as error:
    raise TracingExtraMissing from error

#: What happens to a message, in the words of the conventions.
_OPERATION = "process"


def middleware(tracer: Tracer | None = None) -> Middleware:
    """A middleware that makes a consumer span of each call of a handler.

    A message's span is a child of the span that sent it: of the message attribute `traceparent`, or
    of AWSTraceHeader. A batch's span begins a trace and has a link to the sender of each message.
    A failure, also of some messages of a batch, and a Reject are the span's error; a Retry and an
    interruption by a drain are not. Without `tracer` it is the global provider's.
    """
    spans = tracer or trace.get_tracer("forebay")

    async def traced(received: Any, call_next: CallNext) -> None:
        batch = isinstance(received, list)
        messages: Sequence[Received[Any]] = received if batch else [received]
        first = messages[0]
        with spans.start_as_current_span(
            f"{_OPERATION} {first.queue}",
            context=None if batch else _sender(first),
            kind=SpanKind.CONSUMER,
            attributes=_attributes(messages, batch=batch),
            links=_links(messages) if batch else None,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                await call_next(received)
            except BaseException as raised:
                _conclude(span, raised)
                raise
            span.set_attribute("forebay.outcome", "done")

    return traced


def _sender(received: Received[Any]) -> Context:
    """The context that a message was sent in, as the configured propagators read it."""
    carrier = {
        name: attribute.string_value
        for name, attribute in received.attributes.items()
        if attribute.string_value is not None
    }
    # It may come from the X-Ray header, and what is no traceparent must not be taken for one.
    traceparent = received.traceparent
    if traceparent is not None:
        carrier["traceparent"] = traceparent
    else:
        carrier.pop("traceparent", None)
    return propagate.extract(carrier)


def _links(messages: Sequence[Received[Any]]) -> list[Link]:
    links = []
    for received in messages:
        sender = trace.get_current_span(_sender(received)).get_span_context()
        if sender.is_valid:
            links.append(Link(sender, {"messaging.message.id": received.message_id}))
    return links


def _attributes(messages: Sequence[Received[Any]], *, batch: bool) -> dict[str, str | int]:
    first = messages[0]
    attributes: dict[str, str | int] = {
        "messaging.system": "aws_sqs",
        "messaging.operation.type": "process",
        "messaging.operation.name": _OPERATION,
        "messaging.destination.name": first.queue,
        "aws.sqs.queue.url": first.queue_url,
    }
    handled = HANDLED.get()
    if handled is not None:
        attributes["forebay.handler"] = handled[0].handler_name
    if batch:
        return attributes | {"messaging.batch.message_count": len(messages)}
    attributes["messaging.message.id"] = first.message_id
    attributes["forebay.envelope_id"] = first.id
    attributes["forebay.receive_count"] = first.receive_count
    return attributes


def _conclude(span: Span, raised: BaseException) -> None:
    """Say on the span how the call ended."""
    if isinstance(raised, Retry):
        span.set_attribute("forebay.outcome", "retried")
        return
    if isinstance(raised, asyncio.CancelledError):
        span.set_attribute("forebay.outcome", "interrupted")
        return
    span.set_attribute("forebay.outcome", "rejected" if isinstance(raised, Reject) else "failed")
    kind = type(raised)
    span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")
    span.set_status(Status(StatusCode.ERROR, str(raised)))
    failures = raised.failures.values() if isinstance(raised, PartlyFailed) else [raised]
    for failure in dict.fromkeys(failures):
        if isinstance(failure, BaseException):
            span.record_exception(failure)
