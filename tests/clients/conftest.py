"""A broker for each module of foreign clients, and Terraform beside all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mypy_boto3_sqs import SQSClient

from tests.clients.peers import own_client
from tests.clients.serving import serving
from tests.clients.terraform.story import Missing, Story, find_tools

TERRAFORM = Path(__file__).parent / "terraform" / "test_terraform.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ask for the end of Terraform's story last."""
    items.sort(key=lambda item: item.path == TERRAFORM)


@pytest.fixture(scope="module")
def endpoint_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a broker listens for the tests of one module."""
    with serving(tmp_path_factory.mktemp("broker")) as url:
        yield url


@pytest.fixture
def sqs(endpoint_url: str) -> Iterator[SQSClient]:
    """A client of the tests' own, to prepare queues and to see what a peer left in them."""
    client = own_client(endpoint_url)
    yield client
    client.close()


@pytest.fixture(scope="session", autouse=True)
def terraform_story(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story | Missing]:
    """Terraform's story, begun before the first test: it waits for minutes, others need not."""
    if not any(item.path == TERRAFORM for item in request.session.items):
        yield Missing("no test asks for it")
        return
    tools = find_tools()
    if isinstance(tools, Missing):
        yield tools
        return
    with serving(tmp_path_factory.mktemp("broker")) as url:
        story = Story(tools, tmp_path_factory.mktemp("terraform"), url)
        yield story
        story.stop()
