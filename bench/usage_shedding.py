"""The writer that the queue replaced: rows go to the database from within the server's process.

A bounded channel, some workers that insert what they take from it, and `select … default` in front:
what finds the channel full is shed, and nobody counts it. Run as `python -m bench.usage_shedding
QUESTION`; the question and the answer are JSON.
"""

from __future__ import annotations

import queue
import sys
import time
from itertools import cycle, islice
from threading import Thread

import msgspec
import psycopg
from msgspec import Struct

from bench.barrier import Waiting
from bench.usage_logs import make_logs
from forebay.apps.usage.domain import UsageLog

#: Its own table, without indexes: nothing holds it up that it does not need.
TABLE = """
CREATE TABLE IF NOT EXISTS shed_usage_logs (
    logged_at timestamptz NOT NULL DEFAULT now(), api_key_id text NOT NULL, asset text NOT NULL,
    source text NOT NULL, response_time_us bigint NOT NULL, cache_tier text NOT NULL,
    http_status integer
)
"""

_INSERT = (
    "INSERT INTO shed_usage_logs (api_key_id, asset, source, response_time_us, cache_tier,"
    " http_status) VALUES (%s, %s, %s, %s, %s, %s)"
)

_NAP_S = 0.001
_STRIDE = 1_000


class Question(Waiting):
    """How much is offered, and how the writer is made."""

    conninfo: str
    per_second: int
    seconds: float
    workers: int
    channel: int
    #: Rows of a transaction: what a worker finds waiting, at most so many.
    batch: int
    seed: int


class Answer(Struct):
    """What went on."""

    offered: int
    seconds: float


def _work(question: Question, channel: queue.Queue[UsageLog | None]) -> None:
    with psycopg.connect(question.conninfo) as connection:
        ended = False
        while not ended:
            logs = [channel.get()]
            while len(logs) < question.batch and not channel.empty():
                logs.append(channel.get())
            rows = [msgspec.structs.astuple(log) for log in logs if log is not None]
            ended = None in logs
            if rows:
                connection.cursor().executemany(_INSERT, rows)
                connection.commit()
            if ended:
                channel.put(None)


def _keep_or_shed(channel: queue.Queue[UsageLog | None], log: UsageLog) -> bool:
    try:
        channel.put_nowait(log)
    except queue.Full:
        return False
    return True


def offer(question: Question) -> Answer:
    """Offer the logs, then write what is still in the channel."""
    logs = cycle(make_logs(seed=question.seed))
    channel: queue.Queue[UsageLog | None] = queue.Queue(question.channel)
    workers = [Thread(target=_work, args=(question, channel)) for _ in range(question.workers)]
    for worker in workers:
        worker.start()
    clock = time.monotonic
    begun_s = question.wait()
    offered, total = 0, int(question.per_second * question.seconds)
    while offered < total:
        due = min(_STRIDE, min(total, int((clock() - begun_s) * question.per_second)) - offered)
        if due <= 0:
            time.sleep(_NAP_S)
            continue
        for log in islice(logs, due):
            _keep_or_shed(channel, log)
        offered += due
    seconds = clock() - begun_s
    channel.put(None)
    for worker in workers:
        worker.join()
    return Answer(offered, seconds)


if __name__ == "__main__":
    print(msgspec.json.encode(offer(msgspec.json.decode(sys.argv[1], type=Question))).decode())
