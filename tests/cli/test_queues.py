"""The table of queues."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys

import pytest

from forebay.broker.embedded import EmbeddedBroker
from forebay.cli.ages import Ages
from forebay.cli.connection import Connection
from forebay.cli.queues import rows_of
from tests.cli.conftest import Run, Sqs


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def test_a_row_tells_what_is_visible_in_flight_and_delayed(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    for body in ("one", "two", "three"):
        sqs.send(url, body)
    run("receive", "orders")
    run("send", "orders", "later", "--delay", "900")
    ended = run("queues")
    assert (ended.code, ended.err) == (0, "")
    lines = [cells(line) for line in ended.out.splitlines()]
    assert ["queue", "visible", "in flight", "delayed", "oldest", "dead letters of"] in lines
    row = next(line for line in lines if line[0] == "orders")
    assert row[1:4] == ["2", "1", "1"]
    assert re.fullmatch(r"\d+ s", row[4])
    assert "1 queue at http://127.0.0.1:" in ended.out


def test_a_dead_letter_queue_names_whose_it_is(run: Run, sqs: Sqs) -> None:
    sqs.create_with_dead_letter_queue("orders")
    lines = [cells(line) for line in run("queues").out.splitlines()]
    assert ["orders-dlq", "0", "0", "0", "orders"] in lines


def test_a_prefix_leaves_the_others_out(run: Run, sqs: Sqs) -> None:
    for name in ("orders", "orders-dlq", "invoices"):
        sqs.create(name)
    out = run("queues", "orders").out
    assert "invoices" not in out
    assert "2 queues at" in out


def test_no_queues_are_a_sentence_and_not_an_empty_table(run: Run) -> None:
    assert run("queues").out.endswith(" has no queues.\n")
    assert run("queues", "zebra").out.endswith(" has no queue whose name begins with zebra.\n")


def test_json_has_an_object_for_each_queue(run: Run, sqs: Sqs) -> None:
    queue, dead = sqs.create_with_dead_letter_queue("orders")
    sqs.send(queue, "one")
    rows = json.loads(run("queues", "--json").out)
    assert 0 <= rows[0].pop("oldest_message_age_s") < 60
    assert rows == [
        {
            "name": "orders",
            "url": queue,
            "visible": 1,
            "in_flight": 0,
            "delayed": 0,
            "dead_letter_queue_of": [],
        },
        {
            "name": "orders-dlq",
            "url": dead,
            "visible": 0,
            "in_flight": 0,
            "delayed": 0,
            "oldest_message_age_s": 0.0,
            "dead_letter_queue_of": ["orders"],
        },
    ]


def test_every_page_of_the_list_is_shown(run: Run, sqs: Sqs) -> None:
    for number in range(1_001):
        sqs.create(f"queue-{number}")
    assert len(json.loads(run("queues", "--json").out)) == 1_001


def test_a_queue_can_be_the_dead_letter_queue_of_many() -> None:
    policy = json.dumps({"deadLetterTargetArn": "arn:dlq", "maxReceiveCount": 3})
    rows = rows_of(
        {
            "http://sqs/0/b": {"QueueArn": "arn:b", "RedrivePolicy": policy},
            "http://sqs/0/dlq": {"QueueArn": "arn:dlq"},
            "http://sqs/0/a": {"QueueArn": "arn:a", "RedrivePolicy": policy},
        },
        {},
    )
    assert [(row.name, row.dead_letter_queue_of) for row in rows] == [
        ("a", []),
        ("b", []),
        ("dlq", ["a", "b"]),
    ]


def test_without_ages_there_is_no_column_for_them(
    run: Run, sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody_knows(ages: Ages) -> dict[object, float]:
        return {}

    monkeypatch.setattr(Ages, "ask", nobody_knows)
    url = sqs.create("orders")
    sqs.send(url, "one")
    lines = [cells(line) for line in run("queues").out.splitlines()]
    assert ["queue", "visible", "in flight", "delayed", "dead letters of"] in lines
    assert ["orders", "1", "0", "0"] in lines


def test_watching_goes_on_over_an_outage_until_ctrl_c(
    run: Run, sqs: Sqs, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs.create("orders")
    looks = 0

    def next_look(connection: Connection, duration_s: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            broker.stop()
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr(Connection, "sleep", next_look)
    ended = run("queues", "--watch")
    assert (ended.code, looks) == (0, 2)
    assert "orders" in ended.out
    assert "No SQS answers at" in ended.err


def test_watching_as_json_is_a_list_a_line(
    run: Run, sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs.create("orders")
    looks = iter([None, None])

    def next_look(connection: Connection, duration_s: float) -> None:
        if next(looks, duration_s) is not None:
            raise KeyboardInterrupt

    monkeypatch.setattr(Connection, "sleep", next_look)
    ended = run("queues", "--watch", "--json")
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [[row["name"] for row in rows] for rows in lines] == [["orders"]] * 3


def test_it_prints_once_on_a_terminal_too(sqs: Sqs, broker: EmbeddedBroker) -> None:
    sqs.create("orders")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "forebay", "queues", "--endpoint-url", broker.endpoint_url]
    done = subprocess.run(
        command, stdin=theirs, stdout=theirs, stderr=theirs, timeout=60, check=False
    )
    assert done.returncode == 0
    assert b"1 queue at" in os.read(ours, 65_536)
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("columns", ["40", "60"])
def test_a_narrow_terminal_shows_every_name_whole(
    run: Run, sqs: Sqs, broker: EmbeddedBroker, columns: str
) -> None:
    name = "a-queue-with-a-rather-long-name"
    sqs.create(name)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "forebay", "queues", "--endpoint-url", broker.endpoint_url]
    subprocess.run(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"COLUMNS": columns, "NO_COLOR": "1"},
        timeout=60,
        check=True,
    )
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    os.close(theirs)
    first_column = "".join(line.split()[0] for line in shown.splitlines() if line.split())
    assert name in first_column.replace("─", "")


def test_on_a_terminal_it_watches_and_ctrl_c_ends_it_cleanly(
    sqs: Sqs, broker: EmbeddedBroker
) -> None:
    sqs.create("orders")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "forebay", "queues", "--watch"]
    environment = os.environ | {"AWS_ENDPOINT_URL_SQS": broker.endpoint_url}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while b"1 queue at" not in shown:
        shown += os.read(ours, 4_096)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    os.close(ours)
    assert b"Traceback" not in shown
