"""The consumers that are tried behind the proxy, each with a small program that charges orders."""

from __future__ import annotations

import json
import shutil
import sys
from abc import ABC, abstractmethod
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import apsw

from forebay.messages.envelope import encode_envelope, envelope_timestamp
from tests.clients.environments import javascript_environment, python_environment
from tests.clients.peers import output_of, own_client

HERE = Path(__file__).parent

#: The table of what Forebay's shop has charged.
CHARGES = "CREATE TABLE IF NOT EXISTS charge (number INTEGER, process INTEGER)"


class Note(NamedTuple):
    """An order, and the process that noted it."""

    number: int
    process: int


class Shop(ABC):
    """A consumer and its program. It keeps a journal: an event, the order, and the process."""

    #: Of the program; also what the table of figures calls it.
    name: str
    command: list[str | Path]
    #: Whether it deletes a message before it works on it.
    deletes_first = False

    #: What its log says when it takes no messages any more, and waits for the work in hand.
    obituary = ""

    @abstractmethod
    def send(self, count: int, environment: dict[str, str]) -> None:
        """Send the orders 0, 1, 2… to the queue that the environment names."""

    def charged(self, directory: Path) -> list[Note]:
        """Every charge of an order."""
        return notes(directory, "charged")

    def ended(self, directory: Path) -> list[Note]:
        """Every end of work on an order."""
        return self.charged(directory)


class SqsConsumer(Shop):
    """bbc/sqs-consumer: ten messages at a time, deleted one by one after their handler."""

    def __init__(self) -> None:
        node, packages = javascript_environment("javascript")
        # A module finds its packages beside itself or above, and nowhere else.
        script = packages / "chaos_shop.js"
        shutil.copy(HERE / "sqs_consumer_shop.js", script)
        manifest = json.loads((packages / "node_modules/sqs-consumer/package.json").read_text())
        self.name = f"sqs-consumer {manifest['version']}"
        self.command = [node, script]

    def send(self, count: int, environment: dict[str, str]) -> None:
        send_bodies([json.dumps({"number": number}) for number in range(count)], environment)


class Celery(Shop):
    """Celery, which acknowledges a task before it runs unless it is told otherwise."""

    deletes_first = True
    obituary = "Unrecoverable error"

    def __init__(self) -> None:
        bin_directory = python_environment("celery")
        self._python = bin_directory / "python"
        asked = "import celery, kombu; print(f'{celery.__version__}, kombu {kombu.__version__}')"
        self.name = f"Celery {output_of(self._python, '-c', asked, environment={}).strip()}"
        self.command = [
            *(bin_directory / "celery", "--app", "celery_shop", "worker", "--loglevel", "INFO"),
            *("--pool", "threads", "--concurrency", "8"),
            *("--without-gossip", "--without-mingle"),
        ]

    def send(self, count: int, environment: dict[str, str]) -> None:
        output_of(self._python, HERE / "celery_shop.py", str(count), environment=environment)


class Forebay(Shop):
    """Forebay's worker, whose effects are guarded: a charge and its mark are one transaction."""

    def __init__(self) -> None:
        self.name = f"Forebay {version('forebay')}, Worker and Guard"
        self.command = [sys.executable, HERE / "worker_shop.py"]

    def send(self, count: int, environment: dict[str, str]) -> None:
        bodies = [
            encode_envelope(
                str(UUID(int=number)), "charge", envelope_timestamp(0), "shop", {"number": number}
            )
            for number in range(count)
        ]
        send_bodies(bodies, environment)

    def charged(self, directory: Path) -> list[Note]:
        with closing(apsw.Connection(str(directory / "shop.sqlite3"))) as database:
            database.set_busy_timeout(5_000)
            database.execute(CHARGES)
            return [Note(*row) for row in database.execute("SELECT number, process FROM charge")]

    def ended(self, directory: Path) -> list[Note]:
        # Most of what comes twice ends without a charge.
        return notes(directory, "ended")


def notes(directory: Path, event: str) -> list[Note]:
    """What the programs have noted under this name."""
    file = directory / "journal"
    lines = file.read_text().splitlines() if file.exists() else []
    return [Note(*note) for name, *note in map(json.loads, lines) if name == event]


def send_bodies(bodies: list[str], environment: dict[str, str]) -> None:
    """Send messages, one a call, so that they are in this order."""
    sqs = own_client(environment["AWS_ENDPOINT_URL_SQS"])
    for body in bodies:
        sqs.send_message(QueueUrl=environment["QUEUE_URL"], MessageBody=body)
    sqs.close()
