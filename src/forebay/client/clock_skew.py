"""The service's time, as a refusal of a signature tells it. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from forebay.errors import ForebayError
from forebay.protocol.errors import SqsError

#: How AWS says that a signature is of another time, and what time it is there: "Signature expired:
#: 20130216T144545Z is now earlier than 20130216T145045Z (20130216T150045Z - 10 min.)".
#: Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
_REFUSAL = re.compile(r"Signature (?:expired|not yet current): .*\(([0-9]{8}T[0-9]{6}Z) [+-]")


def service_time_ms(error: ForebayError) -> int | None:
    """When it is at the service, in milliseconds since the Unix epoch, to the second.

    None for an error that is no refusal of the time of a signature.
    """
    told = _REFUSAL.search(error.message) if isinstance(error, SqsError) else None
    if told is None:
        return None
    try:
        moment = datetime.strptime(told[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return round(moment.timestamp() * 1000)
