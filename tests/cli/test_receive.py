"""Receiving on the command line."""

from __future__ import annotations

import json

from tests.cli.conftest import Run, Sqs


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


def test_a_message_that_cannot_be_deleted_any_more_is_an_error(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    sqs.send(url, "seat A-12", group="A")
    # In a FIFO queue a handle is void once the message is visible again, as it is at once here.
    ended = run("receive", "orders.fifo", "--visibility", "0", "--delete")
    assert ended.code == 1
    assert "seat A-12" in ended.out
    assert "They will be received again." in ended.err
    assert sqs.bodies(url) == ["seat A-12"]
