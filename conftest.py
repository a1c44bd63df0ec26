"""Runs the examples of README and docs: Python as it stands, shell lines as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).parent

FILE_NAME = re.compile(r"`([\w.-]+\.toml)`")

#: How long a documented command may take to end, or to listen when it serves, in seconds.
PATIENCE_S = 60

#: How long pip may take to bring what is named, in seconds.
INSTALL_S = 600


def pytest_configure() -> None:
    """Let Ctrl-C be pressed in tests, whoever started them.

    What a shell without job control starts in the background, as CI does, inherits that SIGINT is
    ignored, and hands that on to every process it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def set_up(namespace: dict[str, Any]) -> None:
    """Each page has a directory of its own, as a reader who follows it has, and a shell's state."""
    namespace["directory"] = tempfile.TemporaryDirectory(prefix="forebay-docs-")
    namespace["place"] = Path(namespace["directory"].name)
    namespace["path"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    namespace["servers"] = []


def tear_down(namespace: dict[str, Any]) -> None:
    """Stop what the page started, as Ctrl-C does, and expect a clean end."""
    for server in namespace["servers"]:
        server.send_signal(signal.SIGINT)
        assert server.wait(PATIENCE_S) == 0, f"{server.args!r} did not end cleanly"
    namespace["directory"].cleanup()


def write_file(example: Example) -> None:
    """Write a TOML block to the file that the text before it names last, as `name.toml`."""
    names = FILE_NAME.findall(example.document.text, 0, example.start)
    assert names, "no file is named before this block"
    path = example.namespace["place"] / names[-1]
    path.write_text(str(example.parsed))
    path.chmod(0o600)


def run_shell_lines(example: Example) -> None:
    """Run each line of a shell block."""
    for line in str(example.parsed).splitlines():
        command = shlex.split(line, comments=True)
        if command:
            run_command(command, example.namespace)


def run_command(command: list[str], namespace: dict[str, Any]) -> None:
    """Run one documented command where the page's earlier ones have led."""
    directory = namespace["place"]
    environment = {**os.environ, "PATH": namespace["path"]}
    if command[0] == "cd":
        namespace["place"] = directory / command[1]
        assert namespace["place"].is_dir()
        return
    if command[0] == "." and command[1].endswith("/bin/activate"):
        assert (directory / command[1]).exists()
        namespace["path"] = f"{(directory / command[1]).parent}:{namespace['path']}"
        return
    if command[:2] == ["git", "clone"]:
        copy_tree(directory / Path(command[2]).stem)
        return
    if command[0] == "make":
        # A target would run the tests inside the tests; that it exists and expands is shown here,
        # and what it runs has tests of its own.
        command, directory = ["make", "--dry-run", *command[1:]], ROOT
    if command[:2] == ["forebay", "serve"]:
        server = subprocess.Popen(command, cwd=directory, env=environment)
        namespace["servers"].append(server)
        wait_until_listening(server, command)
        return
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=INSTALL_S if "pip" in command else PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(command)}:\n{done.stdout}{done.stderr}"


def copy_tree(directory: Path) -> None:
    """What a clone would hold if everything here was committed."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)


def wait_until_listening(server: subprocess.Popen[bytes], command: list[str]) -> None:
    """Wait for the port that `--port` names, or the default one."""
    port = int(command[command.index("--port") + 1]) if "--port" in command else 9324
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert server.poll() is None, f"{shlex.join(command)} ended with {server.returncode}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"{shlex.join(command)} did not listen within {PATIENCE_S} s")


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser("sh", run_shell_lines),
        CodeBlockParser("toml", write_file),
    ],
    patterns=["README.md", "CONTRIBUTING.md", "docs/**/*.md"],
    setup=set_up,
    teardown=tear_down,
).pytest()
