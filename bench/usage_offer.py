"""A process that offers usage logs at a pace, and looks at its own account meanwhile.

The logs are made before it begins, and it offers them in strides, so that making and pacing them
costs next to nothing beside `send`. Run as `python -m bench.usage_offer QUESTION`; the question and
the answer are JSON.
"""

from __future__ import annotations

import gc
import resource
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.barrier import Waiting
from bench.usage_logs import make_logs
from bench.usage_producer import Made
from forebay import BackgroundProducer
from forebay.apps.usage.domain import USAGE_LOG_TYPE
from forebay.producer import ProducerLedger

#: How soon the thread that offers, which hardly pauses, lets the producer's thread have a turn, in
#: seconds. Python's default is ten times as long.
SWITCH_S = 0.0005

#: How long the process sleeps while no call is due, in seconds.
_NAP_S = 0.001

#: Most logs between two looks at the clock.
_STRIDE = 1_000

#: How often the account is looked at when everything is offered, in seconds.
_LOOK_S = 0.02


class Question(Waiting):
    """What is offered."""

    made: Made
    per_second: int
    seconds: float
    #: How long it may send what is left, in seconds.
    drain_s: float
    #: How often its account is noted, in seconds.
    sample_s: float = 0.5
    seed: int = 1


class Sample(Struct):
    """The account at a time of the machine's monotonic clock."""

    at_s: float
    offered: int
    delivered: int
    buffered: int
    spilled: int
    lost: int
    resident_mb: float


class Answer(Struct):
    """What it did."""

    calls: int
    begun_s: float
    #: How long the offering took; longer than asked for when it could not keep the pace.
    offering_s: float
    #: When everything was settled, or the time to drain was over.
    ended_s: float
    #: Processor time from the beginning on: of the process, and of the thread that offers.
    cpu_s: float
    caller_cpu_s: float
    peak_mb: float
    ledger: ProducerLedger
    samples: list[Sample]


class _Offering:
    def __init__(self, question: Question, producer: BackgroundProducer) -> None:
        self._question = question
        self._producer = producer
        self._sample_at_s = 0.0
        self.samples: list[Sample] = []
        #: Of the process, when it began.
        self.cpu_begun_s = 0.0
        #: Of the thread that offers.
        self.caller_cpu_s = 0.0

    def offer(self, logs: list[object]) -> tuple[float, float]:
        """Offer the logs; returns when it began and how long it took."""
        question, send = self._question, self._producer.send
        endless = cycle(logs)
        begun_s = question.wait()
        self.cpu_begun_s, caller_begun_s = time.process_time(), time.thread_time()
        offered, total = 0, int(question.per_second * question.seconds)
        while offered < total:
            now_s = time.monotonic()
            self.sample(now_s)
            due = min(total, int((now_s - begun_s) * question.per_second)) - offered
            if due <= 0:
                time.sleep(_NAP_S)
                continue
            due = min(due, _STRIDE)
            for log in islice(endless, due):
                send(USAGE_LOG_TYPE, log)
            offered += due
        self.caller_cpu_s = time.thread_time() - caller_begun_s
        return begun_s, time.monotonic() - begun_s

    def drain(self) -> float:
        """Wait until all is settled or the time is over; returns when that was."""
        deadline_s = time.monotonic() + self._question.drain_s
        while True:
            now_s = time.monotonic()
            self.sample(now_s)
            ledger = self._producer.ledger
            if now_s > deadline_s or not ledger.buffered + ledger.spilled:
                self._sample_at_s = 0.0
                self.sample(now_s)
                return now_s
            time.sleep(_LOOK_S)

    def sample(self, now_s: float) -> None:
        """Note the account if it is time."""
        if now_s < self._sample_at_s:
            return
        self._sample_at_s = now_s + self._question.sample_s
        ledger = self._producer.ledger
        self.samples.append(
            Sample(
                now_s,
                ledger.offered,
                ledger.delivered,
                ledger.buffered,
                ledger.spilled,
                ledger.lost,
                _resident_mb(),
            )
        )


def offer(question: Question) -> Answer:
    """Offer the logs, and send what is left."""
    sys.setswitchinterval(SWITCH_S)
    logs: list[object] = list(make_logs(seed=question.seed))
    gc.collect()
    gc.freeze()
    with question.made.beside(drain_s=1.0) as producer:
        offering = _Offering(question, producer)
        begun_s, offering_s = offering.offer(logs)
        ended_s = offering.drain()
        ledger = producer.close()
        return Answer(
            int(question.per_second * question.seconds),
            begun_s,
            offering_s,
            ended_s,
            time.process_time() - offering.cpu_begun_s,
            offering.caller_cpu_s,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
            ledger,
            offering.samples,
        )


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    print(msgspec.json.encode(offer(msgspec.json.decode(sys.argv[1], type=Question))).decode())
