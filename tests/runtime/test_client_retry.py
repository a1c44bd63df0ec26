"""When the client tries again, as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.client.retry import RetryPolicy, entry_error, is_retryable, split_failed
from forebay.errors import (
    Closed,
    CredentialsUnreachable,
    ForebayError,
    NoCredentials,
    ServiceUnreachable,
    SettingsError,
)
from forebay.protocol.actions import BatchResultErrorEntry
from forebay.protocol.errors import (
    INTERNAL_FAILURE,
    INVALID_MESSAGE_CONTENTS,
    INVALID_PARAMETER_VALUE,
    OVER_LIMIT,
    PURGE_QUEUE_IN_PROGRESS,
    QUEUE_DOES_NOT_EXIST,
    REQUEST_THROTTLED,
    SERVICE_UNAVAILABLE,
    SqsError,
    fault_from_wire,
)

POLICY = RetryPolicy(base_delay_ms=50, max_delay_ms=1_000, deadline_ms=15_000)
UNREACHABLE = ServiceUnreachable()


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (UNREACHABLE, True),
        (SqsError(SERVICE_UNAVAILABLE), True),
        (SqsError(INTERNAL_FAILURE), True),
        (SqsError(REQUEST_THROTTLED), True),
        (SqsError(fault_from_wire("Http502", None, 502)), True),
        (SqsError(fault_from_wire("Http429", None, 429)), True),
        (SqsError(fault_from_wire("ThrottlingException", None, 400)), True),
        (SqsError(QUEUE_DOES_NOT_EXIST), False),
        (SqsError(INVALID_PARAMETER_VALUE), False),
        (SqsError(OVER_LIMIT), False),
        (SqsError(PURGE_QUEUE_IN_PROGRESS), False),
        (SqsError(fault_from_wire("AccessDeniedException", None, 403)), False),
        (Closed(), False),
        (NoCredentials(), False),
        (CredentialsUnreachable(), True),
    ],
    ids=str,
)
def test_only_failures_that_may_pass_are_retried(error: ForebayError, retryable: bool) -> None:
    assert is_retryable(error) is retryable


@pytest.mark.parametrize(
    ("attempt", "random", "delay_ms"),
    [
        (1, 0.0, 0),
        (1, 0.5, 25),
        (2, 0.5, 50),
        (3, 0.5, 100),
        (5, 0.5, 400),
        (6, 0.5, 500),
        (1_000_000, 0.5, 500),
    ],
)
def test_the_wait_is_drawn_below_a_bound_that_doubles(
    attempt: int, random: float, delay_ms: int
) -> None:
    assert POLICY.delay_ms(attempt, random) == delay_ms


@pytest.mark.parametrize(
    ("attempt", "error", "elapsed_ms", "decision"),
    [
        (1, UNREACHABLE, 0, 25),
        (4, UNREACHABLE, 700, 200),
        (30, UNREACHABLE, 14_900, 100),
        (30, UNREACHABLE, 14_999, 1),
        (30, UNREACHABLE, 15_000, None),
        (1, SqsError(QUEUE_DOES_NOT_EXIST), 0, None),
        (1, SqsError(SERVICE_UNAVAILABLE), 0, 25),
    ],
)
def test_the_last_attempt_begins_at_the_deadline(
    attempt: int, error: ForebayError, elapsed_ms: int, decision: int | None
) -> None:
    assert POLICY.decide(attempt, error, elapsed_ms, random=0.5) == decision


@given(
    attempt=st.integers(min_value=1, max_value=10_000),
    elapsed_ms=st.integers(min_value=0, max_value=20_000),
    random=st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_no_wait_is_longer_than_the_bound_or_passes_the_deadline(
    attempt: int, elapsed_ms: int, random: float
) -> None:
    delay_ms = POLICY.decide(attempt, UNREACHABLE, elapsed_ms, random)
    if delay_ms is None:
        assert elapsed_ms >= POLICY.deadline_ms
    else:
        assert 0 <= delay_ms <= POLICY.max_delay_ms
        assert elapsed_ms + delay_ms <= POLICY.deadline_ms


def test_a_policy_without_a_deadline_tries_once() -> None:
    assert RetryPolicy(deadline_ms=0).decide(1, UNREACHABLE, 0, 0.5) is None


@pytest.mark.parametrize("name", ["base_delay_ms", "max_delay_ms"])
def test_a_wait_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"RetryPolicy.{name} is 0; it must be at least 1"):
        RetryPolicy(**{name: 0})


def entry(code: str, *, sender_fault: bool) -> BatchResultErrorEntry:
    return BatchResultErrorEntry(id=code, sender_fault=sender_fault, code=code)


def test_only_entries_that_are_not_at_fault_may_be_sent_again() -> None:
    internal = entry("InternalError", sender_fault=False)
    throttled = entry("RequestThrottled", sender_fault=True)
    oversize = entry("InvalidParameterValue", sender_fault=True)
    assert split_failed([internal, oversize, throttled]) == ([internal, throttled], [oversize])


def test_a_batch_without_failures_has_nothing_to_send_again() -> None:
    assert split_failed(None) == ([], [])


def test_a_failed_entry_becomes_the_error_of_a_single_message() -> None:
    known = entry_error(
        BatchResultErrorEntry(
            id="0", sender_fault=True, code="InvalidMessageContents", message="bad character"
        )
    )
    assert (known.fault, known.message) == (INVALID_MESSAGE_CONTENTS, "bad character")
    unknown = entry_error(entry("InternalError", sender_fault=False))
    assert (unknown.code, unknown.fault.http_status, unknown.fault.sender) == (
        "InternalError",
        500,
        False,
    )
