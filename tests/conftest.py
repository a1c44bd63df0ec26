"""Settings of the whole suite."""

from __future__ import annotations

import pytest
from hypothesis import settings

# The machine may be busy with other tests, so the time of an example says nothing of the code.
settings.register_profile("forebay", deadline=None, print_blob=True)
settings.load_profile("forebay")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills", type=int, default=20, help="How often the acceptance test kills the broker."
    )
