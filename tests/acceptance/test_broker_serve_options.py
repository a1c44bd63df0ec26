"""The options of `forebay serve` that guard it and prepare it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import boto3
import pytest
import trustme
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.acceptance.serve_process import ServeProcess

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

SECRET = "0123456789abcdef0123456789abcdef"

KEYS = f"""
[[key]]
access_key_id = "owner"
secret_access_key = "{SECRET}"

[[key]]
access_key_id = "sender"
secret_access_key = "{SECRET}"
allow = ["sqs:SendMessage"]

[[key]]
access_key_id = "stranger"
secret_access_key = "{SECRET}"
account_id = "222222222222"
"""

QUEUES = """
[queues.jobs]
VisibilityTimeout = 60
"""


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(KEYS)
    path.chmod(0o600)
    return path


def client(url: str, key: str, secret: str = SECRET, verify: str | bool = True) -> SQSClient:
    return boto3.client(
        "sqs",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        verify=verify,
        config=Config(retries={"total_max_attempts": 1}),
    )


def code_of(refusal: pytest.ExceptionInfo[ClientError]) -> str:
    return str(refusal.value.response["Error"]["Code"])


def test_keys_decide_who_may_do_what(keys: Path) -> None:
    with ServeProcess("--port", "0", "--durability", "memory", "--keys", str(keys)) as broker:
        url = broker.endpoint_url
        owner = client(url, "owner")
        queue = owner.create_queue(QueueName="jobs")["QueueUrl"]
        client(url, "sender").send_message(QueueUrl=queue, MessageBody="a")
        with pytest.raises(ClientError) as refusal:
            client(url, "sender").receive_message(QueueUrl=queue)
        assert code_of(refusal) == "AccessDenied"
        with pytest.raises(ClientError) as refusal:
            client(url, "stranger").receive_message(QueueUrl=queue)
        assert code_of(refusal) == "AccessDenied"
        owner.add_permission(
            QueueUrl=queue, Label="them", AWSAccountIds=["222222222222"], Actions=["ReceiveMessage"]
        )
        received = client(url, "stranger").receive_message(QueueUrl=queue)
        assert [message["Body"] for message in received["Messages"]] == ["a"]
        with pytest.raises(ClientError) as refusal:
            client(url, "owner", "wrong" * 8).list_queues()
        assert code_of(refusal) == "SignatureDoesNotMatch"
        with pytest.raises(ClientError) as refusal:
            client(url, "nobody").list_queues()
        assert code_of(refusal) == "InvalidClientTokenId"


def test_it_speaks_https(keys: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    arguments = ["--port", "0", "--durability", "memory", "--keys", str(keys)]
    arguments += ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    with ServeProcess(*arguments) as broker:
        url = broker.endpoint_url
        assert url.startswith("https://127.0.0.1:")
        sqs = client(url, "owner", verify=str(tmp_path / "ca.pem"))
        queue = sqs.create_queue(QueueName="jobs")["QueueUrl"]
        assert queue.startswith(url)
        sqs.send_message(QueueUrl=queue, MessageBody="a")


def test_declared_queues_are_there_before_it_listens(tmp_path: Path) -> None:
    config = tmp_path / "queues.toml"
    config.write_text(QUEUES)
    arguments = ["--port", "0", "--data", str(tmp_path / "data"), "--config", str(config)]
    for expected in ("Queue jobs created\n", "Queue jobs unchanged\n"):
        with ServeProcess(*arguments) as broker:
            lines = broker.read_lines("serves SQS at")
            assert lines[0] == expected


def test_declared_queues_are_in_the_region_of_the_environment_or_of_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "queues.toml"
    config.write_text(QUEUES)
    arguments = ["--port", "0", "--durability", "memory", "--config", str(config)]
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with ServeProcess(*arguments) as broker:
        assert len(client(broker.endpoint_url, "any").list_queues()["QueueUrls"]) == 1
    with ServeProcess(*arguments, "--region", "eu-west-3") as broker:
        assert "QueueUrls" not in client(broker.endpoint_url, "any").list_queues()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--keys", "nowhere.toml"], "nowhere.toml"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--tls-cert", "cert.pem"], "--tls-cert and --tls-key go together"),
        (["--tls-cert", "no.pem", "--tls-key", "no.pem"], "no.pem"),
        (["--host", "0.0.0.0"], "Give --keys FILE"),
        (["--keys", "."], "Is a directory"),
        (["--config", "."], "Is a directory"),
        (["--config", "picture"], "picture could not be read"),
        (["--faults", "picture"], "picture could not be read"),
        (["--tls-cert", ".", "--tls-key", "."], "Is a directory"),
        (["--allow-origin", "localhost:3000"], "is not the origin of a web page"),
        (["--allow-host", "http://a"], "is not the name of a host"),
        (["--open-metrics"], "go with --keys"),
        (["--metrics-token", "picture"], "go with --keys"),
    ],
)
def test_options_that_are_refused(tmp_path: Path, arguments: list[str], text: str) -> None:
    (tmp_path / "picture").write_bytes(b"\xff")
    with ServeProcess("--durability", "memory", *arguments, directory=tmp_path) as broker:
        code, output, errors = broker.end()
    assert code == 2
    assert output == ""
    assert text in errors
    assert "Traceback" not in errors


def test_time_runs_as_fast_as_asked() -> None:
    with ServeProcess("--port", "0", "--durability", "memory", "--time-scale", "600") as broker:
        sqs = client(broker.endpoint_url, "any")
        queue = sqs.create_queue(QueueName="jobs", Attributes={"VisibilityTimeout": "600"})
        url = queue["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="a")
        assert len(sqs.receive_message(QueueUrl=url)["Messages"]) == 1
        deadline = time.monotonic() + 20
        while "Messages" not in sqs.receive_message(QueueUrl=url):
            assert time.monotonic() < deadline, "ten minutes did not pass in twenty seconds"
            time.sleep(0.05)


def test_a_deleted_name_is_free_at_once_when_asked() -> None:
    with ServeProcess("--port", "0", "--durability", "memory", "--recreate-wait", "0") as broker:
        sqs = client(broker.endpoint_url, "any")
        for _ in range(3):
            sqs.delete_queue(QueueUrl=sqs.create_queue(QueueName="jobs")["QueueUrl"])


def test_pages_hosts_and_missing_queues_are_let_in_as_asked() -> None:
    shop = "http://localhost:3000"
    options = ("--allow-origin", shop, "--allow-host", "queues.test", "--auto-create")
    with ServeProcess("--port", "0", "--durability", "memory", *options) as broker:
        endpoint_url = broker.endpoint_url
        url = f"{endpoint_url}/_forebay/queues"
        headers = {"Origin": shop, "Host": "queues.test"}
        with urlopen(Request(url, headers=headers)) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == shop
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(url, headers={"Origin": "https://evil.example"}))
        sqs = client(endpoint_url, "any")
        assert sqs.get_queue_url(QueueName="new")["QueueUrl"].endswith("/new")


def test_with_keys_prometheus_shows_a_token(keys: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("a-token-for-prometheus\n")
    options = ("--keys", str(keys), "--metrics-token", str(token))
    with ServeProcess("--port", "0", "--durability", "memory", *options) as broker:
        url = f"{broker.endpoint_url}/metrics"
        headers = {"Authorization": "Bearer a-token-for-prometheus"}
        with urlopen(Request(url, headers=headers)) as answer:
            assert answer.status == 200
        with pytest.raises(HTTPError, match="403"):
            urlopen(url)
