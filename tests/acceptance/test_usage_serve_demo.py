"""`forebay usage serve-demo` as a user runs it: two processes, asked, and stopped with Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forebay import EmbeddedBroker
from forebay.apps.crew import free_ports
from forebay.apps.usage.accounts import UsageAccount, kept_account
from tests.acceptance.test_demo import forebay_without, until

DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, key: str = "demo-key-1") -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={"X-Api-Key": key})
    try:
        with DIRECTLY.open(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


def is_up(url: str) -> bool:
    try:
        return get(f"{url}/health")[0] == 200
    except OSError:
        return False


@contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The price API in two processes, with the URLs of these; it is stopped with Ctrl-C."""
    port = free_ports(1)[0]
    urls = [f"http://127.0.0.1:{port + number}" for number in range(2)]
    command = subprocess.Popen(
        [
            *(sys.executable, "-m", "forebay", "usage", "serve-demo", "--processes", "2"),
            *("--port", str(port), *arguments),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    said = ""
    try:
        until(lambda: all(map(is_up, urls)))
        yield command, urls
    finally:
        command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=30)
    assert command.returncode == 0, said
    for url in urls:
        assert f"serves on {url}" in said


def test_prices_are_served_by_two_processes_and_every_request_is_logged(tmp_path: Path) -> None:
    parameters = f"sqlite:///{tmp_path}/parameters.sqlite3"
    subprocess.run(
        [
            *(sys.executable, "-m", "forebay", "parameters", "set"),
            *("sqs_buffer_size", "4321", "--store", parameters),
        ],
        check=True,
        capture_output=True,
    )
    with EmbeddedBroker() as broker:
        with served(
            *("--data", str(tmp_path), "--endpoint-url", broker.endpoint_url),
            *("--parameters", parameters),
        ) as (_, urls):
            tiers = set()
            for number in range(20):
                status, body = get(f"{urls[number % 2]}/prices/btc?source=kraken")
                assert status in {200, 503}
                tiers.add(json.loads(body).get("tier", "down"))
            assert tiers >= {"L1_MEMORY", "ORIGIN"}
            assert get(f"{urls[0]}/prices/btc", key="no key")[0] == 401
            metrics = get(f"{urls[1]}/metrics")[1].decode()
            assert "forebay_price_requests_total" in metrics
            until(lambda: "forebay_producer_capacity" in get(f"{urls[1]}/metrics")[1].decode())
            until(lambda: "} 4321.0" in get(f"{urls[1]}/metrics")[1].decode())
        assert kept_account(tmp_path) == UsageAccount(offered=21, delivered=21)


def test_an_api_serves_without_sqs_and_its_logs_outlive_it(tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    with served(
        *("--data", str(tmp_path), "--endpoint-url", "http://127.0.0.1:1"),
        *("--spill", str(spill)),
    ) as (_, urls):
        for number in range(10):
            assert get(f"{urls[number % 2]}/prices/btc")[0] in {200, 503}
    assert kept_account(tmp_path) == UsageAccount(offered=10, spilled=10)
    exported = subprocess.run(
        [sys.executable, "-m", "forebay", "spill", "export", str(spill)],
        check=True,
        capture_output=True,
        text=True,
    )
    logs = [json.loads(line) for line in exported.stdout.splitlines()]
    assert len(logs) == 10
    assert {log["payload"]["api_key_id"] for log in logs} == {"ak_demo_trading_desk"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "65535", "--processes", "2"], "leaves no room for 2 processes"),
        (["--keys", __file__], "has no API keys"),
    ],
)
def test_prices_that_cannot_be_served_say_so_before_they_begin(
    arguments: list[str], says: str
) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "forebay", "usage", "serve-demo", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode in {1, 2}
    assert says in run.stderr
    assert "Traceback" not in run.stderr


def test_prices_without_their_extra_say_what_to_install() -> None:
    run = forebay_without(["starlette"], "usage", "serve-demo")
    assert run.returncode == 1
    assert "pip install starlette uvicorn" in run.stderr
