"""`forebay serve` on a disk that is full, read-only or damaged, as a user meets it."""

from __future__ import annotations

import os
import resource
import signal
import urllib.error
from pathlib import Path

import pytest

from tests.acceptance.serve_process import ServeProcess
from tests.acceptance.test_broker_serve import ask, failure

#: A body that fills a file soon.
_BODY = "x" * 100_000


def status_of_send(url: str, body: str) -> int:
    try:
        ask(url, "SendMessage", QueueUrl="jobs", MessageBody=body)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    return 200


def bodies_of(url: str) -> list[str]:
    found: list[str] = []
    while messages := ask(url, "ReceiveMessage", QueueUrl="jobs", MaxNumberOfMessages=10):
        found += [message["Body"] for message in messages["Messages"]]  # type: ignore[attr-defined]
    return sorted(found)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits another process")
def test_a_full_disk_refuses_sends_until_there_is_space_and_loses_nothing(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--data", str(tmp_path))
    with ServeProcess(*arguments) as broker:
        url = broker.endpoint_url
        ask(url, "CreateQueue", QueueName="jobs")
        assert status_of_send(url, f"before {_BODY}") == 200
        broker.limit_files(1_000_000)
        statuses = [status_of_send(url, f"during {number} {_BODY}") for number in range(20)]
        assert set(statuses) == {200, 503}
        assert ask(url, "GetQueueUrl", QueueName="jobs")
        broker.limit_files(resource.RLIM_INFINITY)
        assert status_of_send(url, "after") == 200
        kept = [f"during {number} {_BODY}" for number in range(20) if statuses[number] == 200]
    with ServeProcess(*arguments) as broker:
        assert bodies_of(broker.endpoint_url) == sorted(["after", f"before {_BODY}", *kept])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    code, errors = failure("--port", "0", "--data", str(tmp_path))
    assert code == 1
    assert f"The data directory {tmp_path} cannot be used: Permission denied" in errors


def test_a_file_that_is_no_journal_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"somebody's notes\n" * 1000)
    code, errors = failure("--port", "0", "--data", str(tmp_path))
    assert code == 1
    assert f"The file {tmp_path / 'journal.db'} is not a journal of Forebay" in errors
    assert (tmp_path / "journal.db").read_bytes() == b"somebody's notes\n" * 1000


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--data", str(tmp_path))
    with ServeProcess(*arguments) as broker:
        ask(broker.endpoint_url, "CreateQueue", QueueName="jobs")
        broker.signal(signal.SIGTERM)
        broker.end()
    with (tmp_path / "journal.db").open("r+b") as file:
        file.seek(16_384)
        file.write(b"\xff" * 1_000_000)
    code, errors = failure(*arguments)
    assert code == 1
    assert f"The journal {tmp_path / 'journal.db'} could not be read" in errors
