"""The bounded buffer: what it takes, what it drops, and that its account holds under threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.producer.buffer import SMALL_BYTES, Buffer, Incoming, SpillState
from forebay.producer.ledger import DropReason, Lost, ProducerLedger


def account(ledger: ProducerLedger) -> tuple[int, int, int, int, int]:
    dropped = sum(ledger.dropped.values())
    return (ledger.offered, ledger.delivered, dropped, ledger.failed, ledger.buffered)


def buffer_of(capacity: int, capacity_bytes: int = 1_000_000) -> tuple[Buffer, Incoming[str]]:
    buffer = Buffer(capacity, capacity_bytes)
    return buffer, buffer.incoming_singles(10)


def records_of(capacity: int, capacity_bytes: int = 1_000_000) -> tuple[Buffer, Incoming[bytes]]:
    buffer = Buffer(capacity, capacity_bytes)
    return buffer, buffer.incoming_records(10)


def offered(buffer: Buffer, incoming: Incoming[bytes], record: bytes) -> bool:
    """As `send` does it."""
    if len(incoming.items) < incoming.calm and len(record) <= SMALL_BYTES:
        incoming.items.append(record)
        return True
    return buffer.offer(incoming, record, len(record))


def test_messages_come_out_once_in_the_order_they_went_in() -> None:
    buffer, incoming = buffer_of(10)
    for name in "abcd":
        assert buffer.offer(incoming, name, 1)
    assert buffer.take(incoming, most=1) == ["a"]
    assert buffer.take(incoming) == ["b", "c", "d"]
    assert buffer.take(incoming) == []


def test_a_full_buffer_takes_nothing_more() -> None:
    buffer, incoming = buffer_of(2)
    assert [buffer.offer(incoming, "e", 1) for _ in range(3)] == [True, True, False]
    buffer.refuse(DropReason.FULL, 7)
    assert account(buffer.ledger()) == (3, 0, 1, 0, 2)


def test_a_buffer_is_full_by_bytes_too_until_they_are_packed_or_settled() -> None:
    buffer, incoming = buffer_of(100, capacity_bytes=10)
    assert buffer.offer(incoming, "e", 6)
    assert not buffer.offer(incoming, "e", 5)
    buffer.shrink(1)
    assert buffer.offer(incoming, "e", 5)
    assert not buffer.offer(incoming, "e", 1)
    buffer.settle(5, delivered=1)
    assert buffer.offer(incoming, "e", 5)


def test_a_message_under_way_takes_room_until_it_is_settled() -> None:
    buffer, incoming = buffer_of(1)
    buffer.offer(incoming, "e", 1)
    buffer.take(incoming)
    assert not buffer.offer(incoming, "e", 1)
    buffer.settle(1, delivered=1)
    assert buffer.offer(incoming, "e", 1)
    assert account(buffer.ledger()) == (2, 1, 0, 0, 1)


def test_a_smaller_bound_keeps_what_was_accepted() -> None:
    buffer, incoming = buffer_of(3)
    for _ in range(3):
        buffer.offer(incoming, "e", 1)
    buffer.resize(1, 1)
    assert not buffer.offer(incoming, "e", 1)
    assert len(buffer.take(incoming)) == 3
    buffer.settle(3, delivered=2, failed=1)
    assert buffer.offer(incoming, "e", 1)


def test_a_larger_bound_takes_more_at_once() -> None:
    buffer, incoming = buffer_of(1)
    buffer.offer(incoming, "e", 1)
    buffer.resize(2, 1_000)
    assert buffer.offer(incoming, "e", 1)


def test_a_closed_buffer_refuses_and_says_why() -> None:
    buffer, incoming = buffer_of(1)
    buffer.offer(incoming, "e", 1)
    buffer.close()
    buffer.resize(10, 10)
    assert not buffer.offer(incoming, "e", 1)
    assert buffer.refuse(DropReason.FULL, 7) is DropReason.CLOSED
    assert buffer.refuse(DropReason.BLOCKED, 7) is DropReason.CLOSED
    assert buffer.refuse(DropReason.TOO_LARGE, 7) is DropReason.TOO_LARGE
    assert buffer.take(incoming) == ["e"]


def test_losses_are_told_once_with_their_reason_and_the_time_they_span() -> None:
    buffer, _ = buffer_of(1)
    buffer.refuse(DropReason.TOO_LARGE, 5, "big")
    buffer.refuse(DropReason.FULL, 20)
    buffer.refuse(DropReason.FULL, 10)
    assert buffer.losses() == [
        Lost(reason="too_large", events=1, first_ms=5, last_ms=5, error="big"),
        Lost(reason="full", events=2, first_ms=10, last_ms=20),
    ]
    assert buffer.losses() == []
    counted = {reason: count for reason, count in buffer.ledger().dropped.items() if count}
    assert counted == {"too_large": 1, "full": 2}


def test_what_is_abandoned_is_counted_as_failed() -> None:
    buffer, incoming = buffer_of(5)
    for _ in range(3):
        buffer.offer(incoming, "e", 1)
    buffer.settle(1, delivered=1)
    assert buffer.abandon() == 2
    assert account(buffer.ledger()) == (3, 1, 0, 2, 0)


def test_what_is_spilled_is_counted_until_it_is_settled_from_there() -> None:
    buffer, incoming = buffer_of(5)
    for _ in range(3):
        buffer.offer(incoming, "e", 1)
    buffer.to_spill(3, 3, SpillState(spilled=2, dropped=1))
    ledger = buffer.ledger()
    assert (ledger.offered, ledger.buffered, ledger.spilled) == (3, 0, 2)
    assert ledger.dropped["spill_full"] == 1
    buffer.from_spill(SpillState(corrupt=1, dropped=1), delivered=1)
    ledger = buffer.ledger()
    assert (ledger.offered, ledger.delivered, ledger.corrupt, ledger.spilled) == (3, 1, 1, 0)


def test_whoever_waits_for_room_gets_it_from_another_thread() -> None:
    buffer, incoming = buffer_of(1)
    buffer.offer(incoming, "first", 1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(buffer.offer_within, incoming, "second", 1, 30)
        while not buffer._waiting:
            pass
        buffer.settle(1, delivered=1)
        assert waiting.result()
        waiting = threads.submit(buffer.offer_within, incoming, "third", 1, 30)
        while not buffer._waiting:
            pass
        buffer.close()
        assert not waiting.result()
    assert not buffer.offer_within(incoming, "late", 1, 0)
    assert incoming.items == ["first", "second"]


@pytest.mark.parametrize("capacity", [1, 2, 15, 16, 17, 100, 1_000])
def test_room_that_is_granted_in_advance_is_no_more_than_there_is(capacity: int) -> None:
    buffer, incoming = records_of(capacity)
    other = buffer.incoming_records(10)
    assert sum(offered(buffer, incoming, b"e") for _ in range(2 * capacity)) == capacity
    assert not offered(buffer, other, b"e")
    assert buffer.buffered == capacity
    assert len(buffer.take(incoming, most=1)) == 1
    assert not offered(buffer, incoming, b"e")
    buffer.settle(1, delivered=1)
    assert offered(buffer, other, b"e")
    assert not offered(buffer, incoming, b"e")
    assert account(buffer.ledger())[1:] == (1, 0, 0, capacity)


def test_what_one_type_does_not_use_another_may() -> None:
    buffer, incoming = records_of(160)
    other = buffer.incoming_records(10)
    assert offered(buffer, incoming, b"e")
    assert incoming.granted == 10
    assert sum(offered(buffer, other, b"e") for _ in range(200)) == 159


@settings(deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["small", "large"]), st.integers(1, 2_000)),
            st.tuples(st.just("take"), st.integers(1, 30)),
            st.tuples(st.just("put back"), st.integers(1, 30)),
            st.tuples(st.just("settle"), st.integers(1, 30)),
            st.tuples(st.just("resize"), st.integers(1, 60)),
        ),
        max_size=80,
    )
)
def test_records_of_any_size_pass_neither_bound_and_give_back_all_their_room(
    steps: list[tuple[str, int]],
) -> None:
    capacity, capacity_bytes = 50, 20_000
    buffer, incoming = records_of(capacity, capacity_bytes)
    held: list[bytes] = []
    for what, number in steps:
        match what:
            case "small" | "large":
                record = bytes(number if what == "large" else min(number, SMALL_BYTES))
                before = buffer.buffered
                size_bytes = sum(map(len, [*held, *incoming.items]))
                if offered(buffer, incoming, record):
                    assert before < capacity
                    assert size_bytes + len(record) <= capacity_bytes
            case "take":
                held += buffer.take(incoming, most=number)
            case "put back":
                buffer.put_back(incoming, held[-number:])
                del held[-number:]
            case "settle":
                settled, held = held[:number], held[number:]
                buffer.settle(sum(map(len, settled)), delivered=len(settled))
            case "resize":
                if number >= buffer.buffered:
                    capacity = number
                    buffer.resize(capacity, capacity_bytes)
        assert buffer.buffered == len(held) + len(incoming.items)
    held += buffer.take(incoming)
    buffer.settle(sum(map(len, held)), delivered=len(held))
    assert sum(offered(buffer, incoming, b"e") for _ in range(100)) == min(
        capacity, capacity_bytes // SMALL_BYTES + 1
    )


def test_threads_that_offer_at_once_are_all_counted_and_pass_the_bound_by_one_each_at_most() -> (
    None
):
    buffer, incoming = records_of(500)
    taken = 0

    def offer_many() -> int:
        return sum(offered(buffer, incoming, b"e") for _ in range(2_000))

    with ThreadPoolExecutor(4) as threads:
        offers = [threads.submit(offer_many) for _ in range(4)]
        while not all(offer.done() for offer in offers):
            count = len(buffer.take(incoming))
            taken += count
            ledger = buffer.ledger()
            assert ledger.buffered <= 500 + 4
            assert ledger.offered == sum(account(ledger)[1:])
            buffer.settle(count, delivered=count)
    taken += len(buffer.take(incoming))
    accepted = sum(offer.result() for offer in offers)
    ledger = buffer.ledger()
    assert taken == accepted == ledger.delivered + ledger.buffered


def test_what_a_thread_appends_while_the_buffer_is_abandoned_is_counted() -> None:
    buffer, incoming = records_of(500)
    offered(buffer, incoming, b"e")
    buffer.close()
    assert incoming.calm == 0
    assert buffer.abandon() == 1
    assert buffer.abandon() == 0
    assert not offered(buffer, incoming, b"e")
    incoming.items.append(b"late")
    assert account(buffer.ledger()) == (2, 0, 0, 2, 0)
