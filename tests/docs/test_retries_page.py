"""The page on retries says what the code does."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from forebay.client.http import CALL_TIMEOUT_S
from forebay.client.retry import NO_RETRY, RetryPolicy
from forebay.producer.producer import Producer
from forebay.producer.settings import ProducerSettings
from forebay.worker import batch_calls, queue_facts, receiving
from forebay.worker.settings import WorkerSettings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "retries.md"

CLIENT = RetryPolicy()
WORKER = WorkerSettings()

PATIENT = (
    f"0 to {CLIENT.base_delay_ms} ms, doubling up to {CLIENT.max_delay_ms / 1000:g} s",
    f"{CLIENT.deadline_ms / 1000:g} s after the first failure",
)
DRAIN_S = inspect.signature(Producer.close).parameters["drain_timeout_s"].default


def bounds(base_s: float, max_s: float) -> str:
    return f"0 to {base_s:g} s, doubling up to {max_s:g} s"


def rows() -> dict[str, str]:
    """The tables' lines by their first cell."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {line.split("|")[1].strip(): line for line in lines}


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ("client, your own call", PATIENT),
        ("producer, `publish`", PATIENT),
        ("producer, `send`", (PATIENT[0], f"`close` has waited for {DRAIN_S:g} s")),
        (
            "worker, finding its queue",
            (bounds(queue_facts._PAUSE_BASE_S, queue_facts._PAUSE_MAX_S),),
        ),
        ("worker, receiving", (bounds(receiving._PAUSE_BASE_S, receiving._PAUSE_MAX_S),)),
        (
            "worker, deleting and hiding messages",
            (bounds(batch_calls._PAUSE_BASE_S, batch_calls._PAUSE_MAX_S),),
        ),
        ("worker, a handler that fails", (bounds(WORKER.backoff_base_s, WORKER.backoff_max_s),)),
        ("client, and so the worker", (f"{CALL_TIMEOUT_S:g} s",)),
        ("producer", (f"{ProducerSettings().timeout_ms / 1000:g} s",)),
    ],
)
def test_a_row_has_the_numbers_of_the_code(who: str, said: tuple[str, ...]) -> None:
    line = rows()[who]
    assert [text for text in said if text not in line] == []


def test_the_example_of_the_bounds_is_the_clients() -> None:
    assert f"*{PATIENT[0]}* means" in PAGE.read_text()
    assert NO_RETRY.deadline_ms == 0
