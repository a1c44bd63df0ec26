"""Settings of the whole suite."""

from __future__ import annotations

import os

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
