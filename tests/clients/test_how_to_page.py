"""What the page about clients shows for each of them works as it stands.

The examples of boto3 run with those of all pages; here run those that need an environment of their
own.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit

import pytest

from forebay.broker.embedded import EmbeddedBroker
from tests.clients.environments import (
    CLIENTS,
    ROOT,
    build_go,
    go_for,
    java_environment,
    javascript_environment,
    python_environment,
    rust_program,
)
from tests.clients.peers import PATIENCE_S, output_of, running

PAGE = ROOT / "docs/how-to/use-your-client.md"

#: Where the page has its broker.
ADDRESS = "127.0.0.1:9400"

#: The page's code says everything itself.
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


class Page:
    """The page, with its broker at another address."""

    def __init__(self, endpoint_url: str) -> None:
        self._text = PAGE.read_text().replace(ADDRESS, urlsplit(endpoint_url).netloc)

    def code(self, heading: str, language: str) -> str:
        """The first block of this language in a section."""
        section = self._text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        block = re.search(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        assert block is not None, f"the page has no {language} for {heading}"
        return block[1]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    # The page's broker has no keys, as its readers' at first.
    with EmbeddedBroker() as broker:
        yield Page(broker.endpoint_url)


def test_aiobotocore(page: Page, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(page.code("aiobotocore", "py"))
    python = python_environment("aiobotocore") / "python"
    assert output_of(python, program, environment=ENVIRONMENT) == "hello\n"


def test_the_aws_cli(page: Page) -> None:
    aws = python_environment("awscli") / "aws"
    printed = ""
    for line in page.code("AWS CLI", "text").splitlines():
        name, *arguments = shlex.split(line)
        assert name == "aws"
        environment = ENVIRONMENT | {
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        }
        printed = output_of(aws, *arguments, environment=environment)
    assert "/000000000000/jobs" in printed


def test_javascript(page: Page) -> None:
    node, directory = javascript_environment("javascript")
    program = directory / "page.js"
    program.write_text(page.code("JavaScript", "javascript"))
    # A standard queue may deliver the two one by one; both are sent before the consumer starts.
    assert output_of(node, program, environment=ENVIRONMENT) == "hello world\n"


def test_go(page: Page, tmp_path: Path) -> None:
    go_for(CLIENTS / "go/go.mod")
    for lock in ("go.mod", "go.sum"):
        shutil.copy(CLIENTS / "go" / lock, tmp_path)
    (tmp_path / "main.go").write_text(page.code("Go", "go"))
    build_go(tmp_path, tmp_path / "program")
    assert output_of(tmp_path / "program", environment=ENVIRONMENT) == "hello\n"


def test_java(page: Page, tmp_path: Path) -> None:
    program = tmp_path / "Jobs.java"
    program.write_text(page.code("Java", "java"))
    # Java compiles a source that it is given in the place of a class.
    assert output_of(*java_environment("java"), program, environment=ENVIRONMENT) == "hello\n"


def test_spring(page: Page, tmp_path: Path) -> None:
    (tmp_path / "application.properties").write_text(page.code("Java", "properties"))
    java = java_environment("java")
    # An application reads the file that lies in its working directory.
    printed = output_of(*java, "spring.Hello", environment=ENVIRONMENT, directory=tmp_path)
    assert printed == "hello\n"


def test_rust(page: Page) -> None:
    program = rust_program("rust", page.code("Rust", "rust"))
    exported = page.code("Any AWS SDK, without a change of code", "text").replace("export ", "")
    variables = dict(variable.split("=", 1) for variable in exported.split())
    assert output_of(program, environment=ENVIRONMENT | variables) == "hello\n"


def test_celery(page: Page, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(page.code("Celery", "py"))
    bin_directory = python_environment("celery")
    call = "from tasks import add; add.delay(2, 3)"
    environment = ENVIRONMENT | {"PYTHONPATH": str(tmp_path)}
    output_of(bin_directory / "python", "-c", call, environment=environment, directory=tmp_path)
    log = tmp_path / "log"
    command: list[str | Path] = [
        bin_directory / "celery",
        "--app",
        "tasks",
        "worker",
        "--loglevel",
        "INFO",
    ]
    with running(*command, environment=environment, directory=tmp_path, log=log):
        wait_for("succeeded in", log)


def test_dramatiq(page: Page, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(page.code("dramatiq", "py"))
    bin_directory = python_environment("dramatiq")
    call = "from tasks import add; add.send(2, 3)"
    environment = ENVIRONMENT | {"PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    output_of(bin_directory / "python", "-c", call, environment=environment, directory=tmp_path)
    log = tmp_path / "log"
    command: list[str | Path] = [
        bin_directory / "dramatiq",
        "--processes",
        "1",
        "--threads",
        "1",
        "tasks",
    ]
    with running(*command, environment=environment, directory=tmp_path, log=log):
        wait_for("\n5\n", log)


def wait_for(text: str, log: Path) -> None:
    deadline = monotonic() + PATIENCE_S
    while text not in log.read_text():
        assert monotonic() < deadline, log.read_text()
        sleep(0.05)
