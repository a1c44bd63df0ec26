"""Receiving on the command line."""

from __future__ import annotations

import errno
import json
import os

import pytest
from msgspec.structs import replace

from forebay.cli import main
from forebay.client.base import SqsClient
from forebay.protocol.actions import (
    BatchResult,
    BatchResultErrorEntry,
    DeleteMessageBatchRequest,
    ReceiveMessageRequest,
)
from tests.cli.conftest import Run, Sqs
from tests.runtime.worker_messages import pack_attributes, sealed


def test_a_json_body_is_laid_out_under_a_line_about_the_message(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    run("send", "orders", '{"seat":"A-12","price":5}', "--attribute", "kind=vip")
    (message,) = sqs.receive(url)
    ended = run("receive", "orders")
    heading, *rest = ended.out.splitlines()
    assert heading.startswith(f"{message.message_id}, sent 20")
    assert heading.endswith(" UTC, received 2 times")
    assert rest == ["  kind = vip", "  {", '    "seat": "A-12",', '    "price": 5', "  }", ""]
    assert ended.err == "Not deleted. It comes back in 30 s; --delete deletes what it prints.\n"
    assert sqs.count(url) == 0


def test_any_other_body_is_printed_as_it_is(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    for body in ("[bold]no markup[/bold]", "12", "two\nlines", "{broken"):
        sqs.send(url, body)
    ended = run("receive", "orders", "--max", "10", "--visibility", "0")
    for body in ("  [bold]no markup[/bold]", "  12", "  two\n  lines", "  {broken"):
        assert f"received once\n{body}\n\n" in ended.out
    assert ended.err == "Not deleted. They come back at once; --delete deletes what it prints.\n"


def test_a_pack_shows_its_header_and_its_first_records(run: Run, sqs: Sqs) -> None:
    url = sqs.create("logs")
    pack = sealed([b'[%d,{"a":"[b]%d"}]' % (number, number) for number in range(1_005)])
    sqs.send(url, pack.body.decode(), attributes=pack_attributes(pack.content))
    lines = run("receive", "logs").out.splitlines()
    assert f"  forebay.pack = {len(pack.content):,} bytes" in lines
    assert '    "events": 1005,' in lines
    assert lines[-6:] == [
        "  }",
        '  [0,{"a":"[b]0"}]',
        '  [1,{"a":"[b]1"}]',
        '  [2,{"a":"[b]2"}]',
        "  and 1,002 more records",
        "",
    ]


def test_a_pack_of_one_shows_its_record_and_a_damaged_one_what_is_wrong(run: Run, sqs: Sqs) -> None:
    url = sqs.create("logs")
    pack = sealed([b"[5,6]"])
    sqs.send(url, pack.body.decode(), attributes=pack_attributes(pack.content))
    assert run("receive", "logs", "--delete").out.endswith("}\n  [5,6]\n\n")
    sqs.send(url, pack.body.decode(), attributes=pack_attributes(b"no pack"))
    assert "\n  The pack 'p-1' is damaged" in run("receive", "logs", "--delete").out


def test_a_fifo_message_shows_its_group(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    sqs.send(url, "seat A-12", group="concert#A")
    assert ", received once, group concert#A\n" in run("receive", "orders.fifo").out


def test_a_dead_letter_shows_where_it_is_from(run: Run, sqs: Sqs) -> None:
    queue, _ = sqs.create_with_dead_letter_queue("orders")
    sqs.send(queue, "poison")
    sqs.die(queue)
    assert ", from orders\n" in run("receive", "orders-dlq").out


def test_delete_takes_the_printed_messages_out_of_the_queue(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    for number in range(25):
        sqs.send(url, f"order {number}")
    ended = run("receive", "orders", "--max", "23", "--visibility", "0", "--delete")
    assert ended.err == ""
    assert ended.out.count("received once") == 23
    assert sqs.count(url) == 2


def test_json_is_one_object_a_line_in_the_words_of_sqs(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    for body in ("one", "two"):
        sqs.send(url, body)
    lines = run("receive", "orders", "--max", "5", "--json").out.splitlines()
    messages = [json.loads(line) for line in lines]
    assert [message["Body"] for message in messages] == ["one", "two"]
    assert all(message["Attributes"]["ApproximateReceiveCount"] == "1" for message in messages)
    assert all(message["ReceiptHandle"] for message in messages)


def test_an_empty_queue_is_said_to_be_empty(run: Run, sqs: Sqs) -> None:
    sqs.create("orders")
    ended = run("receive", "orders", "--wait", "0")
    assert ended == (0, "", "No message of orders is visible now.\n")


def test_a_message_that_cannot_be_deleted_is_an_error(
    run: Run, sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqs.create("orders", VisibilityTimeout="0")
    sqs.send(url, "seat A-12")

    async def refuse(client: SqsClient, request: DeleteMessageBatchRequest) -> BatchResult:
        failed = [BatchResultErrorEntry(id="0", code="Busy", sender_fault=False, message="Later.")]
        return BatchResult(failed=failed)

    monkeypatch.setattr(SqsClient, "delete_message_batch", refuse)
    ended = run("receive", "orders", "--delete")
    assert ended.code == 1
    assert "seat A-12" in ended.out
    assert "They will be received again." in ended.err
    assert sqs.bodies(url) == ["seat A-12"]


def test_a_fifo_message_is_deleted_though_it_was_to_be_hidden_for_no_time(
    run: Run, sqs: Sqs
) -> None:
    url = sqs.create("orders.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    for number in range(12):
        sqs.send(url, f"seat {number}", group="A")
    ended = run("receive", "orders.fifo", "--max", "100", "--visibility", "0", "--delete")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("received once") == 12


@pytest.mark.parametrize(
    ("timeout", "arguments"),
    [("30", ("--visibility", "0")), ("0", ()), ("1", ()), ("30", ("--visibility", "1"))],
)
def test_each_message_is_received_once_however_soon_it_comes_back(
    run: Run, sqs: Sqs, timeout: str, arguments: tuple[str, ...]
) -> None:
    queue, dead = sqs.create_with_dead_letter_queue("orders", VisibilityTimeout=timeout)
    for number in range(15):
        sqs.send(queue, f"order {number}")
    ended = run("receive", "orders", "--max", "100", "--json", *arguments)
    messages = [json.loads(line) for line in ended.out.splitlines()]
    assert sorted(message["Body"] for message in messages) == sorted(
        f"order {number}" for number in range(15)
    )
    assert sqs.count(dead) == 0
    if "0" in (timeout, *arguments):
        assert sqs.count(queue) == 15


def test_it_stops_when_a_message_comes_round_again(
    run: Run, sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs.send(sqs.create("orders"), "again")
    receive, asked = SqsClient.receive_message, 0

    async def at_once_again(client: SqsClient, request: ReceiveMessageRequest) -> object:
        nonlocal asked
        asked += 1
        return await receive(client, replace(request, visibility_timeout=0))

    monkeypatch.setattr(SqsClient, "receive_message", at_once_again)
    assert run("receive", "orders", "--max", "100").out.count("again") == 1
    assert asked == 2


def test_what_was_received_comes_back_when_it_could_not_be_printed(
    run: Run, sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqs.create("orders")
    sqs.send(url, "kept")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("typer.echo", full)
    monkeypatch.setattr(main, "_drop_output", lambda: None)
    ended = run("receive", "orders", "--visibility", "0", "--max", "5", "--delete", "--json")
    assert ended.code == 1
    assert ended.err == "Error: The output cannot be written: No space left on device.\n"
    assert sqs.bodies(url) == ["kept"]
