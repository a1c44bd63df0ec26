"""Runs what README, docs and examples show: Python as it stands, shell lines as a reader would.

Files that a page has its reader write are written, and the page of an example runs in a copy of it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sybil import Document, Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from sybil.typing import Parser
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from forebay.apps.crew import free_ports

ROOT = Path(__file__).parent

FILE_NAME = re.compile(r"`([\w.-]+\.toml)`")

#: How the text right before a block says which module the block is, or is added to.
MODULE_NAME = re.compile(r"(Add to )?`([\w.-]+\.py)`(?:(?!\n\n)[^`])*:\n\n\Z")

#: The ports of a page that leads everything to its broker, for which free ones are taken.
PORTS = re.compile(r"\b(?:932[4-9]|9400|8400)\b")
LEADS = "export AWS_ENDPOINT_URL_SQS="

#: How long a documented command may take to end, or to listen when it serves, in seconds.
PATIENCE_S = 60

#: Asks servers of this machine, whatever proxy the environment names.
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))

#: How long pip may take to bring what is named, in seconds.
INSTALL_S = 600

#: The examples' own modules are run as their pages say, each in its directory.
collect_ignore_glob = ["examples/*/*.py"]


def pytest_configure() -> None:
    """Let Ctrl-C be pressed in tests, whoever started them.

    What a shell without job control starts in the background, as CI does, inherits that SIGINT is
    ignored, and hands that on to every process it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class PageScheduling(LoadFileScheduling):  # type: ignore[misc]
    """Runs pages beside each other, but not those that serve on the ports that they name."""

    def _split_scope(self, nodeid: str) -> str:
        page: str = super()._split_scope(nodeid)
        text = (ROOT / page).read_text() if page.endswith(".md") else ""
        return "ports" if "\nforebay serve" in text and LEADS not in text else page


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Schedule pages, which are run with `--dist loadfile`."""
    return PageScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@cache
def free_port(named: str) -> str:  # noqa: ARG001 - what the cache goes by
    """A port that nobody listens on, the same for each that is named."""
    return str(free_ports(1)[0])


class Page(Document):
    """A page as it is run, beside others that run on the same machine."""

    @classmethod
    def parse(cls, path: str, *parsers: Parser, encoding: str = "utf-8") -> Page:
        text = Path(path).read_text(encoding)
        if LEADS in text:
            text = PORTS.sub(lambda named: free_port(named[0]), text)
        page = cls(text, path)
        page.namespace["page"] = Path(path)
        for parser in parsers:
            for region in parser(page):
                page.add(region)
        return page


def set_up(namespace: dict[str, Any]) -> None:
    """Each page has a directory of its own, as a reader who follows it has, and a shell's state.

    The page of an example has a copy of the example's.
    """
    namespace["directory"] = tempfile.TemporaryDirectory(prefix="forebay-docs-")
    namespace["place"] = Path(namespace["directory"].name)
    if (ROOT / "examples") in namespace["page"].parents:
        shutil.copytree(namespace["page"].parent, namespace["place"], dirs_exist_ok=True)
    namespace["environment"] = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        # A page imports little of what it has installed.
        "PIP_COMPILE": "0",
    }
    namespace["servers"] = []
    namespace["log"] = namespace["place"] / ".workers"
    # For blocks that no reader sees: what he waits for, and what he finds then.
    namespace["eventually"] = eventually
    namespace["workers_said"] = lambda text: eventually(
        lambda: text in namespace["log"].read_text()
    )
    namespace["said"] = lambda line: (
        run_to_its_end(shlex.split(line), namespace["place"], namespace["environment"]).stdout
    )
    namespace["messages_in"] = lambda queue: messages_in(queue, namespace)


def tear_down(namespace: dict[str, Any]) -> None:
    """Stop what the page started, as Ctrl-C does, and expect a clean end."""
    with ExitStack() as stack:
        stack.callback(namespace["directory"].cleanup)
        for server in namespace["servers"]:
            stack.callback(server.stop)


def eventually(look: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """What `look` gives once it is true: what a reader waits to see."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"it has not come about within {within_s} s"
        time.sleep(0.05)
    return seen


def messages_in(queue: str, namespace: dict[str, Any]) -> int:
    """How many messages a queue has, hidden or not."""
    command = ["forebay", "queues", queue, "--json"]
    done = run_to_its_end(command, namespace["place"], namespace["environment"])
    [counts] = [each for each in json.loads(done.stdout) if each["name"] == queue]
    return int(counts["visible"] + counts["in_flight"] + counts["delayed"])


class Server:
    """A command that runs until Ctrl-C."""

    def __init__(self, command: list[str], port: str, namespace: dict[str, Any]) -> None:
        self.is_worker = "worker" in command[1:2] or "writer" in command[2:3]
        self.expected = {0}
        self._command = shlex.join(command)
        self._log = namespace["log"]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                command,
                cwd=namespace["place"],
                env=namespace["environment"] | {"PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=log,
            )
        eventually(lambda: self._answers(f"http://127.0.0.1:{port}/health"))

    def stop(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
        assert code in self.expected, self._ended(code)

    def _answers(self, url: str) -> bool:
        code = self._process.poll()
        assert code is None, self._ended(code)
        try:
            with DIRECTLY.open(url, timeout=5):
                return True
        except urllib.error.HTTPError as refusal:
            refusal.close()
            # A broker may show nothing without a key; workers that start are not healthy yet.
            return not self.is_worker
        except OSError:
            return False

    def _ended(self, code: int) -> str:
        return f"{self._command} ended with {code}:\n{self._log.read_text()}"


def write_file(example: Example) -> None:
    """Write a TOML block to the file that the text before it names last, as `name.toml`."""
    names = FILE_NAME.findall(example.document.text, 0, example.start)
    assert names, "no file is named before this block"
    path = example.namespace["place"] / names[-1]
    path.write_text(str(example.parsed))
    path.chmod(0o600)


def write_module(example: Example) -> None:
    """Write a block of Python to the module that its sentence names, if it names one."""
    named = MODULE_NAME.search(example.document.text, 0, example.start)
    if named is None:
        return
    path = example.namespace["place"] / named[2]
    with path.open("a" if named[1] else "w") as module:
        module.write(f"{example.parsed}\n")


def run_shell_lines(example: Example) -> None:
    """Run each line of a shell block."""
    for line in str(example.parsed).splitlines():
        command = shlex.split(line, comments=True)
        if command:
            run_command(command, line, example.namespace)


def run_command(command: list[str], line: str, namespace: dict[str, Any]) -> None:
    """Run one documented command where the page's earlier ones have led."""
    directory, environment = namespace["place"], namespace["environment"]
    if command[0] == "cd":
        namespace["place"] = directory / command[1]
        assert namespace["place"].is_dir()
        return
    if command[0] == "export":
        name, _, value = command[1].partition("=")
        environment[name] = value
        return
    if command[0] == "." and command[1].endswith("/bin/activate"):
        assert (directory / command[1]).exists()
        environment["PATH"] = f"{(directory / command[1]).parent}:{environment['PATH']}"
        return
    if command[:2] == ["git", "clone"]:
        copy_tree(directory / Path(command[2]).stem)
        return
    if command[0] == "make":
        # A target would run the tests inside the tests; that it exists and expands is shown here,
        # and what it runs has tests of its own.
        command, directory = ["make", "--dry-run", *command[1:]], ROOT
    if command[:2] == ["forebay", "serve"]:
        port = port_of(command) or "9324"
        namespace["servers"].append(Server(command, port, namespace))
        return
    if command[:3] == ["forebay", "lab", "chaos"]:
        namespace["servers"].append(Server(command, "9326", namespace))
        return
    if command[:3] == ["forebay", "usage", "serve-demo"]:
        namespace["servers"].append(Server(command, port_of(command) or "8400", namespace))
        return
    if command[:3] in (["forebay", "worker", "run"], ["forebay", "usage", "writer"]):
        run_worker(command, namespace)
        return
    if "$" in line:
        command = ["bash", "-c", line]
    if line.startswith("kill -9 "):
        # A reader kills what he sees at work. What it had in hand is lost, if it had told of it.
        eventually(lambda: run_to_its_end(command, directory, environment).returncode == 0)
        namespace["servers"][-1].expected = {0, 1}
        return
    done = run_to_its_end(command, directory, environment)
    assert done.returncode == 0, f"{shlex.join(command)}:\n{done.stdout}{done.stderr}"
    namespace["printed"] = done.stdout


def run_worker(command: list[str], namespace: dict[str, Any]) -> None:
    """Run workers where the page's earlier ones were stopped by Ctrl-C."""
    servers = namespace["servers"]
    if servers and servers[-1].is_worker:
        servers.pop().stop()
    port = port_of(command)
    if port is None:
        port = free_port("9325")
        command = [*command, "--port", port]
    servers.append(Server(command, port, namespace))


def port_of(command: list[str]) -> str | None:
    """What `--port` names."""
    return command[command.index("--port") + 1] if "--port" in command else None


def run_to_its_end(
    command: list[str], directory: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=INSTALL_S if "pip" in command else PATIENCE_S,
        check=False,
    )


def copy_tree(directory: Path) -> None:
    """What a clone would hold if everything here was committed."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser("sh", run_shell_lines),
        CodeBlockParser("toml", write_file),
        CodeBlockParser("py", write_module),
    ],
    patterns=["README.md", "CONTRIBUTING.md", "docs/**/*.md", "examples/*/README.md"],
    document_types={".md": Page},
    setup=set_up,
    teardown=tear_down,
).pytest()
