"""Which failures are worth another attempt, and when. Pure: time and randomness are arguments."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from forebay.backoff import backoff_s
from forebay.errors import CredentialsUnreachable, ForebayError, ServiceUnreachable, SettingsError
from forebay.number_settings import require_numbers
from forebay.protocol.actions import BatchResultErrorEntry
from forebay.protocol.errors import FAULTS, Fault, SqsError

#: The codes with which AWS asks for fewer requests.
#: Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
THROTTLING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "KMS.ThrottlingException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

#: The HTTP status that asks for fewer requests. RFC 6585, section 4.
_TOO_MANY_REQUESTS = 429

_BY_QUERY_CODE = {fault.query_code: fault for fault in FAULTS.values()}


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How long to go on, and how long to wait between two attempts.

    The wait is drawn between nothing and a bound that doubles from `base_delay_ms` to
    `max_delay_ms`.
    """

    base_delay_ms: int = 50
    max_delay_ms: int = 1_000
    #: How long after the first failure the last attempt may begin, in milliseconds. The default is
    #: longer than a broker takes to restart.
    deadline_ms: int = 15_000

    def __post_init__(self) -> None:
        require_numbers(self, "RetryPolicy.")
        for name, least in (("base_delay_ms", 1), ("max_delay_ms", 1), ("deadline_ms", 0)):
            if getattr(self, name) < least:
                raise SettingsError(
                    f"RetryPolicy.{name} is {getattr(self, name)}; it must be at least {least}."
                )

    def delay_ms(self, attempt: int, random: float) -> int:
        """How long to wait after the failure of attempt 1, 2, 3…; `random` is in [0, 1)."""
        base_s, max_s = self.base_delay_ms / 1000, self.max_delay_ms / 1000
        return int(backoff_s(attempt, random, base_s=base_s, max_s=max_s) * 1000)

    def decide(
        self, attempt: int, error: ForebayError, elapsed_ms: int, random: float
    ) -> int | None:
        """How long to wait before the next attempt, in milliseconds; None to give up.

        `attempt` counts the attempts made, `error` is how the last one failed, and `elapsed_ms` is
        the time since the first failure.
        """
        if elapsed_ms >= self.deadline_ms or not is_retryable(error):
            return None
        return min(self.delay_ms(attempt, random), self.deadline_ms - elapsed_ms)


#: One attempt, for callers that try again themselves.
NO_RETRY = RetryPolicy(deadline_ms=0)


def is_retryable(error: ForebayError) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, SqsError):
        status = error.fault.http_status
        return status >= 500 or status == _TOO_MANY_REQUESTS or error.code in THROTTLING_CODES
    return isinstance(error, ServiceUnreachable | CredentialsUnreachable)


def split_failed(
    failed: Iterable[BatchResultErrorEntry] | None,
) -> tuple[list[BatchResultErrorEntry], list[BatchResultErrorEntry]]:
    """A batch's failed entries: those that may be sent again, and those that may not.

    Only the service's own failures and throttled entries may: an entry at fault fails again.
    """
    again: list[BatchResultErrorEntry] = []
    final: list[BatchResultErrorEntry] = []
    for entry in failed or ():
        may_retry = not entry.sender_fault or entry.code in THROTTLING_CODES
        (again if may_retry else final).append(entry)
    return again, final


def entry_error(entry: BatchResultErrorEntry) -> SqsError:
    """A failed entry as the error that the action for one message would have raised."""
    fault = _BY_QUERY_CODE.get(entry.code) or FAULTS.get(entry.code)
    if fault is None:
        status = 400 if entry.sender_fault else 500
        fault = Fault(entry.code, entry.code, entry.code, status, entry.sender_fault)
    return SqsError(fault, entry.message)
