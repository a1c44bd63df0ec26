"""Creating and deleting queues, and their attributes and tags, on the command line."""

from __future__ import annotations

import json
import sys

import pytest

from forebay.broker.embedded import EmbeddedBroker
from forebay.cli import main
from tests.cli.conftest import Run, Sqs
from tests.cli.test_purge import Terminal


def test_a_queue_is_created_with_its_attributes_and_tags(run: Run, sqs: Sqs) -> None:
    ended = run("create", "orders", "-a", "VisibilityTimeout=60", "--tag", "team=sale")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("Created http://127.0.0.1:")
    assert ended.out.endswith("/000000000000/orders\n")
    assert run("attributes", "orders", "VisibilityTimeout").out == "VisibilityTimeout  60\n"
    assert run("tag", "orders").out == "team  sale\n"
    again = run("create", "orders", "-a", "VisibilityTimeout=60", "--tag", "team=sale")
    assert (again.code, again.out) == (0, ended.out.replace("Created", "There already:"))


def test_a_broker_that_creates_what_is_missing_leaves_it_to_the_command(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedBroker(auto_create=True) as broker:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", broker.endpoint_url)
        ended = run("create", "orders", "-a", "VisibilityTimeout=60", "--dlq", "dead")
        assert (ended.code, ended.err, ended.out.count("Created ")) == (0, "", 2)
        assert run("attributes", "orders", "VisibilityTimeout").out == "VisibilityTimeout  60\n"


def test_a_fifo_queue_has_its_suffix_and_a_fifo_dead_letter_queue(run: Run, sqs: Sqs) -> None:
    ended = run("create", "seats", "--fifo", "--dlq", "dead", "--max-receive-count", "5")
    assert [line.rpartition("/")[2] for line in ended.out.splitlines()] == [
        *("dead.fifo", "seats.fifo"),
    ]
    shown = json.loads(run("attributes", "seats.fifo", "--json").out)
    assert shown["FifoQueue"] == "true"
    policy = json.loads(shown["RedrivePolicy"])
    assert policy["maxReceiveCount"] == 5
    assert policy["deadLetterTargetArn"].endswith(":dead.fifo")
    # Dead letters are as old as they were before: four days would be over before anybody looks.
    kept = json.loads(run("attributes", "dead.fifo", "--json").out)["MessageRetentionPeriod"]
    assert kept == "1209600"


def test_a_dead_letter_queue_that_is_there_is_used(run: Run, sqs: Sqs) -> None:
    dead = sqs.create("dead", VisibilityTimeout="7")
    ended = run("create", "orders", "--dlq", "dead", "--json")
    assert json.loads(ended.out)["QueueUrl"].endswith("/orders")
    assert ended.out.count("\n") == 1
    policy = json.loads(run("attributes", "orders", "--json").out)["RedrivePolicy"]
    assert json.loads(policy)["deadLetterTargetArn"] == sqs.arn(dead)


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("a b",), 2, "a b cannot be the name of a queue"),
        (("arn:aws:sqs:us-east-1:000000000000:orders",), 2, "--endpoint-url and --region say"),
        (("http://127.0.0.1:9324/000000000000/orders",), 2, "cannot be the name of a queue"),
        (("x" * 81,), 2, "at most 80"),
        (("orders", "-a", "VisibilityTimeout"), 2, "Write NAME=VALUE."),
        (("orders", "--tag", "=x"), 2, "Write NAME=VALUE."),
        (("orders", "--dlq", "dead", "-a", "RedrivePolicy={}"), 2, "exclude each other"),
        (("orders", "--dlq", "a b"), 2, "a b cannot be the name of a queue"),
        (("orders", "-a", "Nonsense=1"), 1, "Nonsense"),
        (("orders", "-a", "VisibilityTimeout=many"), 1, "VisibilityTimeout"),
    ],
)
def test_what_can_be_no_queue_is_explained(
    run: Run, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    ended = run("create", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert complaint in ended.err
    assert ended.err.count("\n") == 1


def test_a_queue_that_is_there_with_other_attributes_is_not_changed(run: Run, sqs: Sqs) -> None:
    sqs.create("orders", VisibilityTimeout="5")
    ended = run("create", "orders", "-a", "VisibilityTimeout=60")
    assert ended.code == 1
    assert "QueueAlreadyExists" in ended.err


def test_attributes_are_shown_and_set(run: Run, sqs: Sqs) -> None:
    sqs.create_with_dead_letter_queue("orders")
    everything = run("attributes", "orders").out
    assert "VisibilityTimeout" in everything
    assert "RedrivePolicy" in everything
    names = [line.split()[0] for line in everything.splitlines()]
    assert names == sorted(names)
    ended = run("attributes", "orders", "VisibilityTimeout=120", "DelaySeconds=5")
    assert ended.out.split() == ["DelaySeconds", "5", "VisibilityTimeout", "120"]
    run("attributes", "orders", "RedrivePolicy=")
    assert "RedrivePolicy" not in run("attributes", "orders").out
    shown = run("attributes", "orders", "DelaySeconds", "VisibilityTimeout", "--json").out
    assert json.loads(shown) == {"DelaySeconds": "5", "VisibilityTimeout": "120"}


def test_an_unknown_attribute_is_named(run: Run, sqs: Sqs) -> None:
    sqs.create("orders")
    for text in ("Nonsense", "Nonsense=1"):
        ended = run("attributes", "orders", text)
        assert (ended.code, ended.out) == (1, "")
        assert "Nonsense" in ended.err


def test_tags_are_shown_set_and_removed(run: Run, sqs: Sqs) -> None:
    sqs.create("orders")
    assert run("tag", "orders") == (0, "", "")
    assert run("tag", "orders", "team=sale", "owner=ann", "note=").code == 0
    assert json.loads(run("tag", "orders", "--json").out) == {
        "team": "sale",
        "owner": "ann",
        "note": "",
    }
    ended = run("tag", "orders", "team=tickets", "--remove", "owner", "--remove", "note")
    assert ended == (0, "team  tickets\n", "")


def test_without_a_terminal_deleting_refuses_and_says_how_to_mean_it(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    sqs.send(url, "one")
    ended = run("delete", "orders")
    assert (ended.code, ended.out) == (2, "")
    assert "This would delete orders with 1 message at http://127.0.0.1:" in ended.err
    assert sqs.count(url) == 1
    assert run("delete", "orders", "--yes") == (0, "Deleted orders with 1 message.\n", "")
    assert "It shows no queues at all." in run("delete", "orders", "--yes").err


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, False), ("n\n", 1, True)])
def test_on_a_terminal_deleting_asks_first(
    run: Run, sqs: Sqs, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: bool
) -> None:
    sqs.create("orders")
    monkeypatch.setattr(sys, "argv", ["forebay", "delete", "orders"])
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == code
    assert ("orders" in run("queues").out) is left


def test_json_says_what_was_deleted(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    sqs.send(url, "one")
    assert json.loads(run("purge", "orders", "--yes", "--json").out) == {
        "QueueUrl": url,
        "Messages": 1,
    }
    assert json.loads(run("delete", url, "--yes", "--json").out) == {
        "QueueUrl": url,
        "Messages": 0,
    }
