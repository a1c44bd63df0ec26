"""What is refused before it can spoil a batch, and settings out of range."""

from __future__ import annotations

import msgspec
import pytest

from forebay.errors import SettingsError
from forebay.producer.entry import Entry, Refused, check
from forebay.producer.ledger import DropReason
from forebay.producer.settings import ProducerSettings
from forebay.protocol import limits
from forebay.protocol.errors import SqsError

LARGEST = b"x" * limits.MESSAGE_BYTES_MAX


@pytest.mark.parametrize(
    ("body", "group_id", "deduplication_id", "fifo"),
    [
        (b"x", None, None, False),
        (LARGEST, None, None, False),
        (b"x", "tenant-1", None, False),
        (b"x", "group", "id", True),
        (b"x", "!" * 128, "~" * 128, True),
    ],
)
def test_what_sqs_takes_passes(
    body: bytes, group_id: str | None, deduplication_id: str | None, fifo: bool
) -> None:
    check(Entry("e", body, group_id, deduplication_id), fifo=fifo)


@pytest.mark.parametrize(
    ("body", "group_id", "deduplication_id", "fifo", "reason", "code"),
    [
        (LARGEST + b"x", None, None, False, DropReason.TOO_LARGE, "InvalidParameterValue"),
        (b"x", None, "id", True, DropReason.INVALID, "MissingParameter"),
        (b"x", None, "id", False, DropReason.INVALID, "InvalidParameterValue"),
        (b"x", "", "id", True, DropReason.INVALID, "InvalidParameterValue"),
        (b"x", "", None, False, DropReason.INVALID, "InvalidParameterValue"),
        (b"x", "two words", "id", True, DropReason.INVALID, "InvalidParameterValue"),
        (b"x", "x" * 129, "id", True, DropReason.INVALID, "InvalidParameterValue"),
        (b"x", "group", "", True, DropReason.INVALID, "InvalidParameterValue"),
        (b"x", "group", "ünicode", True, DropReason.INVALID, "InvalidParameterValue"),
        (b"x", "group\n", "id", True, DropReason.INVALID, "InvalidParameterValue"),
    ],
)
def test_what_sqs_would_refuse_is_refused_here(
    body: bytes,
    group_id: str | None,
    deduplication_id: str | None,
    fifo: bool,
    reason: DropReason,
    code: str,
) -> None:
    with pytest.raises(Refused) as refusal:
        check(Entry("e", body, group_id, deduplication_id), fifo=fifo)
    assert refusal.value.reason is reason
    assert isinstance(refusal.value.error, SqsError)
    assert refusal.value.error.code == code


@pytest.mark.parametrize(
    "name", ["batch_size", "flush_ms", "buffer_size", "timeout_ms", "concurrency"]
)
def test_a_setting_below_one_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"ProducerSettings.{name} is 0; it must be 1 to "):
        msgspec.structs.replace(ProducerSettings(), **{name: 0})


def test_a_batch_is_at_most_ten_messages() -> None:
    with pytest.raises(SettingsError, match="batch_size is 11; it must be 1 to 10"):
        ProducerSettings(batch_size=11)


def test_the_defaults_are_the_documented_ones() -> None:
    settings = ProducerSettings()
    assert (
        settings.batch_size,
        settings.flush_ms,
        settings.buffer_size,
        settings.timeout_ms,
    ) == (10, 100, 50_000, 3_000)
