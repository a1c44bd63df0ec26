"""A shop of Celery's with its defaults: a task charges an order, which is a line in a file.

Runs in Celery's environment. `celery_shop.py COUNT` calls the task for so many orders; the worker
is `celery --app celery_shop worker`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from celery import Celery  # type: ignore[import-not-found]

app: Any = Celery(
    "celery_shop", broker=f"sqs://{urlsplit(os.environ['AWS_ENDPOINT_URL_SQS']).netloc}"
)
app.conf.update(
    broker_transport_options={
        "region": os.environ["AWS_REGION"],
        "is_secure": False,
        "wait_time_seconds": 1,
        "polling_interval": 0.1,
    },
    task_default_queue=os.environ["QUEUE"],
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
)


def note(event: str, number: int) -> None:
    # Short appends do not interleave.
    with open(os.environ["JOURNAL"], "a", encoding="utf-8") as journal:  # noqa: PTH123
        journal.write(json.dumps([event, number, os.getpid()]) + "\n")


def charge(number: int) -> None:
    note("began", number)
    while number >= int(os.environ["SLOW_FROM"]) and os.path.exists(os.environ["SLOW"]):  # noqa: PTH110
        time.sleep(0.01)
    time.sleep(0.02)
    note("charged", number)


app.task(name="charge")(charge)

if __name__ == "__main__":
    for order in range(int(sys.argv[1])):
        app.send_task("charge", [order])
