"""Which account and region a request without checked signatures belongs to."""

from __future__ import annotations

import pytest

from forebay.broker.access import Identity
from forebay.broker.callers import Callers
from forebay.broker.core.engine import Caller
from forebay.broker.policy import Principal

HERE = "http://127.0.0.1:9324"


def signed(key_id: str, region: str) -> bytes:
    scope = f"{key_id}/20261128/{region}/sqs/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0".encode()


def presigned(key_id: str, region: str) -> bytes:
    scope = f"{key_id}%2F20261128%2F{region}%2Fsqs%2Faws4_request"
    return f"Action=ListQueues&X-Amz-Credential={scope}&X-Amz-Date=20261128T000000Z".encode()


def caller(
    path: bytes = b"/", query: bytes = b"", host: bytes = b"", authorization: bytes = b""
) -> Caller:
    headers = {b"host": host, b"authorization": authorization}
    headers = {name: value for name, value in headers.items() if value}
    return Callers("http", "ap-south-1").caller(path, query, headers, None, HERE)


@pytest.mark.parametrize(
    ("request_", "account_id", "region"),
    [
        ({}, "000000000000", "ap-south-1"),
        ({"authorization": signed("AKID", "eu-west-1")}, "000000000000", "eu-west-1"),
        ({"authorization": signed("123456789012", "eu-west-1")}, "123456789012", "eu-west-1"),
        ({"authorization": signed("1234567890123", "local")}, "000000000000", "local"),
        ({"query": presigned("AKID", "eu-west-1")}, "000000000000", "eu-west-1"),
        ({"query": presigned("123456789012", "eu-west-1")}, "123456789012", "eu-west-1"),
        ({"host": b"sqs.eu-west-1.localhost:9324"}, "000000000000", "eu-west-1"),
        ({"host": b"SQS.EU-WEST-1.amazonaws.com"}, "000000000000", "eu-west-1"),
        ({"host": b"eusc.sqs.eusc-de-east-1.amazonaws.eu"}, "000000000000", "eusc-de-east-1"),
        ({"host": b"eu-west-1.queue.amazonaws.com"}, "000000000000", "eu-west-1"),
        ({"host": b"queue.amazonaws.com"}, "000000000000", "us-east-1"),
        ({"host": b"sqs.localhost.example:9324"}, "000000000000", "ap-south-1"),
        ({"host": b"127.0.0.1:9324"}, "000000000000", "ap-south-1"),
        ({"path": b"/123456789012/jobs"}, "123456789012", "ap-south-1"),
        (
            {"path": b"/123456789012/jobs", "authorization": signed("AKID", "eu-west-1")},
            *("123456789012", "eu-west-1"),
        ),
        (
            {"path": b"/123456789012/jobs", "authorization": signed("210987654321", "eu-west-1")},
            *("210987654321", "eu-west-1"),
        ),
        (
            {
                "host": b"sqs.eu-west-1.localhost:9324",
                "authorization": signed("AKID", "us-west-2"),
            },
            *("000000000000", "us-west-2"),
        ),
        (
            {"query": presigned("AKID", "eu-west-1"), "authorization": signed("AKID", "us-west-2")},
            *("000000000000", "us-west-2"),
        ),
        # What is no credential scope says nothing.
        ({"authorization": b"AWS4-HMAC-SHA256 Credential=AKID"}, "000000000000", "ap-south-1"),
        ({"authorization": b"Bearer what/ever"}, "000000000000", "ap-south-1"),
        ({"authorization": signed("AKID", "")}, "000000000000", "ap-south-1"),
        ({"authorization": signed("AKID", "us:east")}, "000000000000", "ap-south-1"),
        ({"query": b"Action=ListQueues&X-Amz-Credential=x"}, "000000000000", "ap-south-1"),
    ],
)
def test_the_signature_decides_then_host_and_path_then_the_default(
    request_: dict[str, bytes], account_id: str, region: str
) -> None:
    found = caller(**request_)
    assert (found.account_id, found.region) == (account_id, region)


def test_the_host_is_where_queue_urls_point() -> None:
    assert caller(host=b"sqs.test:80").endpoint_url == "http://sqs.test:80"
    assert caller().endpoint_url == HERE


def test_a_signature_that_was_checked_says_all() -> None:
    identity = Identity("AKID", "eu-west-1", Principal("111111111111"))
    headers = {b"host": b"sqs.us-west-2.localhost", b"authorization": signed("222222222222", "x")}
    callers = Callers("https", "ap-south-1")
    found = callers.caller(b"/333333333333/jobs", b"", headers, identity, HERE)
    assert found == Caller("111111111111", "eu-west-1", "https://sqs.us-west-2.localhost")


def test_a_client_is_remembered_by_all_that_it_says() -> None:
    callers = Callers("http", "ap-south-1")
    found = {
        (query, authorization): callers.caller(
            b"/", query, {b"authorization": authorization}, None, HERE
        ).region
        for query in (b"", presigned("AKID", "eu-west-1"), presigned("AKID", "eu-west-3"))
        for authorization in (b"", signed("AKID", "us-west-2"))
        for _ in range(2)
    }
    assert list(found.values()) == [
        *("ap-south-1", "us-west-2"),
        *("eu-west-1", "us-west-2"),
        *("eu-west-3", "us-west-2"),
    ]
