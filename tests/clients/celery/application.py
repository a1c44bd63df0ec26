"""A Celery application as its users write one; every task notes what it does in a journal file.

Runs in Celery's environment, in the worker and in the program that calls the tasks.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from celery import Celery  # type: ignore[import-not-found]

app: Any = Celery("application", broker=os.environ["BROKER_URL"])
app.conf.update(
    broker_transport_options=json.loads(os.environ["TRANSPORT_OPTIONS"]),
    task_default_queue=os.environ.get("QUEUE", "celery"),
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
)


def note(event: str, argument: object, **more: object) -> None:
    line = json.dumps([event, argument, time.time(), more])
    # Short appends do not interleave, so that all processes of the worker may share the file.
    with open(os.environ["JOURNAL"], "a", encoding="utf-8") as journal:  # noqa: PTH123
        journal.write(line + "\n")


def add(number: int) -> None:
    note("added", number)


def nap(number: int) -> None:
    time.sleep(0.3)
    note("napped", number)


def fail_twice(task: Any, number: int) -> None:
    note("tried", number, retries=task.request.retries)
    if task.request.retries < 2:
        raise task.retry(countdown=1, exc=RuntimeError("not yet"))


def outlive(number: int) -> None:
    note("began", number, process=os.getpid())
    if os.path.exists(os.environ["HANG"]):  # noqa: PTH110
        time.sleep(600)
    note("ended", number)


app.task(name="add")(add)
app.task(name="nap", acks_late=True)(nap)
app.task(name="fail_twice", bind=True, max_retries=5)(fail_twice)
app.task(name="outlive", acks_late=True, reject_on_worker_lost=True)(outlive)
