"""`forebay produce` from the command line."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Run, Sqs


def test_it_sends_ten_messages_to_the_queue_that_the_environment_names(
    run: Run, sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_URL", sqs.create("orders"))
    ended = run("produce")
    assert ended == (0, "Sent to orders: 10 messages.\n", "")


def test_every_third_is_poison(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    assert run("produce", "--n", "8", "--poison-every", "3", "--queue-url", url).code == 0
    payloads = [json.loads(body) for body in sqs.bodies(url)]
    assert sum(payload.get("poison", False) for payload in payloads) == 2
    assert len({payload["id"] for payload in payloads}) == 8


def test_the_same_seed_sends_the_same(run: Run, sqs: Sqs) -> None:
    bodies = []
    for name in ("first", "second"):
        url = sqs.create(name)
        run("produce", "--n", "3", "--seed", "s", "--poison-count", "1", "--queue-url", url)
        bodies.append(sorted(sqs.bodies(url)))
    assert bodies[0] == bodies[1]


def test_messages_of_a_standard_queue_may_be_in_a_group(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    assert run("produce", "--queue-url", url, "--group", "tenant-1").code == 0
    assert sqs.count(url) == 10


def test_a_fifo_queue_needs_a_group(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders.fifo", FifoQueue="true")
    ended = run("produce", "--queue-url", url)
    assert ended.code == 2
    assert "A FIFO queue takes messages of groups only: name one with --group." in ended.err
    assert run("produce", "--queue-url", url, "--group", "tenant-1").code == 0
    assert sqs.count(url) == 10


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "No queue is named. Set QUEUE_URL in the environment or in .env, or give"),
        (("--queue-url", "{base}/nowhere"), 1, "has no queue nowhere."),
        (("--queue-url", "http://127.0.0.1:9/000000000000/orders"), 1, "No SQS answers at"),
        (("--queue-url", "{base}/orders", "--n", "0", "--poison-count", "1"), 2, "--poison-every"),
        (("--queue-url", "{base}/orders", "--batch-size", "11"), 2, "less than or equal to 10"),
        (("--queue-url", "{base}/orders", "--rate", "-1"), 2, "'--rate'"),
        (("--queue-url", "{base}/orders", "--profile", "nobody"), 2, "profile (nobody) could not"),
    ],
)
def test_what_cannot_be_sent_is_said_and_the_exit_code_says_so_too(
    run: Run,
    sqs: Sqs,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    # What --profile says must not outlive the test.
    monkeypatch.setenv("AWS_PROFILE", "")
    monkeypatch.delenv("AWS_PROFILE")
    base = sqs.create("orders").rpartition("/")[0]
    ended = run("produce", *(each.format(base=base) for each in arguments))
    assert ended.code == code
    assert says in " ".join(ended.err.split())


def test_what_sqs_refuses_is_counted_and_the_exit_code_says_so(run: Run, sqs: Sqs) -> None:
    url = sqs.create("small", MaximumMessageSize="1024")
    assert run("produce", "--queue-url", url, "--n", "3").code == 0
    fifo = sqs.create("orders.fifo", FifoQueue="true")
    ended = run("produce", "--queue-url", fifo, "--group", "no spaces here", "--n", "3")
    assert ended.code == 1
    assert ended.out == "Sent to orders.fifo: 0 messages.\n"
    assert "3 messages could not be sent. 3 messages: " in ended.err
    assert "The group_id 'no spaces here' is not allowed" in " ".join(ended.err.split())
