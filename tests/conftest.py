"""Settings of the whole suite."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The machine may be busy with other tests, so the time of an example says nothing of the code.
# CI draws the same examples every time; a search for new ones belongs where somebody looks at it.
settings.register_profile("forebay", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("forebay")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=20,
        help="How often an acceptance test kills the broker or a worker.",
    )


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands set up the log of their process, which is that of all tests."""
    root, ours = logging.getLogger(), logging.getLogger("forebay")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
