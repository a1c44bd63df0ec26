"""What a Python team would take instead of our producer: each offers logs from one thread.

Each log of the peers becomes a message of JSON with an id and a time, and ten go in a call of
boto3, as their users do it. Run as `python -m bench.usage_peer_subject QUESTION`; the question and
the answer are JSON.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import resource
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from logging.handlers import BufferingHandler, QueueHandler, QueueListener
from threading import Thread
from typing import TYPE_CHECKING, Any

import boto3
import msgspec
from msgspec import Struct
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)

from bench.usage_logs import make_logs
from bench.usage_producer import Made
from forebay.apps.usage.domain import USAGE_LOG_TYPE, UsageLog
from forebay.producer import ProducerSettings, WhenFull

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

#: What a buffer holds where it is made as large as our producer's.
BUFFER = 50_000

#: How long the offering thread sleeps while no call is due, in seconds.
_NAP_S = 0.001

#: Most logs between two looks at the clock.
_STRIDE = 500

#: Hands one log over; False when it says that it did not take it.
Hand = Callable[[Any], bool]


class Question(Struct):
    """Which subject offers how much."""

    subject: str
    endpoint_url: str
    queue_url: str
    #: 0 for as much as there can be.
    per_second: int
    seconds: float
    #: How long it may send what is left, in seconds.
    drain_s: float
    #: A directory for who spills.
    directory: str


class Answer(Struct):
    """What it did."""

    offered: int
    #: What it said of itself that it took.
    accepted: int
    #: What it says that it lost; None where it does not say.
    counted_lost: int | None
    #: What it left on the disk, to be sent by the next process.
    on_disk: int
    offering_s: float
    #: Of the drain.
    ending_s: float
    #: Whether everything was sent within the drain's time.
    ended: bool
    cpu_s: float


class _Sender:
    """Messages of ten, through boto3."""

    def __init__(self, question: Question) -> None:
        self._client: SQSClient = boto3.client("sqs", endpoint_url=question.endpoint_url)
        self._queue_url = question.queue_url

    def send(self, payloads: Sequence[Any]) -> None:
        for begin in range(0, len(payloads), 10):
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {"Id": str(place), "MessageBody": self._body(payload)}
                for place, payload in enumerate(payloads[begin : begin + 10])
            ]
            self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)

    def _body(self, payload: Any) -> str:
        envelope = {"id": str(uuid.uuid4()), "type": USAGE_LOG_TYPE, "timestamp": time.time()}
        return json.dumps({**envelope, "payload": dict(payload)})


class _SqsExporter(LogRecordExporter):
    """OpenTelemetry's way out."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self._sender.send([record.log_record.attributes for record in batch])
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        return True


class _SqsHandler(BufferingHandler):
    """The logging module's way out: behind the listener's thread."""

    def __init__(self, sender: _Sender) -> None:
        super().__init__(capacity=10)
        self._sender = sender

    def flush(self) -> None:
        records: list[Any] = self.buffer
        self._sender.send([record.usage for record in records])
        self.buffer = []


class _CountingQueueHandler(QueueHandler):
    """Counts what the queue had no room for in place of printing a traceback for each."""

    lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        self.lost += 1


class _PatientListener(QueueListener):
    """Waits for room when it is told to stop; the one of Python 3.11 raises `queue.Full`."""

    def __init__(self, records: queue.Queue[Any], handler: logging.Handler) -> None:
        super().__init__(records, handler)
        self._records = records

    def enqueue_sentinel(self) -> None:
        self._records.put(None)


class _Subject(Struct):
    hand: Hand
    logs: Sequence[Any]
    #: Sends what is left; returns how much was lost, if it says, and how much is on the disk.
    end: Callable[[], tuple[int | None, int]]


@contextmanager
def _forebay(question: Question, *, packed: bool, spill: bool) -> Iterator[_Subject]:
    made = Made(
        question.endpoint_url,
        question.queue_url,
        ProducerSettings(buffer_size=BUFFER, when_full=WhenFull.SPILL if spill else WhenFull.DROP),
        packed=packed,
        spill=question.directory if spill else None,
    )
    with made.beside(question.drain_s) as producer:

        def hand(log: UsageLog) -> bool:
            return producer.send(USAGE_LOG_TYPE, log)

        def end() -> tuple[int, int]:
            ledger = producer.close()
            return ledger.lost, ledger.spilled

        yield _Subject(hand, make_logs(), end)


@contextmanager
def _otel(question: Question, max_queue_size: int | None = None) -> Iterator[_Subject]:
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(
        BatchLogRecordProcessor(_SqsExporter(_Sender(question)), max_queue_size=max_queue_size)
    )
    logger = provider.get_logger("usage")

    def hand(log: dict[str, Any]) -> bool:
        logger.emit(LogRecord(timestamp=time.time_ns(), event_name=USAGE_LOG_TYPE, attributes=log))
        return True

    def end() -> tuple[None, int]:
        provider.shutdown()
        return None, 0

    yield _Subject(hand, _dicts(), end)


@contextmanager
def _queue_handler(question: Question, *, maxsize: int) -> Iterator[_Subject]:
    records: queue.Queue[Any] = queue.Queue(maxsize)
    handler = _CountingQueueHandler(records)
    sink = _SqsHandler(_Sender(question))
    listener = _PatientListener(records, sink)
    listener.start()
    logger = logging.getLogger("usage")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)

    def hand(log: dict[str, Any]) -> bool:
        logger.info(USAGE_LOG_TYPE, extra={"usage": log})
        return True

    def end() -> tuple[int, int]:
        listener.stop()
        sink.flush()
        return handler.lost, 0

    yield _Subject(hand, _dicts(), end)


def _dicts() -> list[dict[str, Any]]:
    return [msgspec.structs.asdict(log) for log in make_logs()]


SUBJECTS: dict[str, Callable[[Question], Any]] = {
    "Forebay, packed": lambda question: _forebay(question, packed=True, spill=False),
    "Forebay, packed, spilling": lambda question: _forebay(question, packed=True, spill=True),
    "Forebay, a message each": lambda question: _forebay(question, packed=False, spill=False),
    "OpenTelemetry, as it comes": _otel,
    "OpenTelemetry, same buffer": lambda question: _otel(question, max_queue_size=BUFFER),
    "QueueHandler, unbounded": lambda question: _queue_handler(question, maxsize=-1),
    "QueueHandler, same buffer": lambda question: _queue_handler(question, maxsize=BUFFER),
}


def offer(question: Question) -> Answer:
    """Offer the logs, and let the subject send what is left."""
    with SUBJECTS[question.subject](question) as subject:
        clock = time.monotonic
        logs = cycle(subject.logs)
        offered = accepted = 0
        begun_s, cpu_begun_s = clock(), _cpu_s()
        while (elapsed_s := clock() - begun_s) < question.seconds:
            due = _STRIDE
            if question.per_second:
                due = min(_STRIDE, int(elapsed_s * question.per_second) - offered)
                if due <= 0:
                    time.sleep(_NAP_S)
                    continue
            accepted += sum([subject.hand(log) for log in islice(logs, due)])
            offered += due
        ends: list[tuple[int | None, int]] = []
        ending = Thread(target=lambda: ends.append(subject.end()), daemon=True)
        ending.start()
        ending.join(question.drain_s)
        counted, on_disk = ends[0] if ends else (None, 0)
        answer = Answer(
            offered,
            accepted,
            counted,
            on_disk,
            elapsed_s,
            clock() - begun_s - elapsed_s,
            bool(ends),
            _cpu_s() - cpu_begun_s,
        )
        # What is left now is lost, as when a process ends; no exit handler may send it after all.
        print(msgspec.json.encode(answer).decode(), flush=True)
        os._exit(0)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    offer(msgspec.json.decode(sys.argv[1], type=Question))
