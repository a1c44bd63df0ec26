"""Spans of handlers, which continue the traces of the senders."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from forebay.observability import tracing
from forebay.protocol.actions import MessageAttributeValue
from forebay.worker import Received, Reject, Retry, Router
from forebay.worker.execution import Execution
from forebay.worker.lease import Lease
from tests.runtime.worker_messages import message, source

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
XRAY = f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent={SPAN};Sampled=1"


class Traced:
    """Handlers under the middleware, and the spans that came of them."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.router = Router()
        self._execution = Execution(
            middleware=[tracing.middleware(provider.get_tracer("test"))], threads=1
        )

    async def perform(self, *attributes: Mapping[str, str], header: str | None = None) -> None:
        """Hand over a message for each of these attributes."""
        received = []
        for number, each in enumerate(attributes or [{}]):
            values = {
                name: MessageAttributeValue(data_type="String", string_value=value)
                for name, value in each.items()
            }
            own = Lease(
                message(f"m-{number}", receive_count=2, attributes=values, trace_header=header),
                source(),
                0,
                0,
                30_000,
                None,
            )
            received.append(self.router.route(own))
        await self._execution.perform(received[0].route, [each.received for each in received])
        await self._execution.close()

    @property
    def span(self) -> ReadableSpan:
        (span,) = self._exporter.get_finished_spans()
        return span


def parent_of(span: ReadableSpan) -> tuple[str, str] | None:
    parent = span.parent
    return None if parent is None else (f"{parent.trace_id:032x}", f"{parent.span_id:016x}")


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def done() -> Traced:
    traced = Traced()

    @traced.router.default
    async def take(received: Received[str]) -> None: ...

    return traced


def failing(error: BaseException) -> Traced:
    traced = Traced()

    @traced.router.default
    async def take(received: Received[str]) -> None:
        raise error

    return traced


def test_a_message_continues_the_trace_of_its_sender() -> None:
    traced = done()
    asyncio.run(traced.perform({"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=b"}))
    span = traced.span
    assert parent_of(span) == (TRACE, SPAN)
    context = span.get_span_context()
    assert context is not None
    assert context.trace_state.get("a") == "b"


def test_the_x_ray_header_is_continued_too() -> None:
    traced = done()
    asyncio.run(traced.perform(header=XRAY))
    assert parent_of(traced.span) == (TRACE, SPAN)


@pytest.mark.parametrize("nonsense", ["", "00-0-0-0", f"00-{'0' * 32}-{SPAN}-01", "not a trace"])
def test_what_is_no_trace_begins_one(nonsense: str) -> None:
    traced = done()
    asyncio.run(traced.perform({"traceparent": nonsense}))
    assert parent_of(traced.span) is None


def test_the_span_says_what_was_done_in_the_words_of_the_conventions() -> None:
    traced = done()
    asyncio.run(traced.perform())
    span = traced.span
    assert (span.name, span.kind) == ("process jobs", SpanKind.CONSUMER)
    found = attributes_of(span)
    assert found.pop("forebay.handler").endswith("take")
    assert found == {
        "messaging.system": "aws_sqs",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "jobs",
        "messaging.message.id": "m-0",
        "aws.sqs.queue.url": "http://sqs.test/000000000000/jobs",
        "forebay.envelope_id": "m-0",
        "forebay.receive_count": 2,
        "forebay.outcome": "done",
    }
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("error", "outcome", "status", "kind"),
    [
        (ValueError("bad"), "failed", StatusCode.ERROR, "builtins.ValueError"),
        (Reject("no"), "rejected", StatusCode.ERROR, "forebay.worker.outcomes.Reject"),
        (Retry(5), "retried", StatusCode.UNSET, None),
    ],
)
def test_how_it_ended_is_on_the_span(
    error: Exception, outcome: str, status: StatusCode, kind: str | None
) -> None:
    traced = failing(error)
    asyncio.run(traced.perform())
    span = traced.span
    assert attributes_of(span)["forebay.outcome"] == outcome
    assert attributes_of(span).get("error.type") == kind
    assert span.status.status_code is status
    assert [event.name for event in span.events] == (["exception"] if kind else [])


def test_an_interruption_is_no_error() -> None:
    traced = Traced()
    begun = asyncio.Event()

    @traced.router.default
    async def take(received: Received[str]) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def scenario() -> None:
        task = asyncio.create_task(traced.perform())
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    assert attributes_of(traced.span)["forebay.outcome"] == "interrupted"
    assert traced.span.status.status_code is StatusCode.UNSET


def test_a_batch_begins_a_trace_and_links_to_each_sender() -> None:
    traced = Traced()

    @traced.router.raw(str, batch=10)
    async def write(batch: list[Received[str]]) -> dict[Received[str], Exception | None]:
        return {batch[1]: ValueError("this one"), batch[2]: None}

    senders = [{"traceparent": f"00-{TRACE}-{number:016x}-01"} for number in (1, 2)]
    asyncio.run(traced.perform(*senders, {}))
    span = traced.span
    assert parent_of(span) is None
    assert [f"{link.context.span_id:x}" for link in span.links] == ["1", "2"]
    assert (span.links[1].attributes or {})["messaging.message.id"] == "m-1"
    found = attributes_of(span)
    assert found["messaging.batch.message_count"] == 3
    assert "messaging.message.id" not in found
    assert found["forebay.outcome"] == "failed"
    assert [(event.attributes or {})["exception.message"] for event in span.events] == ["this one"]


def test_spans_of_a_plain_function_are_children_of_its_own() -> None:
    traced = Traced()
    seen: list[int] = []

    @traced.router.default
    def take(received: Received[str]) -> None:
        seen.append(trace.get_current_span().get_span_context().trace_id)

    asyncio.run(traced.perform({"traceparent": f"00-{TRACE}-{SPAN}-01"}))
    assert [f"{each:032x}" for each in seen] == [TRACE]


def test_without_the_extra_it_says_what_to_install_and_nothing_else_needs_it() -> None:
    code = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "import forebay.worker, forebay.supervisor.child, forebay.observability.prometheus\n"
        "import forebay.observability.tracing\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "TracingExtraMissing: Tracing needs OpenTelemetry. Run: pip install 'forebay[otel]'"
    )
