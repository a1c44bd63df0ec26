"""`forebay lab preflight`, `validate`, `up` and `down` as a user runs them, without a process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import msgspec
import pytest

from forebay.broker.embedded import EmbeddedBroker
from forebay.cli.lab.up import command_here
from forebay.client.endpoint import ENDPOINT_VARIABLES
from forebay.errors import SettingsError
from forebay.lab.infrastructure import wanted
from forebay.lab.infrastructure.background_broker import RunningBroker
from forebay.lab.infrastructure.directory import DEFAULT_DIRECTORY, LabDirectory
from forebay.lab.infrastructure.dotenv import read_dotenv
from forebay.lab.runner import RunSettings
from tests.cli.conftest import Run, Sqs, broker, run, sqs  # noqa: F401 - fixtures
from tests.lab.infrastructure import SCENARIOS


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A directory and an environment of its own, and a lab of few scenarios."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wanted, "catalogue", lambda: SCENARIOS)
    # What a command loads from .env is not for the tests after this one.
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def lab(run: Run, command: str, *arguments: str) -> tuple[int, str]:  # noqa: F811
    ended = run("lab", command, *arguments)
    return ended.code, ended.out + ended.err


def test_what_is_made_at_another_sqs_is_valid_until_it_is_changed(
    run: Run,  # noqa: F811
    broker: EmbeddedBroker,  # noqa: F811
    sqs: Sqs,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, said = lab(run, "up", "--endpoint", broker.endpoint_url)
    assert code == 0, said
    assert "5 of 2 scenarios, 5 created and 0 changed" in said
    assert "serves SQS" not in said
    assert Path(".forebay/lab/queues.toml").exists()
    variables = read_dotenv(Path(".env"))
    assert variables["AWS_ENDPOINT_URL_SQS"] == broker.endpoint_url
    for name in ENDPOINT_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    code, said = lab(run, "validate")
    assert (code, "All 7 are as the 2 scenarios need them" in said) == (0, True), said

    Path(".forebay/lab/tables/fifo.sqlite3").unlink()
    code, said = lab(run, "validate", "--endpoint", broker.endpoint_url)
    assert code == 1
    assert "fifo, tables .forebay/lab/tables/fifo.sqlite3: The file is not there." in said
    assert "1 of 7 are missing or differ" in said
    assert "`forebay lab up` makes what is missing" in said

    code, said = lab(run, "down")
    assert code == 0
    assert f"Queues at {broker.endpoint_url} are left as they are." in said
    assert not Path(".env").exists()
    assert not Path(".forebay").exists()
    assert sqs.count(variables["QUEUE_URL"]) == 0

    code, said = lab(run, "down")
    assert (code, said) == (0, "There is nothing to stop or to remove here.\n")


@pytest.mark.parametrize(
    ("given", "on_path", "named"),
    [
        (".venv/bin/forebay", None, ".venv/bin/forebay"),
        (".venv/bin/forebay", "/usr/bin/forebay", "forebay"),
        ("/lib/forebay/__main__.py", None, "forebay"),
    ],
)
def test_the_command_to_go_on_with_is_one_that_the_shell_finds(
    given: str, on_path: str | None, named: str
) -> None:
    assert command_here(given, on_path) == named


def test_nothing_is_valid_where_no_sqs_answers(run: Run) -> None:  # noqa: F811
    code, said = lab(run, "validate", "--endpoint", "http://127.0.0.1:1")
    assert code == 1
    assert "No SQS answers at http://127.0.0.1:1" in said
    assert "Run `forebay lab up`" in said


def test_the_dotenv_of_another_is_not_overwritten(
    run: Run,  # noqa: F811
    broker: EmbeddedBroker,  # noqa: F811
) -> None:
    Path(".env").write_text("SECRET=s\n")
    code, said = lab(run, "up", "--endpoint", broker.endpoint_url)
    assert (code, "has not written" in said, "--force" in said) == (1, True, True)
    assert Path(".env").read_text() == "SECRET=s\n"
    assert not Path(".forebay").exists(), "nothing was made"
    code, said = lab(run, "up", "--endpoint", broker.endpoint_url, "--force")
    assert code == 0
    assert read_dotenv(Path(".env")).keys() > {"SECRET", "QUEUE_URL"}
    assert lab(run, "down")[0] == 0
    assert Path(".env").read_text() == "SECRET=s\n"


def test_down_leaves_the_dotenv_of_another_lab(
    run: Run,  # noqa: F811
    broker: EmbeddedBroker,  # noqa: F811
) -> None:
    assert lab(run, "up", "--endpoint", broker.endpoint_url, "--data", "other")[0] == 0
    code, said = lab(run, "down")
    assert (code, "There is nothing to stop" in said) == (0, True)
    assert Path(".env").exists()
    code, said = lab(run, "down", "--data", "other", "--keep-data")
    assert (code, "The data stays in other." in said) == (0, True)
    assert (Path(".env").exists(), Path("other/tables").exists()) == (False, True)


def test_down_knows_the_queues_of_its_own_broker_though_that_was_killed(
    run: Run,  # noqa: F811
    broker: EmbeddedBroker,  # noqa: F811
) -> None:
    for killed, told in ((False, True), (True, False)):
        assert lab(run, "up", "--endpoint", broker.endpoint_url)[0] == 0
        if killed:
            state = RunningBroker(1, broker.endpoint_url, "us-east-1")
            LabDirectory(DEFAULT_DIRECTORY).broker_state.write_bytes(msgspec.json.encode(state))
        assert ("are left as they are" in lab(run, "down")[1]) is told


def test_aws_is_the_work_of_terraform(run: Run) -> None:  # noqa: F811
    code, said = lab(run, "up", "--aws")
    assert (code, "made by Terraform" in said, "next release" in said) == (1, True, True)


def test_a_port_that_another_has_is_named(run: Run, taken_port: int) -> None:  # noqa: F811
    code, said = lab(run, "up", "--port", str(taken_port))
    assert code == 1
    assert f"Port {taken_port} of 127.0.0.1 cannot be listened on" in said
    assert f"--endpoint http://127.0.0.1:{taken_port}" in said
    assert not Path(".env").exists()


def test_a_port_with_another_sqs_means_two_things(run: Run) -> None:  # noqa: F811
    code, said = lab(run, "up", "--port", "9400", "--endpoint", "http://127.0.0.1:9401")
    assert (code, "Leave it or --endpoint out" in said) == (2, True)


def test_a_directory_with_other_things_is_refused(run: Run) -> None:  # noqa: F811
    Path("mine").mkdir()
    Path("mine/broker").touch()
    code, said = lab(run, "up", "--data", "mine")
    assert (code, "mine has other things in it" in said) == (2, True)
    assert lab(run, "down", "--data", "mine")[0] == 0
    assert Path("mine/broker").exists()


def test_preflight_finds_what_is_there_and_says_what_to_do(
    run: Run,  # noqa: F811
    taken_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
    free.close()
    code, said = lab(run, "preflight", "--port", port)
    assert code == 0, said
    assert "The lab can run here." in said
    assert not Path(".forebay").exists()

    code, said = lab(run, "preflight", "--port", str(taken_port), "--data", "/proc/lab")
    assert code == 1
    assert f"port {taken_port}: Stop what listens there" in said
    assert "directory /proc/lab: Go to a directory" in said

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(Path.cwd()))
    monkeypatch.setenv("PATH", "/nowhere")
    code, said = lab(run, "preflight", "--port", port, "--aws")
    assert code == 1
    assert "AWS credentials: Run `aws configure`" in said
    assert "AWS region: Set AWS_REGION" in said
    assert "terraform (optional): " in said
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-mine")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    code, said = lab(run, "preflight", "--port", port, "--aws")
    assert code == 0, said
    assert "eu-west-1" in said
    assert "secret-of-mine" not in said


def test_a_run_on_aws_goes_by_no_endpoint_of_dotenv(
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def planned(_: object, settings: RunSettings, __: int) -> None:
        assert (settings.endpoint_url, settings.aws, settings.region) == (None, True, "eu-west-1")
        assert not {*ENDPOINT_VARIABLES} & os.environ.keys()
        raise SettingsError("that is enough")

    monkeypatch.setattr("forebay.cli.lab.run.planned", planned)
    Path(".env").write_text("AWS_ENDPOINT_URL=http://127.0.0.1:1\n")
    code, said = lab(run, "run", "happy", "--aws", "--region", "eu-west-1")
    assert (code, "that is enough" in said) == (2, True), said
