"""What aiobotocore does: `scenarios.py NAME` prints JSON. Runs in its environment."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from aiobotocore.config import AioConfig  # type: ignore[import-not-found]
from aiobotocore.session import get_session  # type: ignore[import-not-found]
from botocore.exceptions import ClientError

Client = Any
Scenario = Callable[[Client], Awaitable[object]]


async def new_queue(sqs: Client, name: str, **attributes: str) -> str:
    created = await sqs.create_queue(QueueName=name, Attributes=attributes)
    return str(created["QueueUrl"])


async def standard(sqs: Client) -> object:
    """Send, receive, extend, release, receive again, delete."""
    url = await new_queue(sqs, "standard", VisibilityTimeout="60")
    sent = await sqs.send_message(
        QueueUrl=url,
        MessageBody="hello \u65e5\u672c",
        MessageAttributes={"seat": {"DataType": "Binary", "BinaryValue": b"\x00\x01"}},
    )
    ask = {"QueueUrl": url, "MessageAttributeNames": ["All"], "AttributeNames": ["All"]}
    [first] = (await sqs.receive_message(**ask))["Messages"]
    hidden = await sqs.receive_message(**ask)
    await sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0
    )
    [second] = (await sqs.receive_message(**ask))["Messages"]
    await sqs.delete_message(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"])
    counts = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    await sqs.delete_queue(QueueUrl=url)
    try:
        await sqs.get_queue_url(QueueName="standard")
    except sqs.exceptions.QueueDoesNotExist as error:
        gone = error.response["Error"]["Code"]
    return {
        "same message": first["MessageId"] == second["MessageId"] == sent["MessageId"],
        "body": second["Body"],
        "attribute": list(second["MessageAttributes"]["seat"]["BinaryValue"]),
        "receives": second["Attributes"]["ApproximateReceiveCount"],
        "seen while hidden": len(hidden.get("Messages", [])),
        "new handle": first["ReceiptHandle"] != second["ReceiptHandle"],
        "left": counts["Attributes"]["ApproximateNumberOfMessagesNotVisible"],
        "gone": gone,
    }


async def fifo(sqs: Client) -> object:
    """Two groups, sent twice over; each is read in its order."""
    url = await new_queue(sqs, "orders.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    for _ in range(2):
        for number in range(6):
            await sqs.send_message(
                QueueUrl=url, MessageBody=str(number), MessageGroupId="ab"[number % 2]
            )
    groups: dict[str, list[str]] = {"a": [], "b": []}
    while True:
        received = await sqs.receive_message(
            QueueUrl=url, AttributeNames=["MessageGroupId"], MaxNumberOfMessages=2
        )
        if "Messages" not in received:
            return groups
        for message in received["Messages"]:
            groups[message["Attributes"]["MessageGroupId"]].append(message["Body"])
            await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


async def batches(sqs: Client) -> object:
    """Batches of which an entry fails, and batches that fail whole."""
    url = await new_queue(sqs, "batches", MaximumMessageSize="1024")
    sent = await sqs.send_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "good", "MessageBody": "a"},
            {"Id": "long", "MessageBody": "b" * 1025},
            {"Id": "illegal", "MessageBody": "\uffff"},
        ],
    )
    [message] = (await sqs.receive_message(QueueUrl=url))["Messages"]
    deleted = await sqs.delete_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "good", "ReceiptHandle": message["ReceiptHandle"]},
            {"Id": "bad", "ReceiptHandle": "no handle"},
        ],
    )
    refused = []
    for entries in ([], [{"Id": "x", "MessageBody": "a"}] * 2):
        try:
            await sqs.send_message_batch(QueueUrl=url, Entries=entries)
        except ClientError as error:
            refused.append(error.response["Error"]["Code"])
    return {
        "sent": [entry["Id"] for entry in sent["Successful"]],
        "not sent": {entry["Id"]: entry["Code"] for entry in sent["Failed"]},
        "deleted": [entry["Id"] for entry in deleted["Successful"]],
        "not deleted": {entry["Id"]: entry["Code"] for entry in deleted["Failed"]},
        "refused": refused,
    }


async def long_poll(sqs: Client) -> object:
    """A hundred polls wait, and a send wakes one of them; then the end of a delay another."""
    url = await new_queue(sqs, "polled")
    other = await new_queue(sqs, "never-sent-to")
    idle = [
        asyncio.create_task(sqs.receive_message(QueueUrl=other, WaitTimeSeconds=20))
        for _ in range(100)
    ]
    waits = []
    for delay_s in (0, 1):
        poll = asyncio.create_task(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))
        await asyncio.sleep(0.5)
        began = monotonic()
        await sqs.send_message(QueueUrl=url, MessageBody="wake up", DelaySeconds=delay_s)
        received = await poll
        waits.append(monotonic() - began)
        await sqs.delete_message(
            QueueUrl=url, ReceiptHandle=received["Messages"][0]["ReceiptHandle"]
        )
    woken = sum(poll.done() for poll in idle)
    for poll in idle:
        poll.cancel()
    await asyncio.gather(*idle, return_exceptions=True)
    return {"waits_s": waits, "woken for nothing": woken}


async def concurrency(sqs: Client) -> object:
    """A hundred tasks send ten messages each while a hundred receive and delete."""
    url = await new_queue(sqs, "busy")
    expected = {f"{task}/{number}" for task in range(100) for number in range(10)}
    received: list[str] = []

    async def send(task: int) -> None:
        for number in range(10):
            await sqs.send_message(QueueUrl=url, MessageBody=f"{task}/{number}")

    async def receive() -> None:
        while len(received) < len(expected):
            answer = await sqs.receive_message(
                QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=10
            )
            for message in answer.get("Messages", []):
                received.append(message["Body"])
                await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    async with asyncio.TaskGroup() as tasks:
        for task in range(100):
            tasks.create_task(send(task))
            tasks.create_task(receive())
    counts = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    return {
        "received": len(received),
        "as sent": set(received) == expected,
        "left": [
            counts["Attributes"]["ApproximateNumberOfMessages"],
            counts["Attributes"]["ApproximateNumberOfMessagesNotVisible"],
        ],
    }


SCENARIOS: dict[str, Scenario] = {
    "standard": standard,
    "fifo": fifo,
    "batches": batches,
    "long_poll": long_poll,
    "concurrency": concurrency,
}


async def main() -> None:
    config = AioConfig(max_pool_connections=250)
    async with get_session().create_client("sqs", config=config) as sqs:
        print(json.dumps(await SCENARIOS[sys.argv[1]](sqs)))


if __name__ == "__main__":
    asyncio.run(main())
