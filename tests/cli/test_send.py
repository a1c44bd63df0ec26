"""Sending from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forebay.cli.send import batches, parse_attributes
from forebay.errors import SettingsError
from forebay.protocol.actions import MessageAttributeValue, SendMessageBatchRequestEntry
from tests.cli.conftest import Run, Sqs


def test_a_message_is_sent_with_its_attributes(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    ended = run(
        "send", "orders", "seat A-12", "--attribute", "kind=vip", "--attribute", "n:Number=5"
    )
    (message,) = sqs.receive(url)
    assert ended == (0, f"Sent to orders: 1 message, {message.message_id}.\n", "")
    assert message.body == "seat A-12"
    assert message.message_attributes == {
        "kind": MessageAttributeValue(data_type="String", string_value="vip"),
        "n": MessageAttributeValue(data_type="Number", string_value="5"),
    }


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_a_message_is_read_from_stdin_without_its_last_newline(
    run: Run, sqs: Sqs, arguments: tuple[str, ...]
) -> None:
    url = sqs.create("orders")
    assert run("send", "orders", *arguments, stdin="two\nlines\n").code == 0
    assert sqs.bodies(url) == ["two\nlines"]


def test_a_file_is_sent_as_it_is(run: Run, sqs: Sqs, tmp_path: Path) -> None:
    url = sqs.create("orders")
    file = tmp_path / "order.txt"
    file.write_text("größe\n", encoding="utf-8")
    assert run("send", url, "--file", str(file)).code == 0
    assert sqs.bodies(url) == ["größe\n"]


def test_a_delayed_message_is_not_visible_yet(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    assert run("send", "orders", "later", "--delay", "900").code == 0
    assert sqs.count(url) == 0


def test_each_line_is_a_message(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    lines = "".join(f"order {number}\n\n" for number in range(105))
    assert run("send", "orders", "--lines", stdin=lines).out == "Sent to orders: 105 messages.\n"
    assert sqs.count(url) == 105


def test_lines_keep_their_order_in_a_fifo_queue(run: Run, sqs: Sqs, tmp_path: Path) -> None:
    url = sqs.create("orders.fifo", FifoQueue="true")
    file = tmp_path / "orders.txt"
    file.write_text("first\r\nsecond\r\nthird")
    arguments = ("--lines", "--file", str(file), "--group", "A", "--deduplication-id", "run")
    for _ in range(2):
        assert run("send", "orders.fifo", *arguments).out == "Sent to orders.fifo: 3 messages.\n"
    messages = sqs.receive(url)
    assert [message.body for message in messages] == ["first", "second", "third"]
    ids = [(message.attributes or {})["MessageDeduplicationId"] for message in messages]
    assert ids == ["run-1", "run-2", "run-3"]


def test_one_message_can_be_sent_many_times(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    assert run("send", "orders", "again", "--count", "25").out == "Sent to orders: 25 messages.\n"
    assert sqs.count(url) == 25


def test_one_message_to_a_fifo_queue_keeps_its_deduplication_id(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders.fifo", FifoQueue="true")
    assert run("send", "orders.fifo", "x", "--group", "A", "--deduplication-id", "run").code == 0
    (message,) = sqs.receive(url)
    assert (message.attributes or {})["MessageDeduplicationId"] == "run"


def test_what_was_refused_is_counted_and_explained(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders", MaximumMessageSize="1024")
    ended = run("send", "orders", "--lines", stdin=f"small\n{'x' * 2000}\n")
    assert ended.code == 1
    assert ended.out.startswith("Sent to orders: 1 message, ")
    assert ended.err.startswith("Error: SQS refused 1 more, the first with InvalidParameterValue")
    assert sqs.bodies(url) == ["small"]


def test_json_is_what_sqs_says_of_each_message_in_order(run: Run, sqs: Sqs) -> None:
    sqs.create("orders", MaximumMessageSize="1024")
    bodies = [f"order {number}" for number in range(25)]
    bodies[3] = "x" * 2000
    ended = run("send", "orders", "--lines", "--json", stdin="\n".join(bodies))
    assert ended.code == 1
    said = [json.loads(line) for line in ended.out.splitlines()]
    assert [one["Id"] for one in said] == [f"{number}" for number in range(1, 26)]
    assert said[0]["MessageId"]
    assert said[3]["Code"] == "InvalidParameterValue"


def test_a_fifo_queue_says_what_it_misses(run: Run, sqs: Sqs) -> None:
    sqs.create("orders.fifo", FifoQueue="true")
    ended = run("send", "orders.fifo", "seat A-12")
    assert (ended.code, ended.out) == (1, "Sent to orders.fifo: 0 messages.\n")
    assert "MessageGroupId" in ended.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("body", "--lines"), "not both"),
        (("body", "--file", __file__), "not both"),
        (("--lines", "--count", "2"), "exclude each other"),
        (("body", "--attribute", "kind"), "NAME=VALUE"),
        (("body", "--attribute", "=5"), "NAME=VALUE"),
        (("body", "--attribute", "raw:Binary=%"), "not Base64"),
    ],
)
def test_a_contradictory_command_line_sends_nothing(
    run: Run, sqs: Sqs, arguments: tuple[str, ...], reason: str
) -> None:
    url = sqs.create("orders")
    ended = run("send", "orders", *arguments)
    assert ended.code == 2
    assert reason in ended.err
    assert sqs.count(url) == 0


def test_what_is_not_text_is_not_sent(run: Run, sqs: Sqs, tmp_path: Path) -> None:
    url = sqs.create("orders")
    file = tmp_path / "picture"
    file.write_bytes(b"\xff\xfe\x00")
    for arguments in (("--file", str(file)), ("--lines", "--file", str(file)), ("\udcff",)):
        ended = run("send", "orders", *arguments)
        assert ended.code == 2
        assert "UTF-8" in ended.err
    assert sqs.count(url) == 0


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("kind=vip", "kind", MessageAttributeValue(data_type="String", string_value="vip")),
        ("kind=a=b:c", "kind", MessageAttributeValue(data_type="String", string_value="a=b:c")),
        ("n:Number=5", "n", MessageAttributeValue(data_type="Number", string_value="5")),
        (
            "n:Number.int=5",
            "n",
            MessageAttributeValue(data_type="Number.int", string_value="5"),
        ),
        (
            "raw:Binary.gzip=AP8=",
            "raw",
            MessageAttributeValue(data_type="Binary.gzip", binary_value=b"\0\xff"),
        ),
    ],
)
def test_an_attribute_is_a_name_perhaps_a_type_and_a_value(
    text: str, name: str, value: MessageAttributeValue
) -> None:
    assert parse_attributes([text]) == {name: value}


def test_an_attribute_without_a_value_is_refused() -> None:
    with pytest.raises(SettingsError, match="NAME=VALUE"):
        parse_attributes(["kind"])


@pytest.mark.parametrize(
    ("sizes", "batches_of"),
    [
        ([], []),
        ([1], [[1]]),
        ([1] * 10, [[1] * 10]),
        ([1] * 11, [[1] * 10, [1]]),
        ([60, 40, 1], [[60, 40], [1]]),
        ([60, 41, 1], [[60], [41, 1]]),
        # What no batch can hold goes alone, for SQS to refuse.
        ([1, 101, 1], [[1], [101], [1]]),
    ],
)
def test_a_batch_has_ten_messages_and_a_messages_bytes_at_most(
    sizes: list[int], batches_of: list[list[int]]
) -> None:
    entries = (
        SendMessageBatchRequestEntry(id=f"{number}", message_body="x" * size)
        for number, size in enumerate(sizes)
    )
    assert [
        [len(entry.message_body) for entry in batch] for batch in batches(entries, batch_bytes=100)
    ] == batches_of


def test_the_bytes_of_a_message_are_those_of_its_body_and_attributes() -> None:
    entry = SendMessageBatchRequestEntry(
        id="1",
        message_body="ü",
        message_attributes=parse_attributes(["k=v", "r:Binary=AP8="]),
    )
    # ü is 2 bytes; k, String and v are 8; r, Binary and two bytes are 9.
    assert list(map(len, batches([entry, entry], batch_bytes=38))) == [2]
    assert list(map(len, batches([entry, entry], batch_bytes=37))) == [1, 1]
