"""A dramatiq application and its worker in one process; prints JSON. Runs in its environment."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import dramatiq  # type: ignore[import-not-found]
from dramatiq.middleware import Retries  # type: ignore[import-not-found]
from dramatiq_sqs import SQSBroker  # type: ignore[import-not-found]

logging.disable()

broker: Any = SQSBroker(
    namespace="shop",
    dead_letter=True,
    middleware=[Retries(min_backoff=100, max_backoff=1000)],
)
dramatiq.set_broker(broker)

added: list[int] = []
tried: list[int] = []
late_s: list[float] = []


def add(number: int) -> None:
    added.append(number)


def fail(number: int) -> None:
    tried.append(number)
    raise RuntimeError("never works")


def arrive(sent_at_s: float) -> None:
    late_s.append(time.monotonic() - sent_at_s)


add_actor = dramatiq.actor(add, queue_name="adding")
fail_actor = dramatiq.actor(fail, queue_name="failing", max_retries=2)
arrive_actor = dramatiq.actor(arrive, queue_name="arriving")

for number in range(100):
    add_actor.send(number)
fail_actor.send(1)
arrive_actor.send_with_options(args=(time.monotonic(),), delay=2000)

worker = dramatiq.Worker(broker, worker_threads=4, worker_timeout=1000)
worker.start()
for queue in ("adding", "failing", "arriving"):
    broker.join(queue)
worker.stop()

dead = broker.dead_letter_queues["failing"]
dead.load()
print(
    json.dumps(
        {
            "added": sorted(added),
            "tries": len(tried),
            "dead": dead.attributes["ApproximateNumberOfMessages"],
            "late_s": late_s,
            "url": dead.url,
        }
    )
)
