"""How old the oldest messages are, where somebody tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from forebay.broker.access import Access
from forebay.broker.embedded import EmbeddedBroker
from forebay.broker.keys import load_keys
from forebay.broker.running import running_broker
from forebay.cli import own_pages
from forebay.cli.ages import Ages, readable_age
from forebay.cli.connection import Connection, Place
from forebay.client.http import HttpSqsClient
from forebay.protocol.actions import CreateQueueRequest
from tests.cli.conftest import Sqs

KEYS = """
[[key]]
access_key_id = "AKIDOWNER"
secret_access_key = "sixteen-characters-or-more"
account_id = "111111111111"
"""


@contextmanager
def another_sqs(status: int, body: bytes) -> Iterator[tuple[str, list[str]]]:
    """The URL of a server that answers every GET alike, and the paths it was asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", paths
        finally:
            server.shutdown()
            thread.join()


def test_the_broker_tells_the_age_of_each_queue(broker: EmbeddedBroker, sqs: Sqs) -> None:
    sqs.send(sqs.create("orders"), "one")
    sqs.create("empty")
    ages = asyncio.run(Ages(broker.endpoint_url, None).ask())
    assert ages.keys() == {
        "arn:aws:sqs:us-east-1:000000000000:orders",
        "arn:aws:sqs:us-east-1:000000000000:empty",
    }
    assert 0 < ages["arn:aws:sqs:us-east-1:000000000000:orders"] < 60
    assert ages["arn:aws:sqs:us-east-1:000000000000:empty"] == 0


async def test_a_broker_with_keys_tells_whoever_has_one(
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
            await client.create_queue(CreateQueueRequest(queue_name="orders"))
        known = await Ages(server.endpoint_url, None).ask()
        assert known == {"arn:aws:sqs:us-east-1:111111111111:orders": 0}
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
        assert await Ages(server.endpoint_url, None).ask() == {}


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"no such page"), (403, b'{"__type":"AccessDenied"}'), (200, b"<html>")],
)
def test_an_sqs_that_does_not_tell_is_asked_once(status: int, body: bytes) -> None:
    with another_sqs(status, body) as (url, paths):
        ages = Ages(url, None)
        assert asyncio.run(ages.ask()) == {}
        assert asyncio.run(ages.ask()) == {}
    assert paths == ["/_forebay/queues"]


def test_an_sqs_that_is_away_is_asked_again() -> None:
    broker = EmbeddedBroker()
    broker.start()
    url = broker.endpoint_url
    broker.stop()
    ages = Ages(url, None)
    assert asyncio.run(ages.ask()) == {}
    with (
        EmbeddedBroker(port=int(url.rpartition(":")[2])) as again,
        Connection(Place(again.endpoint_url)) as connection,
    ):
        Sqs(connection).create("orders")
        assert asyncio.run(ages.ask()) == {"arn:aws:sqs:us-east-1:000000000000:orders": 0}


@pytest.mark.parametrize("endpoint_url", [None, "https://sqs.eu-west-1.amazonaws.com"])
def test_aws_is_not_asked(endpoint_url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_pages, "Pool", None)
    assert asyncio.run(Ages(endpoint_url, None).ask()) == {}


@pytest.mark.parametrize(
    ("age_s", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1.0 min"),
        (5_400, "1.5 h"),
        (86_400, "1.0 d"),
        (1_209_600, "14.0 d"),
    ],
)
def test_an_age_is_in_the_largest_unit_that_it_reaches(age_s: float, text: str) -> None:
    assert readable_age(age_s) == text
