"""The command as a user runs it, and a broker for it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from forebay.broker.embedded import EmbeddedBroker
from forebay.cli import main
from forebay.cli.connection import Connection, Place
from forebay.protocol.actions import (
    CreateQueueRequest,
    Message,
    MessageAttributes,
    ReceiveMessageRequest,
    SendMessageRequest,
)
from forebay.worker.reject import dead_letter_copy

#: A command's arguments and what is piped into it.
Run = Callable[..., "Ended"]


class Ended(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def run(
    broker: EmbeddedBroker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs `forebay ARGUMENTS` against the broker, without a terminal."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", broker.endpoint_url)

    def run(*arguments: str, stdin: str | bytes = "") -> Ended:
        monkeypatch.setattr(sys, "argv", ["forebay", *arguments])
        piped = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
        capsys.readouterr()
        try:
            main.main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        return Ended(code, *capsys.readouterr())

    return run


class Sqs:
    """The broker as the tests look at it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, name: str, **attributes: str) -> str:
        request = CreateQueueRequest(queue_name=name, attributes=attributes)
        return self._connection.run(self._connection.client.create_queue(request)).queue_url

    def create_with_dead_letter_queue(self, name: str, **attributes: str) -> tuple[str, str]:
        """A queue whose messages are dead after one receive, and its dead-letter queue."""
        dead = self.create(f"{name}-dlq")
        policy = {"deadLetterTargetArn": self.arn(dead), "maxReceiveCount": 1}
        return self.create(name, RedrivePolicy=json.dumps(policy), **attributes), dead

    def arn(self, url: str) -> str:
        return self._connection.attributes(url, "QueueArn")["QueueArn"]

    def send(
        self,
        url: str,
        body: str,
        group: str | None = None,
        attributes: MessageAttributes | None = None,
    ) -> None:
        request = SendMessageRequest(
            queue_url=url, message_body=body, message_group_id=group, message_attributes=attributes
        )
        self._connection.run(self._connection.client.send_message(request))

    def reject(self, url: str, dead_letter_url: str, body: str) -> None:
        """Put what a worker's Reject leaves into the dead-letter queue of a queue."""
        copy = dead_letter_copy(
            Message(message_id="m-7", receipt_handle="", md5_of_body="", body=body),
            queue_url=dead_letter_url,
            source_arn=self.arn(url),
            reason="no such seat",
        )
        self._connection.run(self._connection.client.send_message(copy))

    def receive(self, url: str, count: int = 10) -> list[Message]:
        """The messages that are visible; they are visible again at once."""
        request = ReceiveMessageRequest(
            queue_url=url,
            max_number_of_messages=count,
            visibility_timeout=0,
            wait_time_seconds=0,
            message_system_attribute_names=["All"],
            message_attribute_names=["All"],
        )
        answer = self._connection.run(self._connection.client.receive_message(request))
        return answer.messages or []

    def bodies(self, url: str) -> list[str]:
        return [message.body for message in self.receive(url)]

    def count(self, url: str) -> int:
        return int(self._connection.attributes(url)["ApproximateNumberOfMessages"])

    def die(self, queue: str) -> None:
        """Let every message of the queue become a dead letter."""
        while self.receive(queue):
            pass


@pytest.fixture
def sqs(broker: EmbeddedBroker) -> Iterator[Sqs]:
    with Connection(Place(broker.endpoint_url)) as connection:
        yield Sqs(connection)
