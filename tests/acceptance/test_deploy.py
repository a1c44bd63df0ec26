"""The files of deploy/: what linters say of them, and that their steps work."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.acceptance.serve_process import PATIENCE_S, free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent

#: The least protection that the unit may have, on systemd's scale from 0 (best) to 100.
EXPOSURE_MAX = 20


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile in order, each with its arguments."""
    text = re.sub(r"^#.*\n", "", dockerfile, flags=re.MULTILINE).replace("\\\n", " ")
    return [
        (word, " ".join(rest.split()))
        for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)
    ]


def output(*command: str | Path) -> str:
    """What a command says when all is well. Fails when it is not."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    hadolint = BIN / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint comes as a wheel for Linux on x86-64 alone")
    assert output(hadolint, "--no-color", DEPLOY / "Dockerfile") == ""


def test_the_compose_file_keeps_to_the_compose_specification() -> None:
    check = BIN / "check-jsonschema"
    output(check, "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that this machine has."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    text = (DEPLOY / "forebay.service").read_text()
    assert text.count("/opt/forebay/bin/forebay") == 1
    path = tmp_path / "forebay.service"
    path.write_text(text.replace("/opt/forebay/bin/forebay", str(BIN / "forebay")))
    return path


def complaints(unit: Path) -> list[str]:
    """What systemd says of a unit. It looks at those of the machine as well."""
    said = output("systemd-analyze", "verify", "--man=no", unit)
    return [line for line in said.splitlines() if unit.name in line]


def test_systemd_complains_of_what_is_wrong(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("Restart=", "Restrat="))
    assert len(complaints(unit)) == 1


def test_systemd_has_nothing_to_say_of_the_unit(unit: Path) -> None:
    assert complaints(unit) == []


def test_systemd_takes_the_documented_change_of_the_unit(unit: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "deploy-the-broker.md").read_text()
    (change,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    unit.write_text(unit.read_text() + change)
    assert complaints(unit) == []


def test_the_unit_gives_the_broker_no_more_than_it_needs(unit: Path) -> None:
    output(
        *("systemd-analyze", "security", "--no-pager", "--offline=true"),
        *(f"--threshold={EXPOSURE_MAX}", unit),
    )


def test_the_unit_stops_the_broker_as_it_wants_to_be_stopped() -> None:
    text = (DEPLOY / "forebay.service").read_text()
    assert "Type=exec\n" in text
    assert "StateDirectory=forebay\n" in text
    assert "--data %S/forebay" in text
    assert "KillSignal" not in text  # SIGTERM, systemd's own


@pytest.mark.timeout(600)
def test_the_steps_of_the_image_give_a_healthy_broker(tmp_path: Path) -> None:
    """What `docker build` and `docker run` would do, in directories instead of containers."""
    source, prefix, data = (tmp_path / name for name in ("source", "opt", "data"))
    for directory in (source, prefix, data):
        directory.mkdir()
    steps = instructions((DEPLOY / "Dockerfile").read_text())
    second_stage = [word for word, _ in steps].index("FROM", 1)
    context = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for word, rest in steps[:second_stage]:
        if word == "COPY":
            *names, destination = rest.split()
            for name in names:
                assert f"!{name}" in context
                copy(ROOT / name, source / destination)
        elif word == "RUN":
            output(*command(shlex.split(rest), source, prefix))
    last = dict(steps[second_stage:])
    assert last["USER"].isdecimal()
    assert last["USER"] != "0"
    port = free_port()
    settings = image_settings() | {
        "FOREBAY_DATA": str(data),
        "FOREBAY_PORT": str(port),
        "PATH": os.environ["PATH"],
    }
    start = json.loads(last["ENTRYPOINT"]) + json.loads(last["CMD"])
    start[0] = str(prefix / "forebay" / "bin" / start[0])
    health = json.loads(last["HEALTHCHECK"].partition("CMD ")[2])
    health[0] = str(prefix / "forebay" / "bin" / health[0])
    with subprocess.Popen(start, env=settings) as broker:
        try:
            wait_until_listening(port)
            healthy = subprocess.run(health, env=settings, check=False)
        finally:
            broker.send_signal(signal.SIGTERM)
    assert healthy.returncode == 0
    assert broker.returncode == 0
    assert (data / "journal.db").exists()
    dead = subprocess.run(health, env=settings, capture_output=True, check=False)
    assert dead.returncode != 0


def test_the_service_of_compose_is_reached_by_its_names_alone(tmp_path: Path) -> None:
    service = YAML(typ="safe").load(DEPLOY / "compose.yaml")["services"]["sqs"]
    assert service["ports"] == ["127.0.0.1:4566:4566"]
    assert service["environment"]["FOREBAY_PORT"] == 4566
    port = free_port()
    settings = image_settings() | {
        **service["environment"],
        "FOREBAY_DATA": str(tmp_path),
        "FOREBAY_PORT": str(port),
    }
    with subprocess.Popen([sys.executable, "-m", "forebay", "serve"], env=settings) as broker:
        try:
            wait_until_listening(port)
            found = {
                name: status(port, name)
                for name in (
                    *("localhost", "127.0.0.1", "sqs", "sqs.us-east-1.localhost.localstack.cloud"),
                    "evil.example",
                )
            }
        finally:
            broker.send_signal(signal.SIGTERM)
    assert list(found.values()) == [200, 200, 200, 200, 403], found


def status(port: int, host: str) -> int:
    """What a look at the queues is answered with when it is for this host."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/_forebay/queues", headers={"Host": f"{host}:4566"})
        return connection.getresponse().status
    finally:
        connection.close()


def image_settings() -> dict[str, str]:
    """The variables that the image sets."""
    variables = dict(instructions((DEPLOY / "Dockerfile").read_text()))["ENV"]
    return dict(setting.split("=", 1) for setting in shlex.split(variables))


def copy(source: Path, destination: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, destination, ignore=shutil.ignore_patterns("__pycache__"))
        return
    if not destination.is_dir():
        destination.mkdir(parents=True)
    shutil.copy(source, destination)


def command(words: list[str], source: Path, prefix: Path) -> list[str]:
    """A command of the image, at other places, and with pip's cache."""
    words = [word.replace("/opt/", f"{prefix}/") for word in words if word != "--no-cache-dir"]
    if words[0] == "python":
        words[0] = sys.executable
    # The broker imports little of what is installed.
    return ["env", "-C", str(source), "PIP_COMPILE=0", *words]


def wait_until_listening(port: int) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
