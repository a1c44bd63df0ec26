"""The bounded buffer: what it takes, what it drops, and that its account holds under threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from forebay.producer.buffer import Buffer
from forebay.producer.entry import Entry
from forebay.producer.ledger import DropReason, ProducerLedger

ENTRY = Entry("e", b"x", None, None)


def account(ledger: ProducerLedger) -> tuple[int, int, int, int, int]:
    dropped = sum(ledger.dropped.values())
    return (ledger.offered, ledger.delivered, dropped, ledger.failed, ledger.buffered)


def test_messages_come_out_once_in_the_order_they_went_in() -> None:
    buffer = Buffer(10)
    entries = [Entry(str(n), b"x", None, None) for n in range(3)]
    for entry in entries:
        assert buffer.offer(entry) is None
    assert buffer.incoming == 3
    assert buffer.take() == entries
    assert buffer.take() == []


def test_a_full_buffer_drops_and_counts() -> None:
    buffer = Buffer(2)
    assert [buffer.offer(ENTRY) for _ in range(3)] == [None, None, DropReason.FULL]
    assert account(buffer.ledger()) == (3, 0, 1, 0, 2)


def test_a_message_under_way_takes_room_until_it_is_settled() -> None:
    buffer = Buffer(1)
    buffer.offer(ENTRY)
    buffer.take()
    assert buffer.offer(ENTRY) is DropReason.FULL
    buffer.settle(sent=1)
    assert buffer.offer(ENTRY) is None
    assert account(buffer.ledger()) == (3, 1, 1, 0, 1)


def test_a_smaller_bound_keeps_what_was_accepted() -> None:
    buffer = Buffer(3)
    for _ in range(3):
        buffer.offer(ENTRY)
    buffer.resize(1)
    assert buffer.offer(ENTRY) is DropReason.FULL
    assert len(buffer.take()) == 3
    buffer.settle(sent=2, failed=1)
    assert buffer.offer(ENTRY) is None


def test_a_larger_bound_takes_more_at_once() -> None:
    buffer = Buffer(1)
    buffer.offer(ENTRY)
    buffer.resize(2)
    assert buffer.offer(ENTRY) is None


def test_a_closed_buffer_drops_and_says_why() -> None:
    buffer = Buffer(1)
    buffer.offer(ENTRY)
    buffer.close()
    buffer.resize(10)
    assert buffer.offer(ENTRY) is DropReason.CLOSED
    assert buffer.take() == [ENTRY]


def test_a_refused_message_is_counted_by_its_reason() -> None:
    buffer = Buffer(1)
    buffer.refuse(DropReason.TOO_LARGE)
    counted = {reason: count for reason, count in buffer.ledger().dropped.items() if count}
    assert counted == {"too_large": 1}


def test_what_is_abandoned_is_counted_as_failed() -> None:
    buffer = Buffer(5)
    for _ in range(3):
        buffer.offer(ENTRY)
    buffer.settle(sent=1)
    buffer.abandon()
    assert account(buffer.ledger()) == (3, 1, 0, 2, 0)
    assert buffer.take() == []


def test_threads_that_offer_at_once_are_all_counted_and_never_pass_the_bound() -> None:
    buffer = Buffer(500)
    taken = 0

    def offer_many() -> int:
        return sum(buffer.offer(ENTRY) is None for _ in range(2_000))

    with ThreadPoolExecutor(4) as threads:
        offers = [threads.submit(offer_many) for _ in range(4)]
        while not all(offer.done() for offer in offers):
            count = len(buffer.take())
            taken += count
            ledger = buffer.ledger()
            assert ledger.buffered <= 500
            assert ledger.offered == sum(account(ledger)[1:])
            buffer.settle(sent=count)
    taken += len(buffer.take())
    accepted = sum(offer.result() for offer in offers)
    ledger = buffer.ledger()
    assert taken == accepted == ledger.delivered + ledger.buffered
    assert ledger.offered == 8_000
    assert ledger.dropped["full"] == 8_000 - accepted
