"""Signatures against AWS's published test suite, and against botocore's signer."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from unittest import mock

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from forebay.protocol.sigv4 import (
    Credentials,
    Scope,
    Signer,
    amz_date,
    canonical_path,
    canonical_query,
    canonical_request,
    sign,
    signed_headers,
    signing_key,
)

#: The key, the time and the scope of the test suite.
CREDENTIALS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
MOMENT_MS = round(datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp() * 1000)
HOST = ("Host", "example.amazonaws.com")
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

#: The header-signed requests of https://github.com/awslabs/aws-c-auth, aws-signing-test-suite/v4:
#: name, method, path, query, headers, body, signature.
SUITE = [
    ("get-vanilla", "GET", "/", "", [], b"",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("get-vanilla-empty-query-key", "GET", "/", "Param1=value1", [], b"",
     "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
    ("get-vanilla-query-order-key-case", "GET", "/", "Param2=value2&Param1=value1", [], b"",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ("get-vanilla-query-order-encoded", "GET", "/",
     "Param-3=Value3&Param=Value2&%E1%88%B4=Value1", [], b"",
     "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"),
    ("get-vanilla-query-unreserved", "GET", "/", f"{UNRESERVED}={UNRESERVED}", [], b"",
     "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
    ("get-vanilla-utf8-query", "GET", "/", "ሴ=bar", [], b"",
     "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
    ("get-utf8", "GET", "/ሴ", "", [], b"",
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ("get-unreserved", "GET", f"/{UNRESERVED}", "", [], b"",
     "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
    ("get-space-normalized", "GET", "/example space/", "", [], b"",
     "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
    ("get-slashes-normalized", "GET", "//example//", "", [], b"",
     "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
    ("get-slash-dot-slash-normalized", "GET", "/./", "", [], b"",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("get-slash-pointless-dot-normalized", "GET", "/./example", "", [], b"",
     "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"),
    ("get-relative-relative-normalized", "GET", "/example1/example2/../..", "", [], b"",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("get-header-key-duplicate", "GET", "/", "",
     [("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")], b"",
     "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"),
    ("get-header-value-order", "GET", "/", "",
     [("My-Header1", "value4"), ("My-Header1", "value1"), ("My-Header1", "value3"),
      ("My-Header1", "value2")], b"",
     "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"),
    ("get-header-value-trim", "GET", "/", "",
     [("My-Header1", " value1"), ("My-Header2", ' "a   b   c"')], b"",
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
    ("post-vanilla", "POST", "/", "", [], b"",
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ("post-header-key-sort", "POST", "/", "", [("My-Header1", "value1")], b"",
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
    ("post-x-www-form-urlencoded", "POST", "/", "",
     [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "13"),
      ("x-amz-content-sha256",
       "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e")], b"Param1=value1",
     "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body", "signature"),
    [row[1:] for row in SUITE],
    ids=[row[0] for row in SUITE],
)
def test_a_request_of_the_suite_gets_its_published_signature(
    method: str,
    path: str,
    query: str,
    headers: list[tuple[str, str]],
    body: bytes,
    signature: str,
) -> None:
    added = sign(
        CREDENTIALS,
        method=method,
        path=path,
        query=query,
        headers=[HOST, *headers],
        body=body,
        region="us-east-1",
        service="service",
        wall_ms=MOMENT_MS,
    )
    names = signed_headers([HOST, *headers, ("X-Amz-Date", "")])
    assert added == {
        "X-Amz-Date": "20150830T123600Z",
        "Authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
            f" SignedHeaders={names}, Signature={signature}"
        ),
    }


def test_a_session_token_is_sent_and_signed() -> None:
    token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
    added = sign(
        Credentials(CREDENTIALS.access_key_id, CREDENTIALS.secret_access_key, token),
        method="GET",
        path="/",
        query="",
        headers=[HOST],
        body=b"",
        region="us-east-1",
        service="service",
        wall_ms=MOMENT_MS,
    )
    assert added["X-Amz-Security-Token"] == token
    assert added["Authorization"].endswith(
        "SignedHeaders=host;x-amz-date;x-amz-security-token,"
        " Signature=07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"
    )


@pytest.mark.parametrize("token", [None, "token"])
def test_one_signer_signs_many_bodies_at_many_times(token: str | None) -> None:
    credentials = Credentials("key", "secret", token)
    request = {"method": "POST", "path": "/a b", "query": "x=1", "region": "eu-west-1"}
    signer = Signer(credentials, headers=[HOST, ("X-Zulu", " a  b ")], **request)
    moments = [0, 1, 999, 1_000, 1_001, 86_399_999, 86_400_000, 1_000, 0]
    for moment_ms, body in itertools.product(moments, (b"", b"{}", b"{}")):
        alone = sign(
            credentials,
            headers=[HOST, ("X-Zulu", " a  b ")],
            body=body,
            wall_ms=moment_ms,
            **request,
        )
        expected = (alone["X-Amz-Date"], alone["Authorization"])
        assert signer.sign(body, moment_ms) == expected
    assert expected[0] == amz_date(0)


def test_the_canonical_request_is_the_text_of_the_guide() -> None:
    headers = [HOST, ("X-Amz-Date", "20150830T123600Z")]
    assert canonical_request("get", "/", "Param2=value2&Param1=value1", headers, "digest") == (
        "GET\n"
        "/\n"
        "Param1=value1&Param2=value2\n"
        "host:example.amazonaws.com\n"
        "x-amz-date:20150830T123600Z\n"
        "\n"
        "host;x-amz-date\n"
        "digest"
    )


def test_the_signing_key_is_that_of_the_guide() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    assert signing_key(secret, Scope("20150830", "us-east-1", "iam")).hex() == (
        "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    )


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("", "/"),
        ("/", "/"),
        ("/000000000000/jobs.fifo", "/000000000000/jobs.fifo"),
        ("/a%20b", "/a%2520b"),
        ("/../a/", "/a/"),
        ("/a/..", "/"),
    ],
)
def test_a_path_is_normalised_and_encoded_again(path: str, canonical: str) -> None:
    assert canonical_path(path) == canonical


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("", ""),
        ("Action", "Action="),
        ("b=2&a=2&a=1", "a=1&a=2&b=2"),
        ("key=a%2fb", "key=a%2Fb"),
        ("key=a=b", "key=a%3Db"),
    ],
)
def test_a_query_is_sorted_and_encoded_one_way(query: str, canonical: str) -> None:
    assert canonical_query(query) == canonical


def test_the_time_of_a_signature_is_in_utc_and_in_whole_seconds() -> None:
    assert amz_date(MOMENT_MS + 999) == "20150830T123600Z"


def test_credentials_do_not_show_their_secrets() -> None:
    shown = repr(Credentials("AKIDEXAMPLE", "the-secret", "the-token"))
    assert "AKIDEXAMPLE" in shown
    assert "the-" not in shown


#: What stands in URLs and headers: visible ASCII for values, letters for names.
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
SEGMENTS = st.text("abcXYZ012-_.~%", max_size=8)
NAMES = st.text("abcdefgh-", min_size=1, max_size=8)


@given(
    method=st.sampled_from(["GET", "POST"]),
    segments=st.lists(SEGMENTS, max_size=4),
    pairs=st.lists(st.tuples(NAMES, NAMES), max_size=4),
    headers=st.dictionaries(NAMES.map(lambda name: f"x-{name}"), VALUES, max_size=4),
    body=st.binary(max_size=100),
    region=st.sampled_from(["us-east-1", "eu-central-1"]),
    token=st.none() | VALUES,
    second=st.integers(min_value=0, max_value=4_102_444_800),
)
def test_botocore_signs_the_same_request_the_same_way(
    method: str,
    segments: list[str],
    pairs: list[tuple[str, str]],
    headers: dict[str, str],
    body: bytes,
    region: str,
    token: str | None,
    second: int,
) -> None:
    path = "/" + "/".join(segments)
    query = "&".join(f"{name}={value}" for name, value in pairs)
    url = f"https://sqs.{region}.amazonaws.com{path}{'?' if query else ''}{query}"
    theirs = AWSRequest(method=method, url=url, headers=dict(headers), data=body)
    moment = datetime.fromtimestamp(second, UTC)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=moment):
        botocore.auth.SigV4Auth(
            BotocoreCredentials("AKIDEXAMPLE", "secret", token), "sqs", region
        ).add_auth(theirs)

    ours = sign(
        Credentials("AKIDEXAMPLE", "secret", token),
        method=method,
        path=path,
        query=query,
        headers=[("host", f"sqs.{region}.amazonaws.com"), *headers.items()],
        body=body,
        region=region,
        wall_ms=second * 1000,
    )
    assert ours == {name: theirs.headers[name] for name in ours}
