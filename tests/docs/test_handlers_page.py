"""The tests that the page about handlers shows pass, and its handlers do what it says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from forebay.testing import WorkerHarness

PAGE = Path(__file__).parents[2] / "docs/how-to/write-handlers.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
TESTS = re.findall(r"^async def (test_\w+)", "\n".join(BLOCKS), re.MULTILINE)


@pytest.fixture
def page() -> dict[str, Any]:
    """What the page's blocks define, one after another."""
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    return names


@pytest.mark.parametrize("name", TESTS)
def test_a_shown_test_passes(page: dict[str, Any], name: str) -> None:
    test: Callable[[], Coroutine[Any, Any, None]] = page[name]
    asyncio.run(test())


async def test_the_shown_app_takes_both_kinds_of_messages(
    page: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    harness = WorkerHarness(page["app"])
    for message_type in (None, "order"):
        assert (await harness.perform(message_type, {"seat": "A-12"})).is_done
    assert capsys.readouterr().out == "sold A-12\n" * 2


async def test_the_shown_middleware_runs_around_the_shown_handlers(page: dict[str, Any]) -> None:
    harness = WorkerHarness(page["router"], middleware=[page["tell"]])
    for message_type, payload in (("order", {"seat": "A"}), (None, {"seat": "A"}), (None, "text")):
        assert (await harness.perform(message_type, payload)).is_done
    ended = await harness.perform_batch("log", [{"at": 1}, {}])
    assert [each.is_done for each in ended] == [True, False]
    assert page["seen"] == ["handled"] * 4
    await harness.close()
