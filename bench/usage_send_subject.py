"""Calls of `Producer.send`, timed one by one or as many as there can be.

Run as `python -m bench.usage_send_subject QUESTION`; the question and the answer are JSON.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from itertools import cycle, islice

import msgspec
import uvloop
from msgspec import Struct

from bench.percentiles import of_sorted
from bench.usage_logs import make_logs
from bench.usage_producer import Made
from forebay import BackgroundProducer
from forebay.apps.usage.domain import USAGE_LOG_TYPE, UsageLog
from forebay.client.http import HttpSqsClient
from forebay.producer import ProducerLedger, ProducerSettings

#: How long `send` and the empty call take turns, in seconds.
_TURN_S = 0.2

#: How long the pacer sleeps while no call is due, in seconds. An event loop cannot sleep for less.
_NAP_S = 0.001

#: What is left of the buffer when the time is up is of no interest.
_DRAIN_S = 0.5

Call = Callable[[str, UsageLog], object]


class Question(Struct):
    """What to measure."""

    made: Made
    seconds: float
    #: Calls a second; 0 for as many as there can be.
    per_second: int = 0
    #: The caller is a coroutine of the loop that sends, not a thread beside it.
    in_loop: bool = False
    #: Just this many calls of a producer that was not started, for who counts what they take.
    unsent: int = 0


class Calls(Struct):
    """How long single calls took, in microseconds."""

    count: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float


class Answer(Struct):
    """What was measured."""

    seconds: float
    calls: int
    accepted: int
    ledger: ProducerLedger
    #: Processor time meanwhile: of the thread that calls, and of the process with packing and
    #: sending, in seconds. None when calls were timed one by one, which takes more.
    caller_cpu_s: float | None = None
    process_cpu_s: float | None = None
    #: None when calls were not timed one by one.
    send: Calls | None = None
    #: The same loop with a call that does nothing: what the machine and the clock do.
    empty: Calls | None = None


class _Pacer:
    """Calls at even distances, `send` and an empty one by turns, each timed by itself."""

    def __init__(self, send: Call, logs: Iterator[UsageLog], question: Question) -> None:
        self._turns = [(send, array("q")), (_nothing, array("q"))]
        self._logs = logs
        self._period_ns = 1_000_000_000 // question.per_second
        self._due_ns = time.perf_counter_ns()
        #: Half the time goes to the empty call.
        self._end_ns = self._due_ns + int(2 * question.seconds * 1e9)
        self._turn_end_ns = self._due_ns
        self._turn = 1
        self.accepted = 0

    def make_due_calls(self) -> bool:
        """Make the calls whose time has come; False when the measurement is over."""
        clock = time.perf_counter_ns
        now_ns = clock()
        if now_ns >= self._turn_end_ns:
            self._turn = 1 - self._turn
            self._turn_end_ns = now_ns + int(_TURN_S * 1e9)
        call, taken_ns = self._turns[self._turn]
        due = (now_ns - self._due_ns) // self._period_ns
        self._due_ns += due * self._period_ns
        accepted = 0
        for log in islice(self._logs, due):
            begun_ns = clock()
            kept = call(USAGE_LOG_TYPE, log)
            taken_ns.append(clock() - begun_ns)
            if kept:
                accepted += 1
        self.accepted += accepted
        return now_ns < self._end_ns

    def answer(self, seconds: float, ledger: ProducerLedger) -> Answer:
        (_, sends_ns), (_, empty_ns) = self._turns
        return Answer(
            seconds,
            len(sends_ns),
            self.accepted,
            ledger,
            send=_calls(sends_ns),
            empty=_calls(empty_ns),
        )


def _nothing(_type: str, _payload: UsageLog) -> None:
    """Takes the place of `send`."""


def _calls(taken_ns: array[int]) -> Calls:
    ordered = sorted(taken_ns)
    p50_us, p99_us, p999_us = (of_sorted(ordered, percent) / 1000 for percent in (50, 99, 99.9))
    return Calls(len(ordered), p50_us, p99_us, p999_us, ordered[-1] / 1000)


def measure(question: Question) -> Answer:
    """Make the calls."""
    logs = make_logs()
    if question.unsent:
        return uvloop.run(make_unsent_calls(logs, question.unsent))
    # What was made before the measurement is not the collector's business during it, as it would
    # not be in a server that freezes what it loaded.
    gc.collect()
    gc.freeze()
    if question.in_loop:
        return uvloop.run(_measure_in_loop(question, logs))
    with question.made.beside(_DRAIN_S) as producer:
        if not question.per_second:
            return _as_many_as_can_be(producer, question, logs)
        pacer = _Pacer(producer.send, cycle(logs), question)
        while pacer.make_due_calls():
            time.sleep(_NAP_S / 10)
        return pacer.answer(question.seconds, producer.ledger)


async def _measure_in_loop(question: Question, logs: list[UsageLog]) -> Answer:
    async with HttpSqsClient(question.made.endpoint_url) as client:
        producer = question.made.producer(client)
        await producer.start()
        pacer = _Pacer(producer.send, cycle(logs), question)
        while pacer.make_due_calls():  # noqa: ASYNC110 - the pace is the point
            await asyncio.sleep(_NAP_S)
        answer = pacer.answer(question.seconds, producer.ledger)
        await producer.close(_DRAIN_S)
    return answer


async def make_unsent_calls(
    logs: list[UsageLog],
    count: int,
    begin: Callable[[], None] = lambda: None,
    end: Callable[[], None] = lambda: None,
) -> Answer:
    """Calls that only fill the buffer: nobody packs and sends."""
    made = Made(
        "http://127.0.0.1:9", "http://127.0.0.1:9/0/q", ProducerSettings(buffer_size=2 * count)
    )
    async with HttpSqsClient(made.endpoint_url) as client:
        producer = made.producer(client)
        begin()
        for log in islice(cycle(logs), count):
            producer.send(USAGE_LOG_TYPE, log)
        end()
        ledger = producer.ledger
        return Answer(0, count, ledger.buffered, ledger)


def _as_many_as_can_be(
    producer: BackgroundProducer, question: Question, logs: list[UsageLog]
) -> Answer:
    clock = time.perf_counter
    calls = accepted = 0
    begun_s, caller_s, process_s = clock(), time.thread_time(), time.process_time()
    while (now_s := clock()) - begun_s < question.seconds:
        accepted += sum([producer.send(USAGE_LOG_TYPE, log) for log in logs])
        calls += len(logs)
    return Answer(
        now_s - begun_s,
        calls,
        accepted,
        producer.ledger,
        time.thread_time() - caller_s,
        time.process_time() - process_s,
    )


def main() -> None:
    question = msgspec.json.decode(sys.argv[1], type=Question)
    print(msgspec.json.encode(measure(question)).decode())


if __name__ == "__main__":
    main()
