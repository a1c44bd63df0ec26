"""Settings of the whole suite."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from itertools import count

import psycopg
import pytest
from hypothesis import settings

from tests.postgres_server import postgres_server

# The machine may be busy with other tests, so the time of an example says nothing of the code.
# CI draws the same examples every time; a search for new ones belongs where somebody looks at it.
settings.register_profile("forebay", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("forebay")

_schemas = count()


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


@pytest.fixture(scope="session")
def postgres_conninfo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that all processes of this test run share, started when the first one needs it."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    with postgres_server(directory) as conninfo:
        yield conninfo


@pytest.fixture
def postgres(postgres_conninfo: str) -> Iterator[str]:
    """The conninfo of an empty schema of the test's own."""
    schema = f"test_{os.getpid()}_{next(_schemas)}"
    with psycopg.connect(postgres_conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        yield f"{postgres_conninfo} options='-c search_path={schema}'"
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())
