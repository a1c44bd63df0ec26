"""Signatures that are verified: botocore's are taken, and every change to them is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from unittest import mock
from urllib.parse import unquote_to_bytes, urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from forebay.protocol.errors import SqsError
from forebay.protocol.sigv4 import Credentials, sign
from forebay.protocol.sigv4_verify import HttpRequest, Signer, verify

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)
HOST = "127.0.0.1:9324"
PLAIN = Credentials("AKIDPLAIN", "the secret of the plain key")
TEMPORARY = Credentials("ASIATEMPORARY", "the secret of the temporary key", "the+token/of=it")
FIND = {key.access_key_id: key for key in (PLAIN, TEMPORARY)}.get
JSON_HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "AmazonSQS.SendMessage",
    "User-Agent": "Boto3/1.38",
}
BODY = b'{"QueueUrl":"http://127.0.0.1:9324/000000000000/jobs","MessageBody":"\xc3\xa9"}'
SENDING = "/000000000000/jobs?Action=SendMessage&MessageBody=a%20b%2Fc%25&Version=2012-11-05"


def on_the_wire(request: AWSRequest) -> HttpRequest:
    """What a server reads of the request that botocore would send."""
    prepared = request.prepare()
    url = urlsplit(prepared.url)
    headers = {"host": url.netloc, **prepared.headers}
    return HttpRequest(
        prepared.method.encode(),
        f"{url.path or '/'}{'?' if url.query else ''}{url.query}".encode(),
        {
            name.lower().encode(): value if isinstance(value, bytes) else value.encode()
            for name, value in headers.items()
        },
        prepared.body if isinstance(prepared.body, bytes) else b"",
    )


def signed(
    credentials: Credentials = PLAIN,
    *,
    method: str = "POST",
    target: str = "/",
    headers: dict[str, str] = JSON_HEADERS,
    body: bytes = BODY,
    region: str = "eu-central-1",
    service: str = "sqs",
    expires_s: int | None = None,
) -> HttpRequest:
    """A request that botocore signed, in its header or, with `expires_s`, in its query."""
    request = AWSRequest(method=method, url=f"http://{HOST}{target}", headers=headers, data=body)
    theirs = BotocoreCredentials(
        credentials.access_key_id, credentials.secret_access_key, credentials.session_token
    )
    signer = (
        botocore.auth.SigV4Auth(theirs, service, region)
        if expires_s is None
        else botocore.auth.SigV4QueryAuth(theirs, service, region, expires=expires_s)
    )
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=NOW):
        signer.add_auth(request)
    return on_the_wire(request)


def presigned(credentials: Credentials = PLAIN, *, expires_s: int = 60) -> HttpRequest:
    return signed(
        credentials, method="GET", target=SENDING, headers={}, body=b"", expires_s=expires_s
    )


def refusal(request: HttpRequest, wall_ms: int = NOW_MS) -> SqsError:
    with pytest.raises(SqsError) as raised:
        verify(request, FIND, wall_ms)
    for key in (PLAIN, TEMPORARY):
        assert key.secret_access_key not in str(raised.value)
        assert (key.session_token or "no token") not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(signed(), id="JSON"),
        pytest.param(signed(TEMPORARY), id="JSON with a session token"),
        pytest.param(signed(target="/000000000000/jobs"), id="JSON to a queue's path"),
        pytest.param(signed(target="//000000000000//jobs/"), id="a path with double slashes"),
        pytest.param(signed(body=b""), id="an empty body"),
        pytest.param(signed(method="GET", target=SENDING, headers={}, body=b""), id="Query by GET"),
        pytest.param(
            signed(
                headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
                body=b"Action=SendMessage&MessageBody=a%20b",
            ),
            id="Query by POST",
        ),
        pytest.param(signed(headers={**JSON_HEADERS, "X-Note": " a   b "}), id="spaces"),
        pytest.param(signed(headers={**JSON_HEADERS, "X-Note": "gr\u00fcn"}), id="UTF-8"),
        pytest.param(signed(target="/?a=%C3%A9&b=%FF&c&a=1"), id="a query of any bytes"),
        pytest.param(presigned(), id="presigned"),
        pytest.param(presigned(TEMPORARY), id="presigned with a session token"),
        pytest.param(presigned(expires_s=604_800), id="presigned for seven days"),
    ],
)
def test_what_botocore_signs_is_taken(request_: HttpRequest) -> None:
    signer = verify(request_, FIND, NOW_MS)
    assert signer.access_key_id in {"AKIDPLAIN", "ASIATEMPORARY"}
    assert signer.region == "eu-central-1"


@given(
    region=st.sampled_from(["us-east-1", "local"]),
    target=st.sampled_from(["/", "/000000000000/jobs.fifo", "/a?b=%20&c=d"]),
    body=st.binary(max_size=200),
    credentials=st.sampled_from([PLAIN, TEMPORARY]),
    age_ms=st.integers(-900_000, 900_000),
)
def test_what_we_sign_is_taken(
    region: str, target: str, body: bytes, credentials: Credentials, age_ms: int
) -> None:
    path, _, query = target.partition("?")
    added = sign(
        credentials,
        method="POST",
        path=path,
        query=query,
        headers=[("Host", HOST), ("X-Amz-Target", "AmazonSQS.SendMessage")],
        body=body,
        region=region,
        wall_ms=NOW_MS,
    )
    headers = {"host": HOST, "x-amz-target": "AmazonSQS.SendMessage", **added}
    wire = {name.lower().encode(): value.encode() for name, value in headers.items()}
    request = HttpRequest(b"POST", target.encode(), wire, body)
    assert verify(request, FIND, NOW_MS + age_ms) == Signer(credentials.access_key_id, region)


def test_parts_of_the_authorization_may_be_apart_by_commas_or_spaces_alone() -> None:
    request = signed()
    header = request.headers[b"authorization"]
    for separator in (b",", b" ", b" , "):
        spelt = with_header("authorization", header.replace(b", ", separator))(request)
        assert verify(spelt, FIND, NOW_MS).access_key_id == "AKIDPLAIN"


Change = Callable[[HttpRequest], HttpRequest]


def with_header(name: str, value: bytes | None) -> Change:
    def change(request: HttpRequest) -> HttpRequest:
        headers = {key: text for key, text in request.headers.items() if key != name.encode()}
        return replace(request, headers=headers | ({} if value is None else {name.encode(): value}))

    return change


def in_header(name: str, old: bytes, new: bytes) -> Change:
    def change(request: HttpRequest) -> HttpRequest:
        assert old in request.headers[name.encode()]
        return with_header(name, request.headers[name.encode()].replace(old, new, 1))(request)

    return change


def in_target(old: bytes, new: bytes) -> Change:
    def change(request: HttpRequest) -> HttpRequest:
        assert old in request.target
        return replace(request, target=request.target.replace(old, new, 1))

    return change


MISMATCH = "The request signature we calculated does not match the signature you provided."
INVALID_TOKEN = "The security token included in the request is invalid."

#: What was changed in a request signed in its header; the error that it gets; how its text begins.
CHANGES: list[tuple[str, Change, str, str]] = [
    ("the method", lambda r: replace(r, method=b"PUT"), "SignatureDoesNotMatch", MISMATCH),
    ("the path", lambda r: replace(r, target=b"/other"), "SignatureDoesNotMatch", MISMATCH),
    ("no path", lambda r: replace(r, target=b"?"), "SignatureDoesNotMatch", MISMATCH),
    ("a dot in the path", lambda r: replace(r, target=b"/."), "SignatureDoesNotMatch", MISMATCH),
    ("the way up", lambda r: replace(r, target=b"/x/.."), "SignatureDoesNotMatch", MISMATCH),
    ("the query", lambda r: replace(r, target=b"/?a"), "SignatureDoesNotMatch", MISMATCH),
    ("the body", lambda r: replace(r, body=b"{}"), "SignatureDoesNotMatch", MISMATCH),
    ("no body", lambda r: replace(r, body=b""), "SignatureDoesNotMatch", MISMATCH),
    ("the host", with_header("host", b"evil:80"), "SignatureDoesNotMatch", MISMATCH),
    ("the action", in_header("x-amz-target", b"Send", b"Read"), "SignatureDoesNotMatch", MISMATCH),
    ("a header gone", with_header("x-amz-target", None), "SignatureDoesNotMatch", MISMATCH),
    ("an x-amz- header more", with_header("x-amz-extra", b"1"), "SignatureDoesNotMatch",
     "'x-amz-extra' must be a 'SignedHeader' in the AWS Authorization."),
    ("a token more", with_header("x-amz-security-token", b"t"), "SignatureDoesNotMatch",
     "'x-amz-security-token' must be a 'SignedHeader' in the AWS Authorization."),
    ("an unsigned body", with_header("x-amz-content-sha256", b"UNSIGNED-PAYLOAD"),
     "SignatureDoesNotMatch", "'x-amz-content-sha256' must be"),
    ("the second", in_header("x-amz-date", b"00Z", b"01Z"), "SignatureDoesNotMatch", MISMATCH),
    ("no date", with_header("x-amz-date", None), "IncompleteSignature",
     "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
     " Authorization=AWS4-HMAC-SHA256"),
    ("a date of another form", with_header("x-amz-date", b"2026-03-01T12:00:00Z"),
     "IncompleteSignature", "Date must be in ISO-8601 'basic format'. Got '2026-03-01T12:00:00Z'."),
    ("a date of other digits", with_header("x-amz-date", "2026030\u0661T120000Z".encode()),
     "IncompleteSignature", "Date must be in ISO-8601 'basic format'."),
    ("no signature", with_header("authorization", None), "MissingAuthenticationToken",
     "Request is missing Authentication Token"),
    ("an empty signature", with_header("authorization", b""), "MissingAuthenticationToken",
     "Request is missing Authentication Token"),
    ("another scheme", with_header("authorization", b"Basic eDp4"), "MissingAuthenticationToken",
     "Request is missing Authentication Token"),
    ("two signatures", lambda r: replace(r, target=b"/?X-Amz-Algorithm=AWS4-HMAC-SHA256"),
     "SignatureDoesNotMatch", "Found both 'X-Amz-Algorithm' as a query-string param and"),
    ("another algorithm", in_header("authorization", b"SHA256", b"SHA1"), "IncompleteSignature",
     "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1' (only AWS4-HMAC-SHA256 for now)."),
    ("the scheme alone", with_header("authorization", b"AWS4-HMAC-SHA256"), "IncompleteSignature",
     "Authorization header requires 'Credential' parameter. Authorization header requires"
     " 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter."),
    ("a part without a value", in_header("authorization", b"Signature=", b"Signature "),
     "IncompleteSignature", "'Signature' not a valid key=value pair (missing equal-sign)"),
    ("an empty part", in_header("authorization", b"Signature=", b"X="), "IncompleteSignature",
     "Authorization header requires 'Signature' parameter."),
    ("the signature", in_header("authorization", b"Signature=", b"Signature=0"),
     "SignatureDoesNotMatch", MISMATCH),
    ("a signature of other letters", in_header("authorization", b"Signature=", b"Signature=\xe9"),
     "SignatureDoesNotMatch", MISMATCH),
    ("a host that is not signed", in_header("authorization", b";host", b""),
     "SignatureDoesNotMatch",
     "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."),
    ("a date that is not signed", in_header("authorization", b";x-amz-date", b""),
     "SignatureDoesNotMatch", "'x-amz-date' must be a 'SignedHeader' in the AWS Authorization."),
    ("a signed header that is not there", in_header("authorization", b";host", b";host;x-note"),
     "SignatureDoesNotMatch", MISMATCH),
    ("an unknown key", in_header("authorization", b"AKIDPLAIN", b"AKIDOTHER"),
     "InvalidClientTokenId", INVALID_TOKEN),
    ("the key of another secret", in_header("authorization", b"AKIDPLAIN", b"ASIATEMPORARY"),
     "SignatureDoesNotMatch", MISMATCH),
    ("a credential of four parts", in_header("authorization", b"/sqs/", b"/"),
     "IncompleteSignature", "Credential must have exactly 5 slash-delimited elements, e.g."
     " keyid/date/region/service/term, got 'AKIDPLAIN/20260301/eu-central-1/aws4_request'"),
    ("the region", in_header("authorization", b"eu-central-1", b"eu-central-2"),
     "SignatureDoesNotMatch", MISMATCH),
    ("a region that is none", in_header("authorization", b"eu-central-1", b"eu:1"),
     "SignatureDoesNotMatch", "Credential should be scoped to a valid region, not 'eu:1'."),
    ("the service", in_header("authorization", b"/sqs/", b"/sns/"), "SignatureDoesNotMatch",
     "Credential should be scoped to correct service: 'sqs'."),
    ("the terminator", in_header("authorization", b"aws4_request", b"aws5"),
     "SignatureDoesNotMatch",
     "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5'."),
    ("the scope's date", in_header("authorization", b"20260301", b"20260302"),
     "SignatureDoesNotMatch", "Date in Credential scope does not match YYYYMMDD from ISO-8601"
     " version of date from HTTP: '20260302' != '20260301', from '20260301T120000Z'."),
]  # fmt: skip

#: The same for a presigned request.
PRESIGNED_CHANGES: list[tuple[str, Change, str, str]] = [
    ("the method", lambda r: replace(r, method=b"POST"), "SignatureDoesNotMatch", MISMATCH),
    ("the queue", in_target(b"jobs", b"jobz"), "SignatureDoesNotMatch", MISMATCH),
    ("the action", in_target(b"Send", b"Read"), "SignatureDoesNotMatch", MISMATCH),
    ("a parameter", in_target(b"a%20b", b"a%20c"), "SignatureDoesNotMatch", MISMATCH),
    ("a parameter more", in_target(b"?", b"?DelaySeconds=9&"), "SignatureDoesNotMatch", MISMATCH),
    ("a parameter less", in_target(b"&Version=2012-11-05", b""), "SignatureDoesNotMatch", MISMATCH),
    ("a body", lambda r: replace(r, body=b"x"), "SignatureDoesNotMatch", MISMATCH),
    ("the host", with_header("host", b"evil:80"), "SignatureDoesNotMatch", MISMATCH),
    ("a header with an action", with_header("x-amz-target", b"AmazonSQS.DeleteQueue"),
     "SignatureDoesNotMatch", "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization."),
    ("the life", in_target(b"Expires=60", b"Expires=61"), "SignatureDoesNotMatch", MISMATCH),
    ("no end to its life", in_target(b"&X-Amz-Expires=60", b""), "SignatureDoesNotMatch", MISMATCH),
    ("a life of eight days", in_target(b"Expires=60", b"Expires=691200"), "IncompleteSignature",
     "X-Amz-Expires must be a number of seconds, at most 604800."),
    ("a life before it began", in_target(b"Expires=60", b"Expires=-1"), "IncompleteSignature",
     "X-Amz-Expires must be a number of seconds, at most 604800."),
    ("the signature", in_target(b"Signature=", b"Signature=0"), "SignatureDoesNotMatch", MISMATCH),
    ("no signature", in_target(b"X-Amz-Signature=", b"X="), "IncompleteSignature",
     "AWS query-string parameters must include 'X-Amz-Signature'."
     " Re-examine the query-string parameters."),
    ("the algorithm alone", lambda r: replace(r, target=b"/?X-Amz-Algorithm=AWS4-HMAC-SHA256"),
     "IncompleteSignature", "AWS query-string parameters must include 'X-Amz-Credential'."),
    ("no algorithm", in_target(b"X-Amz-Algorithm", b"Algorithm"), "MissingAuthenticationToken",
     "Request is missing Authentication Token"),
    ("another algorithm", in_target(b"HMAC-SHA256", b"HMAC-SHA1"), "IncompleteSignature",
     "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1'"),
    ("an unknown key", in_target(b"AKIDPLAIN", b"AKIDOTHER"), "InvalidClientTokenId",
     INVALID_TOKEN),
    ("the service", in_target(b"%2Fsqs%2F", b"%2Fsns%2F"), "SignatureDoesNotMatch",
     "Credential should be scoped to correct service: 'sqs'."),
    ("a host that is not signed", in_target(b"SignedHeaders=host", b"SignedHeaders=date"),
     "SignatureDoesNotMatch", "'Host' or ':authority' must be a 'SignedHeader'"),
    ("a signed header that is none", in_target(b"SignedHeaders=host", b"SignedHeaders=host%3B%FF"),
     "SignatureDoesNotMatch", MISMATCH),
    ("a token more", in_target(b"?", b"?X-Amz-Security-Token=t&"), "SignatureDoesNotMatch",
     MISMATCH),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code", "text"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES]
)
def test_a_changed_request_is_refused(change: Change, code: str, text: str) -> None:
    error = refusal(change(signed()))
    assert error.code == code
    assert error.message.startswith(text)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [row[1:] for row in PRESIGNED_CHANGES],
    ids=[row[0] for row in PRESIGNED_CHANGES],
)
def test_a_changed_presigned_request_is_refused(change: Change, code: str, text: str) -> None:
    error = refusal(change(presigned()))
    assert error.code == code
    assert error.message.startswith(text)


@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        (Credentials("AKIDPLAIN", "another secret"), "SignatureDoesNotMatch"),
        (Credentials("AKIDNOBODY", PLAIN.secret_access_key), "InvalidClientTokenId"),
        (Credentials("AKIDPLAIN", PLAIN.secret_access_key, "a token"), "InvalidClientTokenId"),
        (Credentials("ASIATEMPORARY", TEMPORARY.secret_access_key), "InvalidClientTokenId"),
        (
            Credentials("ASIATEMPORARY", TEMPORARY.secret_access_key, "another token"),
            "InvalidClientTokenId",
        ),
    ],
    ids=["the secret", "the key", "a token for a key without", "no token", "the token"],
)
@pytest.mark.parametrize("make", [signed, presigned])
def test_a_good_signature_with_the_wrong_credentials_is_refused(
    make: Callable[[Credentials], HttpRequest], credentials: Credentials, code: str
) -> None:
    assert refusal(make(credentials)).code == code


def test_an_unsigned_body_is_refused_even_when_that_was_signed() -> None:
    headers = {**JSON_HEADERS, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    assert refusal(signed(headers=headers)).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("make", "age_s", "text"),
    [
        (signed, 900, None),
        (signed, -900, None),
        (signed, 901, "SignatureDoesNotMatch: Signature expired: 20260301T120000Z is now earlier"
         " than 20260301T120001Z (20260301T121501Z - 15 min.)"),
        (signed, -901, "SignatureDoesNotMatch: Signature not yet current: 20260301T120000Z is still"
         " later than 20260301T115959Z (20260301T114459Z + 15 min.)"),
        (presigned, 60, None),
        (presigned, -900, None),
        (presigned, 61, "RequestExpired: Signature expired: 20260301T120000Z is now earlier than"
         " 20260301T120001Z (20260301T120101Z - 1 min.)"),
        (presigned, -901, "SignatureDoesNotMatch: Signature not yet current: 20260301T120000Z is"
         " still later than 20260301T115959Z (20260301T114459Z + 15 min.)"),
    ],
)  # fmt: skip
def test_a_signature_is_good_for_its_time(
    make: Callable[[], HttpRequest], age_s: int, text: str | None
) -> None:
    wall_ms = NOW_MS + age_s * 1000
    if text is None:
        assert verify(make(), FIND, wall_ms).access_key_id == "AKIDPLAIN"
    else:
        assert str(refusal(make(), wall_ms)) == text


def test_a_presigned_request_lives_for_seven_days_at_most() -> None:
    request = presigned(expires_s=604_800)
    assert verify(request, FIND, NOW_MS + 604_800_000).access_key_id == "AKIDPLAIN"
    assert refusal(request, NOW_MS + 604_801_000).code == "RequestExpired"


def change_byte(text: bytes, index: int, mask: int) -> bytes:
    changed = bytearray(text)
    changed[index] ^= mask
    return bytes(changed)


@given(data=st.data(), request_=st.sampled_from([signed(), signed(TEMPORARY), presigned()]))
def test_any_changed_byte_is_refused(data: st.DataObject, request_: HttpRequest) -> None:
    old = {
        "method": request_.method,
        "target": request_.target,
        "body": request_.body,
        **{f"value of {name.decode()}": text for name, text in request_.headers.items()},
        **{f"name {name.decode()}": name for name in request_.headers},
    }
    unsigned = ("user-agent", "content-length")
    covered = [part for part, text in old.items() if text and not part.endswith(unsigned)]
    part = data.draw(st.sampled_from(covered))
    index = data.draw(st.integers(0, len(old[part]) - 1))
    new = {**old, part: change_byte(old[part], index, data.draw(st.integers(1, 255)))}
    # The separators in the Authorization header may be spelt in several ways, and so may the bytes
    # of a target. HTTP knows no two methods of the same letters.
    assume(part != "value of authorization" or old[part][index] not in b", ")
    assume(part != "target" or unquote_to_bytes(new[part]) != unquote_to_bytes(old[part]))
    assume(part != "method" or new[part].upper() != old[part].upper())
    names = [name.decode() for name in request_.headers]
    headers = {new[f"name {name}"]: new[f"value of {name}"] for name in names}
    refusal(HttpRequest(new["method"], new["target"], headers, new["body"]))


@given(
    target=st.binary(max_size=200),
    headers=st.dictionaries(
        st.sampled_from([b"authorization", b"host", b"x-amz-date", b"x-amz-\xff", b"date"]),
        st.binary(max_size=100).map(lambda text: b"AWS4-HMAC-SHA256 " + text)
        | st.binary(max_size=40),
    ),
    query=st.binary(max_size=100).map(lambda text: b"?X-Amz-Algorithm=AWS4-HMAC-SHA256&" + text)
    | st.just(b""),
)
def test_bytes_that_make_no_sense_are_refused(
    target: bytes, headers: dict[bytes, bytes], query: bytes
) -> None:
    refusal(HttpRequest(b"GET", target + query, headers, b""))
