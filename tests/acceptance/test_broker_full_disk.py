"""`forebay serve` on a disk that is full, and with all its memory taken: it can be emptied."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.serve_process import ServeProcess
from tests.acceptance.test_broker_serve import ask

#: How long the alarm may take to end when there is room, in seconds. The broker looks every second.
PATIENCE_S = 10.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("a small disk is mounted by `mount`, which is not here")
    if mounted.returncode:
        pytest.skip(f"a small disk is mounted by root alone: {mounted.stderr.strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def page(url: str, path: str) -> str:
    with urllib.request.urlopen(url + path) as answer:
        text: str = answer.read().decode()
    return text


def alarms(url: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(page(url, "/health"))["alarms"]
    return found


def wait_for_room(url: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while alarms(url):
        assert time.monotonic() < deadline_s, "the alarm did not end"
        time.sleep(0.1)


def send_until_refused(url: str, body: str) -> tuple[int, dict[str, Any]]:
    """How many messages were taken, and what the next one was answered with."""
    for number in range(100_000):
        try:
            ask(url, "SendMessage", QueueUrl="jobs", MessageBody=f"{number} {body}")
        except urllib.error.HTTPError as error:
            with error:
                return number, {"status": error.code, **json.loads(error.read())}
    raise AssertionError("the disk was never full")


def fill(disk: Path) -> None:
    """Take what is left of a disk, as a log file does that nobody looks after."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size_bytes in (65_536, 4_096):
            try:
                while True:
                    file.write(bytes(size_bytes))
            except OSError:
                continue


def receive(url: str, queue: str = "jobs") -> list[dict[str, str]]:
    found: Any = ask(url, "ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=10)
    messages: list[dict[str, str]] = found.get("Messages", [])
    return messages


def attribute(url: str, queue: str, name: str) -> int:
    found: Any = ask(url, "GetQueueAttributes", QueueUrl=queue, AttributeNames=[name])
    return int(found["Attributes"][name])


def drain(url: str, queue: str = "jobs") -> list[str]:
    """Receive and delete all messages. Every request has to succeed at once."""
    bodies = []
    while messages := receive(url, queue):
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
            for number, message in enumerate(messages)
        ]
        answer: Any = ask(url, "DeleteMessageBatch", QueueUrl=queue, Entries=entries)
        assert not answer.get("Failed")
        bodies += [message["Body"] for message in messages]
    return bodies


@pytest.mark.parametrize("body_bytes", [10_000, 200_000])
@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_a_full_disk_refuses_sends_alone_and_takes_them_again_when_it_was_emptied(
    disk: Path, body_bytes: int, durability: str
) -> None:
    body = "x" * body_bytes
    arguments = ("--port", "0", "--data", str(disk / "data"), "--durability", durability)
    with ServeProcess(*arguments) as broker:
        url = broker.endpoint_url
        ask(url, "CreateQueue", QueueName="jobs")
        sent, refusal = send_until_refused(url, body)
        assert sent * body_bytes > 5_000_000
        assert refusal["status"] == 503
        assert refusal["__type"] == "com.amazonaws.sqs#ServiceUnavailable"
        assert "disk of the broker is almost full" in refusal["message"]
        assert [alarm["name"] for alarm in alarms(url)] == ["disk"]
        assert 'forebay_alarm{alarm="disk"} 1.0' in page(url, "/metrics")
        assert sorted(drain(url)) == sorted(f"{number} {body}" for number in range(sent))
        wait_for_room(url)
        ask(url, "SendMessage", QueueUrl="jobs", MessageBody="again")
        assert drain(url) == ["again"]
        broker.signal(signal.SIGTERM)
        _, _, errors = broker.end()
    lines = [line for line in errors.splitlines() if " INFO " not in line]
    assert [("almost full" in line, "room again" in line) for line in lines] == [
        (True, False),
        (False, True),
    ]


def test_a_disk_that_others_fill_to_its_last_byte_is_emptied_also_after_a_restart(
    disk: Path,
) -> None:
    arguments = ("--port", "0", "--data", str(disk / "data"))
    with ServeProcess(*arguments) as broker:
        url = broker.endpoint_url
        ask(url, "CreateQueue", QueueName="dead")
        arn = "arn:aws:sqs:us-east-1:000000000000:dead"
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
        ask(url, "CreateQueue", QueueName="jobs", Attributes={"RedrivePolicy": policy})
        sent, _ = send_until_refused(url, "x" * 5_000)
        fill(disk)
        poisoned = receive(url)[0]
        ask(
            url,
            "ChangeMessageVisibility",
            QueueUrl="jobs",
            ReceiptHandle=poisoned["ReceiptHandle"],
            VisibilityTimeout=0,
        )
    with ServeProcess(*arguments) as broker:
        url = broker.endpoint_url
        deadline_s = time.monotonic() + PATIENCE_S
        while not alarms(url):
            assert time.monotonic() < deadline_s, "the alarm did not begin"
            time.sleep(0.1)
        left = drain(url)
        assert len(set(left)) == len(left)
        assert sent - 10 <= len(left) < sent
        assert attribute(url, "dead", "ApproximateNumberOfMessages") == 1
        ask(url, "PurgeQueue", QueueUrl="dead")
        (disk / "filler").unlink()
        wait_for_room(url)
        ask(url, "SendMessage", QueueUrl="jobs", MessageBody="again")
        assert drain(url) == ["again"]


def test_a_broker_that_was_stopped_on_a_full_disk_starts_again_and_is_emptied(disk: Path) -> None:
    """Others take what the stop gives back, but for the reserve."""
    arguments = ("--port", "0", "--data", str(disk / "data"))
    with ServeProcess(*arguments) as broker:
        url = broker.endpoint_url
        ask(url, "CreateQueue", QueueName="jobs", Attributes={"VisibilityTimeout": "600"})
        sent, _ = send_until_refused(url, "x" * 200_000)
        fill(disk)
        taken = len(receive(url))
        broker.signal(signal.SIGTERM)
        assert broker.end()[0] == 0
    fill(disk)
    with ServeProcess(*arguments) as broker:
        url = broker.endpoint_url
        assert len(drain(url)) == sent - taken
        (disk / "filler").unlink()
        wait_for_room(url)


@pytest.mark.parametrize("body_bytes", [3_000, 100_000])
def test_a_purge_of_a_full_disk_makes_room_without_another_request(
    disk: Path, body_bytes: int
) -> None:
    with ServeProcess("--port", "0", "--data", str(disk / "data")) as broker:
        url = broker.endpoint_url
        ask(url, "CreateQueue", QueueName="jobs")
        send_until_refused(url, "x" * body_bytes)
        fill(disk)
        ask(url, "PurgeQueue", QueueUrl="jobs")
        wait_for_room(url)
        ask(url, "SendMessage", QueueUrl="jobs", MessageBody="again")
        assert drain(url) == ["again"]


def test_all_messages_of_a_full_disk_can_become_dead_letters_and_be_received_as_such(
    disk: Path,
) -> None:
    with ServeProcess("--port", "0", "--data", str(disk / "data")) as broker:
        url = broker.endpoint_url
        ask(url, "CreateQueue", QueueName="dead")
        arn = "arn:aws:sqs:us-east-1:000000000000:dead"
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
        attributes = {"RedrivePolicy": policy, "VisibilityTimeout": "3"}
        ask(url, "CreateQueue", QueueName="jobs", Attributes=attributes)
        sent, _ = send_until_refused(url, "x" * 10_000)
        fill(disk)
        received = 0
        while messages := receive(url):
            received += len(messages)
        assert received == sent
        deadline_s = time.monotonic() + 60
        while attribute(url, "dead", "ApproximateNumberOfMessages") < sent:
            assert time.monotonic() < deadline_s
            assert receive(url) == []
        (disk / "filler").unlink()
        assert len(drain(url, "dead")) == sent
        wait_for_room(url)


def test_more_is_kept_free_when_more_is_asked_for(disk: Path) -> None:
    arguments = ("--port", "0", "--data", str(disk / "data"), "--disk-reserve", "30MB")
    with ServeProcess(*arguments) as broker:
        url = broker.endpoint_url
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(url, "CreateQueue", QueueName="jobs")
        with refused.value as error:
            assert error.code == 503


@pytest.mark.parametrize("durability", ["memory", "os"])
def test_memory_that_messages_have_filled_is_emptied_by_who_deletes_them(
    tmp_path: Path, durability: str
) -> None:
    place = () if durability == "memory" else ("--data", str(tmp_path))
    options = ("--port", "0", "--durability", durability, "--memory-limit", "2MB")
    with ServeProcess(*options, *place) as broker:
        url = broker.endpoint_url
        ask(url, "CreateQueue", QueueName="jobs")
        sent, refusal = send_until_refused(url, "x" * 10_000)
        assert "as many messages and deduplication ids in memory as it may" in refusal["message"]
        assert [alarm["name"] for alarm in alarms(url)] == ["memory"]
        assert 'forebay_alarm{alarm="memory"} 1.0' in page(url, "/metrics")
        assert len(drain(url)) == sent
        wait_for_room(url)
        ask(url, "SendMessage", QueueUrl="jobs", MessageBody="again")
        assert drain(url) == ["again"]
