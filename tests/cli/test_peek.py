"""Looking at messages on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forebay.broker.access import Access
from forebay.broker.keys import load_keys
from forebay.broker.running import running_broker
from forebay.cli.own_pages import OwnPage, OwnPages
from forebay.client.http import HttpSqsClient
from forebay.protocol.actions import CreateQueueRequest
from tests.cli.conftest import Run, Sqs
from tests.cli.test_ages import KEYS
from tests.cli.test_main import answering


def test_messages_are_shown_in_every_state_and_not_received(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    sqs.send(url, "in flight")
    run("receive", "orders")
    sqs.send(url, '{"seat":"A-12"}')
    run("send", "orders", "later", "--delay", "900")
    for _ in range(2):
        ended = run("peek", "orders")
        assert (ended.code, ended.err) == (0, "")
        blocks = ended.out.split("\n\n")
        assert "received once, in flight, visible in " in blocks[0]
        assert "never received, visible\n  {\n" in blocks[1]
        assert "never received, delayed, visible in " in blocks[2]
    assert sqs.count(url) == 1
    assert len(run("peek", "orders", "--max", "2").out.split("\n\n")) == 3


def test_json_is_one_object_a_line(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    sqs.send(url, "seat A-12", group="A")
    sqs.send(url, "seat A-13", group="A")
    lines = [json.loads(line) for line in run("peek", url, "--json").out.splitlines()]
    assert [line["body"] for line in lines] == ["seat A-12", "seat A-13"]
    assert lines[1]["message_group_id"] == "A"
    assert lines[1]["receive_count"] == 0


def test_a_dead_letter_shows_where_it_is_from(run: Run, sqs: Sqs) -> None:
    queue, _ = sqs.create_with_dead_letter_queue("orders")
    sqs.send(queue, "poison")
    sqs.die(queue)
    assert ", from orders\n" in run("peek", "orders-dlq").out


def test_an_empty_queue_is_said_to_be_empty(run: Run, sqs: Sqs) -> None:
    sqs.create("orders")
    assert run("peek", "orders") == (0, "", "orders holds no messages.\n")


def test_an_unknown_queue_brings_those_of_a_similar_name(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    for queue in ("ordres", url.replace("orders", "ordres")):
        ended = run("peek", queue)
        assert ended.code == 1
        assert ended.err.endswith(" has no queue ordres. Did you mean orders?\n")


@pytest.mark.parametrize(
    ("status", "body"), [(404, b"{}"), (200, b"<html>"), (200, b'{"QueueUrl":"x"}'), (501, b"")]
)
def test_another_sqs_is_said_to_show_nothing(run: Run, status: int, body: bytes) -> None:
    with answering(status, body) as url:
        ended = run("peek", f"{url}/000000000000/orders", "--max", "3")
    assert (ended.code, ended.out) == (1, "")
    assert "shows messages only to who receives them, which counts as a receive." in ended.err
    assert "forebay receive orders --max 3 --visibility 0" in ended.err


async def test_a_broker_with_keys_shows_messages_to_whoever_may_receive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(KEYS)
    keys.chmod(0o600)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOWNER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sixteen-characters-or-more")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    async with running_broker(None, access=Access(load_keys(keys))) as server:
        async with HttpSqsClient(server.endpoint_url) as client:
            url = (await client.create_queue(CreateQueueRequest(queue_name="orders"))).queue_url
        pages = OwnPages(server.endpoint_url, None)
        page = await pages.read("/_forebay/messages", QueueUrl=url, MaxResults="5")
        assert page == OwnPage(200, b'{"messages":[]}')
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
        page = await pages.read("/_forebay/messages", QueueUrl=url, MaxResults="5")
        assert page is not None
        assert page.status == 403


def test_aws_is_not_asked(run: Run) -> None:
    ended = run("peek", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders")
    assert ended.code == 1
    assert "shows messages only to who receives them" in ended.err
