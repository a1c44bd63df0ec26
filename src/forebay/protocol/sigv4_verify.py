"""Who signed a request, and whether the signature is good. Pure: the time is an argument.

The order in which faults are found and the texts that name them are AWS's, as recorded by
https://github.com/mhart/dynalite and https://github.com/dacut/scratchstack-aws-signature.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from urllib.parse import unquote

from msgspec import Struct

from forebay.protocol import errors
from forebay.protocol.errors import SqsError
from forebay.protocol.sigv4 import (
    ALGORITHM,
    SERVICE,
    TERMINATION,
    Credentials,
    Scope,
    amz_date,
    canonical_request,
    signature,
    signing_key,
    string_to_sign,
)

#: How far the clocks of signer and broker may differ, and how long a signature in a header is good
#: for, in seconds. AWS CommonErrors, RequestExpired.
CLOCK_SKEW_S = 900

#: Longest life of a presigned request, in seconds: seven days.
#: Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
EXPIRES_S_MAX = 604_800


class HttpRequest(Struct, frozen=True, gc=False):
    """A request as it came over the wire."""

    method: bytes
    #: Path and query of the request line, still encoded.
    target: bytes
    #: Names are in lower case.
    headers: Mapping[bytes, bytes]
    body: bytes


class Signer(Struct, frozen=True, gc=False):
    """Whose key signed a request, and for which region."""

    access_key_id: str
    region: str


class _Claim(Struct, frozen=True, gc=False):
    """What a request says of its signature."""

    credential: str
    signed_headers: str
    signature: str
    amz_date: str
    session_token: str
    #: The query that was signed.
    query: str
    #: How long the signature is good for, in seconds; None in a header, where nobody can say.
    expires_s: int | None = None


def verify(
    request: HttpRequest, find_credentials: Callable[[str], Credentials | None], wall_ms: int
) -> Signer:
    """Who signed a request: in its Authorization header or, when it is presigned, in its query.

    `find_credentials` gives the credentials of an access key id. The signature must cover the host
    and every `x-amz-` header, and it always covers the body: SQS knows no UNSIGNED-PAYLOAD. Any
    region is taken. `wall_ms` is the time since the Unix epoch.

    Raises SqsError: MissingAuthenticationToken when there is no signature, IncompleteSignature when
    it cannot be read, InvalidClientTokenId when key or session token are unknown, RequestExpired
    when a presigned request is too old, and SignatureDoesNotMatch for everything else.
    """
    path, _, query = request.target.decode("latin-1").partition("?")
    if path[:1] != "/" or not {".", ".."}.isdisjoint(path.split("/")):
        # Its canonical form is that of another path, which is the one that was signed.
        raise SqsError(errors.SIGNATURE_DOES_NOT_MATCH)
    claim = _claim(request.headers, query)
    _check_time(claim, wall_ms)
    to_sign = _headers_to_sign(claim, request.headers)
    access_key_id, scope = _read_credential(claim)
    credentials = find_credentials(access_key_id)
    if credentials is None:
        raise SqsError(errors.INVALID_CLIENT_TOKEN_ID)
    method = request.method.decode("latin-1")
    digest = sha256(request.body).hexdigest()
    canonical = canonical_request(method, path, claim.query, to_sign, digest)
    key = signing_key(credentials.secret_access_key, scope)
    expected = signature(key, string_to_sign(claim.amz_date, scope, canonical))
    if not _same(claim.signature, expected):
        raise SqsError(errors.SIGNATURE_DOES_NOT_MATCH)
    if not _same(claim.session_token, credentials.session_token or ""):
        raise SqsError(errors.INVALID_CLIENT_TOKEN_ID)
    return Signer(access_key_id, scope.region)


def _claim(headers: Mapping[bytes, bytes], query: str) -> _Claim:
    authorization = headers.get(b"authorization")
    parameters = _query_parameters(query)
    if "X-Amz-Algorithm" not in parameters:
        return _claim_of_header((authorization or b"").decode("latin-1"), headers, query)
    if authorization is not None:
        raise SqsError(
            errors.SIGNATURE_DOES_NOT_MATCH,
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP"
            " header.",
        )
    return _claim_of_query(parameters, query)


def _claim_of_header(authorization: str, headers: Mapping[bytes, bytes], query: str) -> _Claim:
    """Read `AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...`."""
    algorithm, *parts = authorization.replace(",", " ").split() or [""]
    if not algorithm.startswith("AWS4-"):
        raise SqsError(errors.MISSING_AUTHENTICATION_TOKEN)
    _check_algorithm(algorithm)
    parameters = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals:
            raise SqsError(
                errors.INCOMPLETE_SIGNATURE,
                f"'{part}' not a valid key=value pair (missing equal-sign) in Authorization header:"
                f" '{algorithm}'.",
            )
        parameters[name] = value
    missing = "".join(
        f"Authorization header requires '{name}' parameter. "
        for name in ("Credential", "Signature", "SignedHeaders")
        if not parameters.get(name)
    )
    moment = headers.get(b"x-amz-date") or headers.get(b"date")
    if moment is None:
        missing += (
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        )
    if moment is None or missing:
        raise SqsError(errors.INCOMPLETE_SIGNATURE, f"{missing}Authorization={algorithm}")
    return _Claim(
        parameters["Credential"],
        parameters["SignedHeaders"],
        parameters["Signature"],
        moment.decode("latin-1"),
        headers.get(b"x-amz-security-token", b"").decode("latin-1"),
        query,
    )


def _claim_of_query(parameters: dict[str, str], query: str) -> _Claim:
    _check_algorithm(parameters["X-Amz-Algorithm"])
    missing = "".join(
        f"AWS query-string parameters must include '{name}'. "
        for name in ("X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
        if not parameters.get(name)
    )
    if missing:
        raise SqsError(
            errors.INCOMPLETE_SIGNATURE, f"{missing}Re-examine the query-string parameters."
        )
    expires = parameters.get("X-Amz-Expires", str(CLOCK_SKEW_S))
    if not re.fullmatch("[0-9]{1,6}", expires) or int(expires) > EXPIRES_S_MAX:
        raise SqsError(
            errors.INCOMPLETE_SIGNATURE,
            f"X-Amz-Expires must be a number of seconds, at most {EXPIRES_S_MAX}.",
        )
    pairs = query.split("&")
    return _Claim(
        parameters["X-Amz-Credential"],
        parameters["X-Amz-SignedHeaders"],
        parameters["X-Amz-Signature"],
        parameters["X-Amz-Date"],
        parameters.get("X-Amz-Security-Token", ""),
        "&".join(pair for pair in pairs if not pair.startswith("X-Amz-Signature=")),
        int(expires),
    )


def _query_parameters(query: str) -> dict[str, str]:
    if not query:
        return {}
    pairs = (pair.partition("=") for pair in query.split("&"))
    return {unquote(name): unquote(value) for name, _, value in pairs}


def _check_algorithm(algorithm: str) -> None:
    if algorithm != ALGORITHM:
        raise SqsError(
            errors.INCOMPLETE_SIGNATURE,
            f"Unsupported AWS 'algorithm': '{algorithm}' (only {ALGORITHM} for now). ",
        )


def _check_time(claim: _Claim, wall_ms: int) -> None:
    """Times in this format are compared as text."""
    moment = claim.amz_date
    if not re.fullmatch("[0-9]{8}T[0-9]{6}Z", moment):
        raise SqsError(
            errors.INCOMPLETE_SIGNATURE,
            f"Date must be in ISO-8601 'basic format'. Got '{moment}'."
            " See http://en.wikipedia.org/wiki/ISO_8601",
        )
    latest = amz_date(wall_ms + CLOCK_SKEW_S * 1000)
    if moment > latest:
        raise SqsError(
            errors.SIGNATURE_DOES_NOT_MATCH,
            f"Signature not yet current: {moment} is still later than {latest}"
            f" ({amz_date(wall_ms)} + {CLOCK_SKEW_S // 60} min.)",
        )
    life_s = CLOCK_SKEW_S if claim.expires_s is None else claim.expires_s
    earliest = amz_date(wall_ms - life_s * 1000)
    if moment < earliest:
        life = f"{life_s // 60} min." if life_s % 60 == 0 else f"{life_s} s"
        raise SqsError(
            errors.SIGNATURE_DOES_NOT_MATCH if claim.expires_s is None else errors.REQUEST_EXPIRED,
            f"Signature expired: {moment} is now earlier than {earliest}"
            f" ({amz_date(wall_ms)} - {life})",
        )


def _headers_to_sign(claim: _Claim, headers: Mapping[bytes, bytes]) -> list[tuple[str, str]]:
    """The headers that the signature covers, as they came."""
    names = claim.signed_headers.split(";")
    if "host" not in names:
        raise SqsError(
            errors.SIGNATURE_DOES_NOT_MATCH,
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        )
    for header in headers:
        if header.startswith(b"x-amz-") and (name := header.decode("latin-1")) not in names:
            raise SqsError(
                errors.SIGNATURE_DOES_NOT_MATCH,
                f"'{name}' must be a 'SignedHeader' in the AWS Authorization.",
            )
    try:
        return [(name, headers[name.encode()].decode(errors="surrogateescape")) for name in names]
    except KeyError as error:
        raise SqsError(errors.SIGNATURE_DOES_NOT_MATCH) from error


def _read_credential(claim: _Claim) -> tuple[str, Scope]:
    """The access key id and the scope of `keyid/date/region/sqs/aws4_request`."""
    parts = claim.credential.split("/")
    if len(parts) != 5:
        raise SqsError(
            errors.INCOMPLETE_SIGNATURE,
            "Credential must have exactly 5 slash-delimited elements, e.g."
            f" keyid/date/region/service/term, got '{claim.credential}'",
        )
    access_key_id, date, region, service, termination = parts
    problem = ""
    if not re.fullmatch("[a-z0-9-]+", region):
        problem += f"Credential should be scoped to a valid region, not '{region}'. "
    if service != SERVICE:
        problem += f"Credential should be scoped to correct service: '{SERVICE}'. "
    if termination != TERMINATION:
        problem += (
            "Credential should be scoped with a valid terminator:"
            f" '{TERMINATION}', not '{termination}'. "
        )
    if date != claim.amz_date[:8]:
        problem += (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from"
            f" HTTP: '{date}' != '{claim.amz_date[:8]}', from '{claim.amz_date}'. "
        )
    if problem:
        raise SqsError(errors.SIGNATURE_DOES_NOT_MATCH, problem)
    return access_key_id, Scope(date, region)


def _same(given: str, expected: str) -> bool:
    """Compare secrets in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())
