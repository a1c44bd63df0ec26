"""What a deduplication window remembers, in a few numbers for each id, and what it forgets."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.broker.core.deduplication import (
    ID_BYTES,
    DeduplicationWindow,
    Original,
    key_of,
)
from forebay.protocol.identifiers import message_id
from forebay.protocol.limits import DEDUPLICATION_INTERVAL_MS
from tests.core.harness import Sqs

NOW_MS = 1_764_000_000_000


@given(
    st.integers(1, 2**63 - 1),
    st.binary(min_size=16, max_size=16).map(message_id),
    st.integers(0, 2**43),
)
def test_an_original_is_found_as_it_was(sequence: int, identifier: str, now_ms: int) -> None:
    window = DeduplicationWindow()
    ends_at_ms = window.remember(key_of("", "a"), sequence, identifier, now_ms)
    assert ends_at_ms == now_ms + DEDUPLICATION_INTERVAL_MS
    found = window.find(key_of("", "a"), ends_at_ms - 1)
    assert found == Original(sequence, identifier, ends_at_ms)
    assert window.find(key_of("", "a"), ends_at_ms) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [(("", "ab"), ("a", "b")), (("a", "b"), ("ab", "")), (("", "a"), ("", "b"))],
)
def test_scopes_and_ids_are_told_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert key_of(*one) != key_of(*other)
    assert key_of(*one) == key_of(*one)


def test_ids_are_forgotten_a_few_at_a_time_and_all_in_the_end() -> None:
    window = DeduplicationWindow()
    identifier = message_id(bytes(16))
    for number in range(100):
        window.remember(key_of("", str(number)), number + 1, identifier, NOW_MS)
    later_ms = NOW_MS + DEDUPLICATION_INTERVAL_MS
    assert window.forget_expired(later_ms - 1, most=16) == 0
    assert window.forget_expired(later_ms, most=16) == 16
    assert len(window) == 84
    assert window.forget_expired(later_ms, most=1_000) == 100
    assert (len(window), window.forget_expired(later_ms, most=1)) == (0, 0)


def test_an_id_that_is_sent_anew_after_its_window_is_kept_for_the_new_one() -> None:
    window = DeduplicationWindow()
    identifier = message_id(bytes(16))
    for number in range(50):
        window.remember(key_of("", str(number)), number + 1, identifier, NOW_MS)
    later_ms = NOW_MS + DEDUPLICATION_INTERVAL_MS
    window.remember(key_of("", "40"), 100, identifier, later_ms)
    window.forget_expired(later_ms, most=1_000)
    found = window.find(key_of("", "40"), later_ms)
    assert found is not None
    assert (found.sequence, len(window)) == (100, 1)


def test_duplicates_collapse_into_their_original_also_when_it_has_left_the_queue() -> None:
    sqs = Sqs()
    sqs.create("jobs.fifo")
    first = sqs.send("jobs.fifo", "a", group="g", deduplication_id="x")
    [message] = sqs.receive("jobs.fifo")
    sqs.delete("jobs.fifo", message)
    second = sqs.send("jobs.fifo", "b", group="g", deduplication_id="x")
    assert (second.message_id, second.sequence_number) == (first.message_id, first.sequence_number)
    assert sqs.receive("jobs.fifo") == []


def test_an_id_takes_no_more_memory_than_is_counted_for_it() -> None:
    window = DeduplicationWindow()
    count = 100_000
    for number in range(count):
        identifier = message_id(random.Random(number).randbytes(16))
        window.remember(key_of("", f"order-{number}"), 2**40 + number, identifier, NOW_MS)
    originals = window._originals
    key, packed = next(iter(originals.items()))
    each_bytes = sys.getsizeof(key) + sys.getsizeof(packed)
    shared_bytes = (sys.getsizeof(originals) + sys.getsizeof(window._by_age)) / count
    assert each_bytes + shared_bytes < ID_BYTES
