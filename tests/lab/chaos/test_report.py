"""The books of the proxy, as people read them."""

from __future__ import annotations

import io

from rich.console import Console

from forebay.broker.faults import Deed, Fate
from forebay.lab.chaos.ledger import ChaosLedger
from forebay.lab.chaos.report import print_ledger, summary
from forebay.protocol.actions import (
    Message,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageRequest,
    SendMessageResult,
)
from forebay.protocol.identifiers import QueueKey


def send(ledger: ChaosLedger, queue: str, message_id: str) -> None:
    request = SendMessageRequest(queue_url=queue, message_body="a")
    result = SendMessageResult(message_id=message_id, md5_of_message_body="")
    ledger.call(request, key_of(queue), Fate.ANSWERED, result)


def receive(ledger: ChaosLedger, queue: str, message_id: str) -> None:
    message = Message(message_id=message_id, receipt_handle="h", md5_of_body="", body="a")
    result = ReceiveMessageResult(messages=[message])
    ledger.call(ReceiveMessageRequest(queue_url=queue), key_of(queue), Fate.ANSWERED, result)


def key_of(queue: str) -> QueueKey:
    return QueueKey("eu-west-1", "000000000000", queue)


def printed(ledger: ChaosLedger) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_ledger(console, ledger)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_many_queues_are_in_several_tables() -> None:
    ledger = ChaosLedger()
    for number in range(5):
        send(ledger, f"queue-{number}", "m")
    text = printed(ledger)
    assert text.count("Ledger") == 2
    assert all(f"queue-{number}" in text for number in range(5))


def test_some_of_the_messages_that_need_a_look_are_named() -> None:
    ledger = ChaosLedger()
    for number in range(5):
        send(ledger, "jobs", f"m-{number}")
    receive(ledger, "jobs", "m-4")
    lines = printed(ledger).splitlines()
    assert "jobs: delivered and never deleted: m-4" in lines
    assert "jobs: sent and never delivered: m-0, m-1, m-2 and 1 more" in lines


def test_what_did_not_happen_is_not_summed_up() -> None:
    ledger = ChaosLedger()
    assert summary(ledger) == "0 calls answered"
    send(ledger, "jobs", "m")
    for _ in range(2):
        ledger.deed(Deed.DOUBLED, key_of("jobs"), "m")
    ledger.deed(Deed.PARTED, None)
    assert summary(ledger) == "1 call answered, 2 messages doubled, 1 partition made"
    assert ledger.figures()["jobs"].doubled == 2
