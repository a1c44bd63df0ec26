"""The workers that are measured side by side, each in its own environment.

They are what a Python team would choose instead, and the most used one of JavaScript. Each runs as
its documentation advises for throughput; `settings` says how. A worker whose environment cannot be
made is left out, and said to be.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from msgspec import Struct

from forebay.messages.envelope import encode_envelope, envelope_timestamp
from tests.clients.environments import javascript_environment, python_environment

APPS = Path(__file__).parent / "worker_apps"
_PEERS = Path(__file__).parent / "peers"

#: The families that the bars are about.
FOREBAY, CELERY, SQS_CONSUMER = "Forebay", "Celery", "sqs-consumer"

#: What AWS's own clients are configured with.
AWS = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


#: What a message of every kind carries.
_PAYLOAD = {"number": 1}


class Subject(Struct, frozen=True):
    """A worker: the command that runs it, and how a message of its kind comes to be."""

    family: str
    name: str
    #: What is set besides the defaults.
    settings: str
    command: list[str]
    #: Sends one message to the queue named by QUEUE. Empty where the body is `body`.
    send: list[str] = []
    body: str = ""


class Family(Struct, frozen=True):
    """Workers that share an environment, which `install` makes."""

    name: str
    install: Callable[[], list[Subject]]


def envelope(message_type: str) -> str:
    """A message as Forebay's producer makes it. Its id is to be replaced by others."""
    return encode_envelope(str(UUID(int=1)), message_type, envelope_timestamp(0), "bench", _PAYLOAD)


def environment(endpoint_url: str, queue: str, queue_url: str) -> dict[str, str]:
    """The variables that every worker is started with."""
    return {
        **os.environ,
        **AWS,
        "AWS_ENDPOINT_URL_SQS": endpoint_url,
        "QUEUE": queue,
        "QUEUE_URL": queue_url,
        "PYTHONPATH": str(APPS),
    }


def _forebay() -> list[Subject]:
    cores = str(os.cpu_count() or 1)
    run = (sys.executable, "-m", "forebay", "worker", "run", "forebay_app:worker", "--port", "0")
    commands = {
        FOREBAY: ("defaults, one process", [sys.executable, str(APPS / "forebay_app.py")]),
        f"{FOREBAY}, {cores} processes": (
            f"forebay worker run --processes {cores}, its own process included",
            [*run, "--processes", cores],
        ),
    }
    return [
        Subject(FOREBAY, name, settings, command, body=envelope("nothing"))
        for name, (settings, command) in commands.items()
    ]


def _celery() -> list[Subject]:
    bin_directory = python_environment("bench_celery", _PEERS / "celery.lock")
    send = [str(bin_directory / "python"), str(APPS / "celery_app.py"), "send"]
    alone = "--without-gossip --without-mingle --without-heartbeat --loglevel WARNING"
    return [
        Subject(
            CELERY,
            f"Celery, {pool}",
            f"--pool {pool} {options} {alone}; no results, events, remote control or rate limits",
            [
                *(str(bin_directory / "celery"), "--app", "celery_app", "worker"),
                *("--pool", pool, *options.split(), *alone.split()),
            ],
            send,
        )
        for pool, options in (
            ("threads", "--concurrency 16 --prefetch-multiplier 4"),
            ("solo", "--prefetch-multiplier 10"),
            ("prefork", "--concurrency 8 --prefetch-multiplier 10"),
            ("gevent", "--concurrency 100"),
        )
    ]


def _dramatiq() -> list[Subject]:
    bin_directory = python_environment("dramatiq")
    return [
        Subject(
            "dramatiq-sqs",
            "dramatiq-sqs",
            "defaults: a process a core, 8 threads each, prefetch 10 (its most)",
            [str(bin_directory / "dramatiq"), "dramatiq_app"],
            [str(bin_directory / "python"), str(APPS / "dramatiq_app.py"), "send"],
        )
    ]


def _taskiq() -> list[Subject]:
    bin_directory = python_environment("taskiq", _PEERS / "taskiq.lock")
    options = ["--workers", str(os.cpu_count() or 1), "--max-prefetch", "100"]
    return [
        Subject(
            "taskiq-aio-sqs",
            "taskiq-aio-sqs",
            f"max_number_of_messages=10; {' '.join(options)}, 100 tasks at once each",
            [
                *(str(bin_directory / "taskiq"), "worker", "taskiq_app:broker", *options),
                *("--log-level", "WARNING"),
            ],
            [str(bin_directory / "python"), str(APPS / "taskiq_app.py"), "send"],
        )
    ]


def _sqs_consumer() -> list[Subject]:
    node, directory = javascript_environment("javascript")
    # A module finds its packages beside itself or above, and nowhere else.
    script = directory / "bench_worker.js"
    shutil.copy(APPS / "sqs_consumer.js", script)
    return [
        Subject(
            SQS_CONSUMER,
            SQS_CONSUMER if count == 1 else f"{SQS_CONSUMER} ×{count}",
            f"{count} in one process; batchSize 10, handleMessageBatch, waitTimeSeconds 20",
            [str(node), str(script), str(count)],
            body='{"number":1}',
        )
        for count in (1, 4)
    ]


#: In the order in which they are measured.
FAMILIES = [
    Family(FOREBAY, _forebay),
    Family(SQS_CONSUMER, _sqs_consumer),
    Family("taskiq-aio-sqs", _taskiq),
    Family("dramatiq-sqs", _dramatiq),
    Family(CELERY, _celery),
]
