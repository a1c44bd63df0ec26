"""A broker that is killed again and again under load keeps every promise it made."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import apsw
import msgspec
import pytest

from forebay.broker.journal.sqlite import TABLES_FILE, SqliteJournal
from tests.acceptance.serve_process import PATIENCE_S, ServeProcess, free_port

#: How long the broker lives between two kills, in seconds: at least, at most. On a busy machine,
#: longer: until it has done something.
LIFE_S = (0.2, 0.6)

SENDERS = 4
RECEIVERS = 4
FIFO_GROUPS = 4

#: Short, so that messages are received many times.
VISIBILITY_TIMEOUT_S = 1


COUNT_UNRECEIVED = """
    SELECT queue_number, unreceived, (
        SELECT count(*) FROM message LEFT JOIN delivery USING (sequence)
        WHERE message.queue_number = tally.queue_number AND receive_count IS NULL
    )
    FROM tally
"""


class Unanswered(Exception):
    """The broker died before it answered, or refused: nobody knows what became of the request."""


class Ledger(msgspec.Struct):
    """What the broker promised, and what nobody can know."""

    sent: set[str] = msgspec.field(default_factory=set)
    perhaps_sent: set[str] = msgspec.field(default_factory=set)
    #: Body → when its delete was acknowledged, as a count of acknowledged deletes.
    deleted: dict[str, int] = msgspec.field(default_factory=dict)
    perhaps_deleted: set[str] = msgspec.field(default_factory=set)
    #: Message id → the highest receive count seen.
    receive_counts: dict[str, int] = msgspec.field(default_factory=dict)
    #: Group → bodies in the order in which they were acknowledged.
    fifo: dict[str, list[str]] = msgspec.field(default_factory=dict)
    broken: list[str] = msgspec.field(default_factory=list)


class Client:
    """Asks the broker until the load ends."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def call(self, action: str, **members: Any) -> dict[str, Any]:
        try:
            async with self._session.post(
                self._url,
                data=msgspec.json.encode(members),
                headers={"X-Amz-Target": f"AmazonSQS.{action}"},
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            await asyncio.sleep(0.02)
            raise Unanswered from error
        assert answer.status == 200, body
        decoded: dict[str, Any] = msgspec.json.decode(body)
        return decoded


async def send(client: Client, ledger: Ledger, name: str, stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        body = f"{name}-{number}-{'x' * 500}"
        try:
            await client.call("SendMessage", QueueUrl="jobs", MessageBody=body)
        except Unanswered:
            ledger.perhaps_sent.add(body)
        else:
            ledger.sent.add(body)


async def send_in_order(client: Client, ledger: Ledger, group: str, stop: asyncio.Event) -> None:
    """Send until each message is acknowledged, with a deduplication id that stays the same."""
    acknowledged = ledger.fifo[group] = []
    while not stop.is_set():
        body = f"{group}-{len(acknowledged)}"
        while True:
            try:
                await client.call(
                    "SendMessage",
                    QueueUrl="orders.fifo",
                    MessageBody=body,
                    MessageGroupId=group,
                    MessageDeduplicationId=body,
                )
            except Unanswered:
                continue
            acknowledged.append(body)
            break


async def receive(client: Client, ledger: Ledger, rng: random.Random, stop: asyncio.Event) -> None:
    """Receive, and delete every other message."""
    while not stop.is_set():
        deletes_before = len(ledger.deleted)
        try:
            answer = await client.call(
                "ReceiveMessage",
                QueueUrl="jobs",
                MaxNumberOfMessages=10,
                WaitTimeSeconds=1,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        except Unanswered:
            continue
        for message in answer.get("Messages", []):
            take_note(ledger, message, deletes_before)
            if rng.random() < 0.5:
                await delete(client, ledger, message)


def take_note(ledger: Ledger, message: dict[str, Any], deletes_before: int) -> None:
    body, count = message["Body"], int(message["Attributes"]["ApproximateReceiveCount"])
    if ledger.deleted.get(body, deletes_before) < deletes_before:
        ledger.broken.append(f"{body[:20]} came back after its delete")
    if count <= ledger.receive_counts.get(message["MessageId"], 0):
        ledger.broken.append(f"the receive count of {body[:20]} fell to {count}")
    ledger.receive_counts[message["MessageId"]] = count


async def delete(client: Client, ledger: Ledger, message: dict[str, Any]) -> None:
    try:
        handle = message["ReceiptHandle"]
        await client.call("DeleteMessage", QueueUrl="jobs", ReceiptHandle=handle)
    except Unanswered:
        ledger.perhaps_deleted.add(message["Body"])
    else:
        ledger.deleted.setdefault(message["Body"], len(ledger.deleted))


async def drain(client: Client, queue: str) -> list[str]:
    """The bodies of everything that is left, in the order received."""
    bodies: list[str] = []
    while True:
        answer = await client.call(
            "ReceiveMessage",
            QueueUrl=queue,
            MaxNumberOfMessages=10,
            VisibilityTimeout=600,
            WaitTimeSeconds=2 * VISIBILITY_TIMEOUT_S,
        )
        messages = answer.get("Messages", [])
        if not messages:
            return bodies
        for message in messages:
            bodies.append(message["Body"])
            if queue.endswith(".fifo"):
                handle = message["ReceiptHandle"]
                await client.call("DeleteMessage", QueueUrl=queue, ReceiptHandle=handle)


async def kill_again_and_again(data: Path, rng: random.Random, kills: int) -> Ledger:
    port = free_port()
    arguments = ("--port", str(port), "--data", str(data))
    ledger, stop = Ledger(), asyncio.Event()
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client = Client(session, f"http://127.0.0.1:{port}/")
        broker = await asyncio.to_thread(start, arguments)
        await client.call(
            "CreateQueue",
            QueueName="jobs",
            Attributes={"VisibilityTimeout": str(VISIBILITY_TIMEOUT_S)},
        )
        await client.call("CreateQueue", QueueName="orders.fifo", Attributes={"FifoQueue": "true"})
        async with asyncio.TaskGroup() as load:
            for number in range(SENDERS):
                load.create_task(send(client, ledger, f"sender-{number}", stop))
            for number in range(FIFO_GROUPS):
                load.create_task(send_in_order(client, ledger, f"group-{number}", stop))
            for _ in range(RECEIVERS):
                load.create_task(receive(client, ledger, rng, stop))
            for _ in range(kills):
                sent, deleted = len(ledger.sent), len(ledger.deleted)
                await asyncio.sleep(rng.uniform(*LIFE_S))
                # The kills hit a broker at work, or all of this proved nothing.
                deadline = monotonic() + PATIENCE_S
                while len(ledger.sent) < sent + 20 or len(ledger.deleted) < deleted + 2:
                    assert monotonic() < deadline, "the broker does not work"
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(broker.kill)
                ledger.broken += miscounted(data)
                broker = await asyncio.to_thread(start, arguments)
            stop.set()
        try:
            check_standard(ledger, await drain(client, "jobs"))
            check_fifo(ledger, await drain(client, "orders.fifo"))
        finally:
            await asyncio.to_thread(broker.kill)
    return ledger


def miscounted(data: Path) -> list[str]:
    """The queues of which the journal says another number of messages than it holds."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(data, Path(folder, "copy")))
        journal = SqliteJournal(copy)
        journal.load()
        journal.close()
        with closing(apsw.Connection(str(copy / TABLES_FILE))) as tables:
            return [
                f"{unreceived} messages are counted in queue {number}, {held} are there"
                for number, unreceived, held in tables.execute(COUNT_UNRECEIVED)
                if unreceived != held
            ]


def start(arguments: tuple[str, ...]) -> ServeProcess:
    broker = ServeProcess(*arguments, module="tests.acceptance.tight_broker")
    broker.wait_until_it_serves()
    return broker


def check_standard(ledger: Ledger, left: list[str]) -> None:
    twice = [body for body, copies in Counter(left).items() if copies > 1]
    lost = ledger.sent - ledger.deleted.keys() - ledger.perhaps_deleted - set(left)
    returned = ledger.deleted.keys() & set(left)
    unknown = set(left) - ledger.sent - ledger.perhaps_sent
    assert (twice, lost, returned, unknown) == ([], set(), set(), set())


def check_fifo(ledger: Ledger, left: list[str]) -> None:
    for group, bodies in ledger.fifo.items():
        assert [body for body in left if body.startswith(f"{group}-")] == bodies


async def test_kills_lose_nothing_and_bring_nothing_back(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Twenty kills, or as many as `--kills` says."""
    kills: int = pytestconfig.getoption("--kills")
    ledger = await kill_again_and_again(tmp_path / "data", random.Random(20), kills)
    assert ledger.broken == []
    assert ledger.perhaps_sent
    assert max(ledger.receive_counts.values()) > 1
