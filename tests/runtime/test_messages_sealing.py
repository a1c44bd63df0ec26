"""Records into packs: nothing lost, nothing twice, about as few as can be."""

from __future__ import annotations

import random
from itertools import count
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.json import decode, encode

from forebay.messages.packing import (
    PACK_BYTES_MAX,
    PACK_EVENTS_MAX,
    UNPACKED_BYTES_MAX,
    open_pack,
    seal,
)
from forebay.messages.sealing import PackRatio, Sealed, seal_all
from forebay.protocol.limits import MESSAGE_BYTES_MAX
from tests.runtime.usage_records import usage_records

NOW_MS = 1_790_000_000_000


def sealed(records: list[bytes], ratio: PackRatio | None = None) -> Sealed:
    numbers = count()
    return seal_all(
        records,
        identifier=lambda: f"pack-{next(numbers)}",
        type="usage_log",
        node="node-1",
        ratio=ratio or PackRatio(),
    )


def contents(result: Sealed) -> list[bytes]:
    """What the packs hold, record by record."""
    records = []
    for pack in result.packs:
        opened = open_pack(pack.body.decode(), pack.content)
        lines = opened.lines.split(b"\n")
        assert len(lines) == pack.header.events
        times = (decode(lines[0])[0], decode(lines[-1])[0])
        assert (pack.header.first_ms, pack.header.last_ms) == times
        records += lines
    return records


def incompressible(size_bytes: int, seed: int = 0) -> bytes:
    """A record of about so many bytes that no codec makes much smaller than three quarters."""
    text = random.Random(seed).randbytes(size_bytes * 3 // 4)
    return encode((NOW_MS, text))


def test_nothing_makes_no_pack() -> None:
    assert sealed([]) == Sealed([], [])


def test_one_record_makes_a_pack_of_one() -> None:
    result = sealed([b'[1790000000000,{"a":1},"key"]'])
    (pack,) = result.packs
    assert pack.header.events == 1
    assert contents(result) == [b'[1790000000000,{"a":1},"key"]']


def test_usage_logs_fill_packs_in_order() -> None:
    records = usage_records(40_000)
    ratio = PackRatio()
    result = sealed(records, ratio)
    assert contents(result) == records
    sizes = [pack.size_bytes for pack in result.packs]
    assert max(sizes) <= PACK_BYTES_MAX
    assert min(sizes[:-1]) > 0.85 * PACK_BYTES_MAX
    assert len({pack.header.pack for pack in result.packs}) == len(sizes)


def test_a_ratio_that_was_learned_needs_one_attempt_a_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    ratio = PackRatio()
    sealed(usage_records(10_000, seed=1), ratio)
    attempts = Mock(wraps=seal)
    monkeypatch.setattr("forebay.messages.sealing.seal", attempts)
    result = sealed(usage_records(40_000, seed=2), ratio)
    assert len(result.packs) <= attempts.call_count <= len(result.packs) + 1
    attempts.reset_mock()
    sealed(usage_records(100), PackRatio())
    assert attempts.call_count == 1


def test_records_that_pack_very_well_are_bounded_for_the_reader() -> None:
    records = [b'[1790000000000,{"asset":"BTC-USD","source":"kraken"}]'] * 100_000
    result = sealed(records)
    assert contents(result) == records
    assert max(pack.header.bytes for pack in result.packs) < 3 * 1024 * 1024
    assert len(result.packs) <= 4


def test_small_records_are_bounded_for_the_reader() -> None:
    result = sealed([b"[5,1]"] * (PACK_EVENTS_MAX + 5))
    assert [pack.header.events for pack in result.packs] == [PACK_EVENTS_MAX, 5]


def test_records_that_do_not_pack_share_packs_by_their_size() -> None:
    records = [incompressible(20_000, seed) for seed in range(30)]
    result = sealed(records)
    assert contents(result) == records
    assert max(pack.size_bytes for pack in result.packs) <= PACK_BYTES_MAX
    assert len(result.packs) <= 12


@pytest.mark.parametrize("place", [0, 700, 5_000, 9_999])
def test_a_record_too_large_for_a_request_goes_alone(place: int) -> None:
    records = usage_records(10_000)
    large = incompressible(200_000)
    records.insert(place, large)
    result = sealed(records)
    assert contents(result) == records
    (alone,) = [pack for pack in result.packs if pack.size_bytes > PACK_BYTES_MAX]
    assert alone.header.events == 1
    assert len(result.packs) <= 6


def test_a_record_too_large_for_a_message_is_reported() -> None:
    records = usage_records(100)
    large = incompressible(2 * MESSAGE_BYTES_MAX)
    result = sealed([*records, large, *records])
    assert result.too_large == [large]
    assert contents(result) == records * 2


def test_a_record_that_no_reader_unpacks_is_reported() -> None:
    almost = b'[1790000000000,"' + b"a" * (UNPACKED_BYTES_MAX - 18) + b'"]'
    large = almost.replace(b'"]', b'a"]')
    result = sealed([almost, large])
    assert result.too_large == [large]
    assert contents(result) == [almost]


def test_packs_fill_again_after_records_that_pack_badly() -> None:
    ratio = PackRatio()
    sealed([incompressible(20_000, seed) for seed in range(10)], ratio)
    records = usage_records(20_000)
    result = sealed(records, ratio)
    assert contents(result) == records
    assert len(result.packs) <= 5


sizes = st.integers(1, 60) | st.integers(1_000, 90_000)


@settings(max_examples=60, deadline=None)
@given(
    calls=st.lists(
        st.lists(st.tuples(sizes, st.booleans(), st.integers(1, 300)), max_size=8), max_size=3
    )
)
def test_no_record_is_lost_or_doubled(calls: list[list[tuple[int, bool, int]]]) -> None:
    ratio = PackRatio()
    seed = 0
    for runs in calls:
        records: list[bytes] = []
        for size_bytes, packs_well, times in runs:
            for _ in range(times if size_bytes < 100 else 1 + times % 3):
                seed += 1
                records.append(
                    encode((NOW_MS + seed, "a" * size_bytes))
                    if packs_well
                    else encode((NOW_MS + seed, incompressible(size_bytes, seed).hex()))
                )
        result = sealed(records, ratio)
        assert contents(result) == records
        assert result.too_large == []
        for pack in result.packs:
            assert pack.size_bytes <= PACK_BYTES_MAX or pack.header.events == 1
