"""A Celery application of one test: its workers, its calls, and what its tasks noted."""

from __future__ import annotations

import json
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mypy_boto3_sqs import SQSClient

from tests.clients.environments import python_environment
from tests.clients.peers import PATIENCE_S, REGION, configuration, output_of, running

HERE = Path(__file__).parent

#: What tells how many messages of a queue are not acknowledged.
COUNTS: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

#: How long a worker waits for messages in one call, and then before the next, in seconds. Short:
#: a worker that is told to end first lets its poll end.
WAITS = {"wait_time_seconds": 1, "polling_interval": 0.1}


class Event(NamedTuple):
    """What a task noted: its argument, and the wall time."""

    name: str
    argument: int
    at_s: float
    more: dict[str, Any]


class Celery:
    """Celery at an endpoint, with one queue, its files in `directory`, and these options."""

    def __init__(
        self, endpoint_url: str, directory: Path, queue: str, **transport_options: object
    ) -> None:
        self._bin = python_environment("celery")
        self._directory = directory
        self._journal = directory / "journal"
        self._log = directory / "worker.log"
        self._queue = queue
        #: While this file exists, the task `outlive` does not end.
        self.hang = directory / "hang"
        options = {"region": REGION, "is_secure": False, **WAITS, **transport_options}
        self._environment = configuration(endpoint_url) | {
            "BROKER_URL": f"sqs://{urlsplit(endpoint_url).netloc}",
            "TRANSPORT_OPTIONS": json.dumps(options),
            "QUEUE": queue,
            "JOURNAL": str(self._journal),
            "HANG": str(self.hang),
            "PYTHONPATH": str(HERE),
        }

    def call(self, *calls: tuple[str, list[int], dict[str, Any]]) -> None:
        """Call tasks: a name, arguments and options each."""
        output_of(
            *(self._bin / "python", HERE / "call.py", json.dumps(calls)),
            environment=self._environment,
            directory=self._directory,
        )

    def worker(self, *options: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """A worker of two processes, killed at the end of the block."""
        return running(
            *(self._bin / "celery", "--app", "application", "worker", "--loglevel", "INFO"),
            *("--concurrency", "2", *options),
            environment=self._environment,
            directory=self._directory,
            log=self._log,
        )

    def events(self, name: str) -> list[Event]:
        """What tasks have noted under this name."""
        if not self._journal.exists():
            return []
        # The last line may still be written.
        lines, _, _ = self._journal.read_text().rpartition("\n")
        events = (Event(*json.loads(line)) for line in lines.splitlines())
        return [event for event in events if event.name == name]

    def wait_for(self, name: str, count: int) -> list[Event]:
        """The events of a name, once there are so many."""
        deadline = monotonic() + PATIENCE_S
        while len(events := self.events(name)) < count:
            assert monotonic() < deadline, f"{len(events)} of {count} {name}\n{self._said()}"
            sleep(0.05)
        return events

    def wait_until_acknowledged(self, sqs: SQSClient, url: str | None = None) -> None:
        """Wait until no message is left in the queue."""
        url = url or sqs.get_queue_url(QueueName=self._queue)["QueueUrl"]
        deadline = monotonic() + PATIENCE_S
        while True:
            read = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=COUNTS)
            if set(read["Attributes"].values()) == {"0"}:
                return
            assert monotonic() < deadline, f"{read['Attributes']}\n{self._said()}"
            sleep(0.05)

    def _said(self) -> str:
        return f"--- the workers printed\n{self._log.read_text() if self._log.exists() else ''}"
