"""A Celery application with a task that does nothing. Runs in Celery's environment.

`celery_app.py send` calls the task once; the worker is `celery --app celery_app worker`.
"""

from __future__ import annotations

import os
import sys
from typing import Any
from urllib.parse import urlsplit

from celery import Celery  # type: ignore[import-not-found]

_ENDPOINT = urlsplit(os.environ["AWS_ENDPOINT_URL_SQS"])

app: Any = Celery("celery_app", broker=f"sqs://{_ENDPOINT.netloc}")
app.conf.update(
    broker_transport_options={
        "region": os.environ["AWS_REGION"],
        "is_secure": False,
        "wait_time_seconds": 20,
    },
    task_default_queue=os.environ["QUEUE"],
    task_ignore_result=True,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
)


def nothing(number: int) -> None:
    pass


app.task(name="nothing")(nothing)

if __name__ == "__main__" and sys.argv[1:] == ["send"]:
    app.send_task("nothing", [1])
