"""Where requests go, as tables."""

from __future__ import annotations

import pytest

from forebay.client.endpoint import Address, Endpoint, is_local, region_of_url, resolve_endpoint
from forebay.errors import SettingsError

LOCAL_QUEUE = "http://127.0.0.1:9324/000000000000/jobs"
AWS_QUEUE = "https://sqs.us-east-2.amazonaws.com/123456789012/jobs"


@pytest.mark.parametrize(
    ("url", "region"),
    [
        (AWS_QUEUE, "us-east-2"),
        ("https://sqs.eu-central-1.api.aws/123456789012/jobs", "eu-central-1"),
        ("https://sqs-fips.us-gov-west-1.amazonaws.com/1/q", "us-gov-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1"),
        ("https://vpce-0a1.sqs.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ("https://us-west-2.queue.amazonaws.com/1/q", "us-west-2"),
        ("https://queue.amazonaws.com/1/q", "us-east-1"),
        ("http://127.0.0.1:9324/000000000000/jobs", None),
        ("jobs", None),
        (None, None),
    ],
)
def test_the_region_is_read_from_the_host(url: str | None, region: str | None) -> None:
    assert region_of_url(url) == region


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("10.1.2.3", True),
        ("forebay", True),
        ("sqs.localhost", True),
        ("host.docker.internal", True),
        ("sqs.us-east-1.amazonaws.com", False),
        ("8.8.8.8", False),
        ("queues.example.com", False),
    ],
)
def test_a_local_host_needs_no_account(host: str, local: bool) -> None:
    assert is_local(host) is local


@pytest.mark.parametrize(
    ("endpoint_url", "region", "environment", "queue_url", "url", "resolved_region"),
    [
        ("http://127.0.0.1:9324", None, {}, None, "http://127.0.0.1:9324/", "us-east-1"),
        ("http://127.0.0.1:9324/", "eu-west-1", {}, None, "http://127.0.0.1:9324/", "eu-west-1"),
        ("https://[::1]:443/sqs", None, {}, None, "https://[::1]/sqs", "us-east-1"),
        (None, "eu-west-1", {}, None, "https://sqs.eu-west-1.amazonaws.com/", "eu-west-1"),
        (None, "cn-north-1", {}, None, "https://sqs.cn-north-1.amazonaws.com.cn/", "cn-north-1"),
        (None, "eu-west-1", {"AWS_REGION": "us-west-2"}, AWS_QUEUE,
         "https://sqs.eu-west-1.amazonaws.com/", "eu-west-1"),
        (None, None, {"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-west-1"}, AWS_QUEUE,
         "https://sqs.us-west-2.amazonaws.com/", "us-west-2"),
        (None, None, {"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-1"}, None,
         "https://sqs.us-west-1.amazonaws.com/", "us-west-1"),
        (None, None, {}, AWS_QUEUE, "https://sqs.us-east-2.amazonaws.com/", "us-east-2"),
        (None, None, {"AWS_ENDPOINT_URL": "http://forebay:9324"}, AWS_QUEUE,
         "http://forebay:9324/", "us-east-2"),
        (None, None, {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_SQS": "http://b"}, None,
         "http://b/", "us-east-1"),
        (None, None, {}, LOCAL_QUEUE, "http://127.0.0.1:9324/", "us-east-1"),
        (None, "eu-west-1", {"AWS_REGION": "us-west-2"}, LOCAL_QUEUE,
         "http://127.0.0.1:9324/", "eu-west-1"),
        (None, None, {"AWS_ENDPOINT_URL": "http://a"}, LOCAL_QUEUE, "http://a/", "us-east-1"),
        (None, "eu-central-1", {}, "https://sqs.eu-central-1.api.aws/123456789012/jobs",
         "https://sqs.eu-central-1.amazonaws.com/", "eu-central-1"),
    ],
)  # fmt: skip
def test_the_argument_goes_before_the_environment_and_that_before_the_queue(
    endpoint_url: str | None,
    region: str | None,
    environment: dict[str, str],
    queue_url: str | None,
    url: str,
    resolved_region: str,
) -> None:
    endpoint = resolve_endpoint(endpoint_url, region, environment, queue_url)
    assert (endpoint.url, endpoint.region) == (url, resolved_region)


@pytest.mark.parametrize(
    ("endpoint_url", "host"),
    [
        ("http://127.0.0.1:9324", "127.0.0.1:9324"),
        ("http://forebay:80", "forebay"),
        ("https://forebay:80", "forebay:80"),
        ("http://[::1]:9324", "[::1]:9324"),
    ],
)
def test_the_host_header_names_the_port_unless_it_is_the_default(
    endpoint_url: str, host: str
) -> None:
    assert resolve_endpoint(endpoint_url, None, {}).host == host


def test_an_endpoint_knows_its_path_and_whether_it_is_local() -> None:
    assert resolve_endpoint("http://localhost:8080/sqs", "eu-west-1", {}) == Endpoint(
        url="http://localhost:8080/sqs",
        host="localhost:8080",
        path="/sqs",
        region="eu-west-1",
        local=True,
        address=Address("localhost", 8080, tls=False),
    )


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://h", Address("h", 80, tls=False)),
        ("https://h", Address("h", 443, tls=True)),
        ("https://[::1]:4566/x", Address("::1", 4566, tls=True)),
    ],
)
def test_an_endpoint_knows_where_to_connect_to(url: str, address: Address) -> None:
    assert resolve_endpoint(url, None, {}).address == address


@pytest.mark.parametrize(
    "endpoint_url", ["127.0.0.1:9324", "ftp://host", "http://", "http://h:port", "nonsense"]
)
def test_what_is_no_url_is_refused(endpoint_url: str) -> None:
    with pytest.raises(SettingsError, match="is not an endpoint URL"):
        resolve_endpoint(endpoint_url, None, {})


def test_aws_without_a_region_is_refused_with_what_to_set() -> None:
    with pytest.raises(SettingsError, match="set AWS_ENDPOINT_URL_SQS or AWS_REGION"):
        resolve_endpoint(None, None, {}, queue_url="jobs")
    with pytest.raises(SettingsError, match="set AWS_ENDPOINT_URL_SQS or AWS_REGION"):
        resolve_endpoint(None, None, {}, queue_url="http://[::1/jobs")


@pytest.mark.parametrize("user", ["user:pass-word", "user", ":pass-word", ""])
def test_a_user_in_an_endpoint_url_is_refused_and_not_repeated(user: str) -> None:
    with pytest.raises(SettingsError, match="has a user or a password in it") as refusal:
        resolve_endpoint(f"http://{user}@localhost:9324", None, {})
    assert "pass-word" not in str(refusal.value)
