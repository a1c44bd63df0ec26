"""What to do about an error of SQS that its text does not say."""

from __future__ import annotations

import re

import msgspec

from forebay.protocol.errors import SqsError

_EXPIRED = "Your credentials have expired. Renew them, for example with `aws sso login`."
_UNKNOWN_KEY = "Check AWS_ACCESS_KEY_ID and AWS_PROFILE, and that this is the SQS you mean."

#: By the code that SDKs show. Source of AWS's own codes:
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
_ADVICE = {
    "AccessDenied": "Ask whoever runs it to let your key do this.",
    "AccessDeniedException": "Ask whoever runs it to let your key do this.",
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "MissingAuthenticationToken": _UNKNOWN_KEY,
    "RequestExpired": _EXPIRED,
    "SignatureDoesNotMatch": "Check AWS_SECRET_ACCESS_KEY and the clock of this machine.",
    "UnrecognizedClientException": _UNKNOWN_KEY,
}


#: The code of an answer that is no answer of SQS, but a web page for example.
_NO_SQS = re.compile("Http[0-9]{3}")


def with_advice(error: SqsError) -> str:
    """The error and, where there is any, advice, in one line."""
    if _NO_SQS.fullmatch(error.code) or isinstance(error.__cause__, msgspec.DecodeError):
        status = error.code.removeprefix("Http") if _NO_SQS.fullmatch(error.code) else "200"
        return (
            f"What answers there is no SQS: it answered with HTTP status {status}. Check"
            " --endpoint-url, AWS_ENDPOINT_URL_SQS and AWS_ENDPOINT_URL."
        )
    text = " ".join(f"{error}".split())
    advice = _ADVICE.get(error.code)
    return text if advice is None else f"{text.rstrip('.')}. {advice}"
