"""`forebay worker check` as a user sees it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Sqs

SHOP = """
from dataclasses import dataclass
from forebay import HttpSqsClient, Received, Router, Worker, WorkerSettings
from forebay.worker.limits import Limit
from forebay.worker.queue import HIGH, Queue

@dataclass
class Order:
    seat: str

router = Router()

@router.handler("order", Order, timeout_s=15, limits=[Limit(running=5, per_s=50, key="seat")])
async def decide(received: Received[Order]) -> None: ...

@router.default
def print_it(received: Received[str]) -> None: ...

def worker() -> Worker:
    queues = [Queue("orders", priority=HIGH, failures_max=3), Queue("mail", weight=0.5)]
    return Worker(HttpSqsClient(), queues, router, settings=WorkerSettings(concurrency=8))
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module of its own for each test, in the current directory."""
    name = f"shop_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def make_queue(sqs: Sqs, name: str, most: int, retention_s: int = 1_209_600) -> None:
    dead = sqs.create(f"{name}-dlq", MessageRetentionPeriod=str(retention_s))
    policy = {"deadLetterTargetArn": sqs.arn(dead), "maxReceiveCount": most}
    sqs.create(name, RedrivePolicy=json.dumps(policy))


def test_a_worker_without_mistakes_is_shown(run: Run, sqs: Sqs, shop: str) -> None:
    make_queue(sqs, "orders", 8)
    make_queue(sqs, "mail", 8)
    ended = run("worker", "check", f"{shop}:worker")
    assert (ended.code, ended.err) == (0, "")
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert "orders high 1 30 s orders-dlq 8" in lines
    assert "mail medium 0.5 30 s mail-dlq 8" in lines
    assert "decide order Order async 15 s 5 running, 50 per s by key orders, mail" in lines
    assert "print_it (default) str plain orders, mail" in lines
    assert "Settings: concurrency is 8." in lines
    assert any(line.startswith("Note: drain_timeout_s: a stop may take 57 s.") for line in lines)
    assert lines[-1] == "No mistakes were found."


def test_mistakes_are_shown_and_are_the_exit_code(run: Run, sqs: Sqs, shop: str) -> None:
    make_queue(sqs, "orders", 4)
    ended = run("worker", "check", f"{shop}:worker")
    assert ended.code == 1
    text = " ".join(ended.out.split())
    assert "Mistake: orders: its maxReceiveCount is 4, and failures_max is 3" in text
    assert "Mistake: mail: there is no such queue." in text
    assert "No mistakes" not in text
    # In a pipe a line is one problem.
    [line] = [line for line in ended.out.splitlines() if "failures_max is 3" in line]
    assert line.endswith("Set maxReceiveCount to 8 at least.")


def test_offline_nothing_is_asked(run: Run, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run(
        "worker", "check", f"{shop}:worker", "--offline", "--endpoint-url", "http://[::1]:1"
    )
    assert ended.code == 0
    assert "not asked" in ended.out
    assert "No mistakes were found offline." in ended.out


def test_nobody_at_the_endpoint_is_one_line_at_once(run: Run, shop: str) -> None:
    begun_s = time.monotonic()
    ended = run("worker", "check", f"{shop}:worker", "--endpoint-url", "http://127.0.0.1:1")
    assert (ended.code, ended.out) == (1, "")
    assert "check with --offline" in ended.err
    assert ended.err.count("\n") == 1
    # Much less than a client goes on trying by itself.
    assert time.monotonic() - begun_s < 10


def test_a_wrong_name_is_one_line(run: Run, shop: str) -> None:
    ended = run("worker", "check", f"{shop}:wroker")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"Error: {shop} has no wroker. Did you mean worker?\n"
