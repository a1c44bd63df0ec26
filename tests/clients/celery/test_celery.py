"""Celery takes the broker for Amazon SQS: real workers, by kombu's SQS transport."""

from __future__ import annotations

import signal
from itertools import pairwise
from pathlib import Path
from time import time

from mypy_boto3_sqs import SQSClient

from tests.clients.celery.workers import Celery
from tests.clients.peers import ACCESS_KEY_ID, PATIENCE_S, SECRET_ACCESS_KEY

KEYS = {"access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY}

#: A worker with predefined queues may use no others, and so none to talk with other workers.
ALONE = ("--without-mingle", "--without-gossip")


def test_a_hundred_tasks_run_once_each(endpoint_url: str, sqs: SQSClient, tmp_path: Path) -> None:
    celery = Celery(endpoint_url, tmp_path, "hundred")
    with celery.worker():
        celery.call(*(("add", [number], {}) for number in range(100)))
        celery.wait_for("added", 100)
        celery.wait_until_acknowledged(sqs)
    assert sorted(event.argument for event in celery.events("added")) == list(range(100))


def test_tasks_run_from_a_predefined_queue(
    endpoint_url: str, sqs: SQSClient, tmp_path: Path
) -> None:
    url = sqs.create_queue(QueueName="made-by-terraform")["QueueUrl"]
    predefined = {"jobs": {"url": url, **KEYS}}
    celery = Celery(endpoint_url, tmp_path, "jobs", predefined_queues=predefined)
    with celery.worker(*ALONE):
        celery.call(("add", [1], {}), ("add", [2], {}))
        added = celery.wait_for("added", 2)
        celery.wait_until_acknowledged(sqs, url)
    assert sorted(event.argument for event in added) == [1, 2]


def test_a_fifo_queue_runs_the_tasks_of_a_group_in_order(
    endpoint_url: str, sqs: SQSClient, tmp_path: Path
) -> None:
    url = sqs.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    predefined = {"orders.fifo": {"url": url, **KEYS}}
    celery = Celery(endpoint_url, tmp_path, "orders.fifo", predefined_queues=predefined)
    celery.call(*(("add", [number], {"MessageGroupId": "a"}) for number in range(10)))
    with celery.worker(*ALONE, "--pool", "solo"):
        added = celery.wait_for("added", 10)
        celery.wait_until_acknowledged(sqs, url)
    assert [event.argument for event in added] == list(range(10))


def test_a_countdown_and_a_delay_are_kept(
    endpoint_url: str, sqs: SQSClient, tmp_path: Path
) -> None:
    celery = Celery(endpoint_url, tmp_path, "later")
    with celery.worker():
        celery.call(("add", [0], {}))
        celery.wait_for("added", 1)
        began_s = time()
        # The worker keeps the countdown, the queue the delay.
        celery.call(("add", [1], {"countdown": 2}), ("add", [2], {"DelaySeconds": 2}))
        _, *later = celery.wait_for("added", 3)
        celery.wait_until_acknowledged(sqs)
    assert sorted(event.argument for event in later) == [1, 2]
    assert all(event.at_s - began_s >= 2 for event in later)


def test_a_failed_task_is_retried_after_its_countdown(
    endpoint_url: str, sqs: SQSClient, tmp_path: Path
) -> None:
    celery = Celery(endpoint_url, tmp_path, "retried")
    celery.call(("fail_twice", [7], {}))
    with celery.worker():
        tries = celery.wait_for("tried", 3)
        celery.wait_until_acknowledged(sqs)
    assert [event.more["retries"] for event in tries] == [0, 1, 2]
    assert all(later.at_s - earlier.at_s >= 1 for earlier, later in pairwise(tries))


def test_a_killed_workers_task_is_delivered_to_another(
    endpoint_url: str, sqs: SQSClient, tmp_path: Path
) -> None:
    celery = Celery(endpoint_url, tmp_path, "outlived", visibility_timeout=6)
    celery.call(("outlive", [1], {}))
    celery.hang.touch()
    with celery.worker():
        celery.wait_for("began", 1)
    # The end of the block was a SIGKILL in the middle of the task.
    celery.hang.unlink()
    with celery.worker():
        celery.wait_for("ended", 1)
        celery.wait_until_acknowledged(sqs)
    first, second = celery.events("began")
    assert first.more["process"] != second.more["process"]


def test_a_worker_that_is_told_to_end_leaves_nothing_hidden(
    endpoint_url: str, sqs: SQSClient, tmp_path: Path
) -> None:
    celery = Celery(endpoint_url, tmp_path, "drained")
    with celery.worker("--prefetch-multiplier", "4") as worker:
        celery.call(*(("nap", [number], {}) for number in range(20)))
        celery.wait_for("napped", 2)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_S) == 0
    with celery.worker():
        celery.wait_until_acknowledged(sqs)
    # A task that ends as its worker does may run again: the worker's processes wait 30 s for their
    # last results to be read, and sometimes in vain.
    assert {event.argument for event in celery.events("napped")} == set(range(20))
