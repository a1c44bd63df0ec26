"""The other SQS servers that are measured beside ours, each installed from its own registry.

They are what a user would choose instead: all of them keep messages in memory. A peer whose
toolchain is missing is left out, and said to be.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

from tests.clients.environments import made_once, node_of_a_wheel, python_environment, run

_PEERS = Path(__file__).parent / "peers"

_GOAWS = "github.com/Admiral-Piett/goaws/app/cmd@v0.5.4"


class Peer(Struct):
    """A server, how it is installed and started, and how long it takes to reach its speed."""

    name: str
    #: What must be on the PATH.
    tool: str
    #: Installs the server, and answers the command that runs it on a port.
    install: Callable[[], Callable[[int], list[str]]]
    warm_up_s: float
    #: Variables of the command's environment, by port.
    environment: Callable[[int], dict[str, str]] = lambda _: {}

    @property
    def missing(self) -> bool:
        """Whether it cannot be installed here."""
        return shutil.which(self.tool) is None


def _moto() -> Callable[[int], list[str]]:
    server = python_environment("moto", _PEERS / "moto.lock") / "moto_server"
    return lambda port: [str(server), "--port", str(port)]


def _ministack() -> Callable[[int], list[str]]:
    server = python_environment("ministack", _PEERS / "ministack.lock") / "ministack"
    return lambda _: [str(server)]


def _fauxqs() -> Callable[[int], list[str]]:
    package = _PEERS / "fauxqs"
    node = node_of_a_wheel()

    def install(environment: Path) -> None:
        shutil.rmtree(environment, ignore_errors=True)
        environment.mkdir()
        for manifest in ("package.json", "package-lock.json"):
            shutil.copy(package / manifest, environment)
        run(*node.npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", directory=environment)

    made_from = sha256((package / "package-lock.json").read_bytes()).hexdigest()
    directory = made_once("fauxqs", made_from, install)
    return lambda _: [str(node.executable), str(directory / "node_modules/fauxqs/dist/server.js")]


def _elasticmq() -> Callable[[int], list[str]]:
    project = _PEERS / "elasticmq" / "pom.xml"

    def install(environment: Path) -> None:
        shutil.rmtree(environment, ignore_errors=True)
        options = ("--batch-mode", "--quiet", "-f", str(project))
        goal = "dependency:copy-dependencies"
        run("mvn", *options, goal, f"-DoutputDirectory={environment / 'jars'}")

    directory = made_once("elasticmq", sha256(project.read_bytes()).hexdigest(), install)
    classes = f"{directory / 'jars'}/*"
    return lambda port: [
        "java",
        f"-Drest-sqs.bind-port={port}",
        "-Drest-sqs.bind-hostname=127.0.0.1",
        f"-Dnode-address.port={port}",
        "-Drest-stats.enabled=false",
        "-classpath",
        classes,
        "org.elasticmq.server.Main",
    ]


def _goaws() -> Callable[[int], list[str]]:
    def install(environment: Path) -> None:
        environment.mkdir(exist_ok=True)
        run("go", "install", _GOAWS, environment={"GOBIN": str(environment)})

    directory = made_once("goaws", _GOAWS, install)

    def command(port: int) -> list[str]:
        settings = directory / f"{port}.yaml"
        settings.write_text(
            f"Local:\n  Host: 127.0.0.1\n  Port: {port}\n  Region: us-east-1\n"
            '  AccountId: "000000000000"\n  LogToFile: false\n'
        )
        return [str(directory / "cmd"), "-loglevel", "error", "-config", str(settings), "Local"]

    return command


def _port_variables(port: int) -> dict[str, str]:
    """The port as MiniStack and fauxqs read it, and no log line a request."""
    return {"GATEWAY_PORT": str(port), "FAUXQS_PORT": str(port), "FAUXQS_LOGGER": "false"}


#: In the order in which they are measured.
PEERS = [
    Peer("GoAWS", "go", _goaws, warm_up_s=2),
    Peer("fauxqs", sys.executable, _fauxqs, warm_up_s=5, environment=_port_variables),
    Peer("ElasticMQ", "mvn", _elasticmq, warm_up_s=20),
    Peer("MiniStack", sys.executable, _ministack, warm_up_s=2, environment=_port_variables),
    Peer("moto", sys.executable, _moto, warm_up_s=1),
]


def environment_of(peer: Peer, port: int) -> dict[str, str]:
    """The variables that a peer is started with."""
    return {**os.environ, **peer.environment(port)}
