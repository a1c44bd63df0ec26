"""Where each message is, from what was seen of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from forebay.lab.events import Event, Kind
from forebay.lab.ledger import Found, Ledger, QueueLedger, Reading
from forebay.lab.verdicts import COUNTS_AGREE, all_sent, balanced

QUEUE, DEAD = "orders", "orders-dead"

#: Events in a few letters: what happened to which message.
KINDS = {
    "sending": Kind.SENDING,
    "sent": Kind.SENT,
    "received": Kind.RECEIVED,
    "deleting": Kind.DELETING,
    "deleted": Kind.DELETED,
    "released": Kind.RELEASED,
}


def events(*said: str) -> list[Event]:
    """`sent a` in the queue, `sent a!` in its dead-letter queue."""
    made = []
    for number, text in enumerate(said):
        kind, identity = text.split()
        queue = DEAD if identity.endswith("!") else QUEUE
        made.append(
            Event(
                at_ms=number,
                kind=KINDS[kind],
                process="p",
                queue=queue,
                id=identity.removesuffix("!"),
            )
        )
    return made


def reading(
    found: Sequence[str] | None = (),
    dead: Sequence[str] | None = (),
    *,
    visible: int = 0,
    in_flight: int = 0,
    delayed: int = 0,
    retention_s: int = 345_600,
) -> Reading:
    """What it gives out, and what it counts beside that."""
    return Reading(
        name="",
        queue=QUEUE,
        dead_queue=DEAD,
        visible=len(found or ()) + visible,
        in_flight=in_flight,
        delayed=delayed,
        dead=len(dead or ()),
        retention_s=retention_s,
        found=None if found is None else [Found(f"m-{each}", each, "", 1) for each in found],
        found_dead=None if dead is None else [Found(f"m-{each}", each, "", 1) for each in dead],
    )


def books(read: Reading, *said: str, now_ms: int = 10_000) -> QueueLedger:
    return Ledger(events(*said), [read], now_ms=now_ms).queue()


SENT_AND_DONE = ("sent a", "received a", "deleting a", "deleted a")


@pytest.mark.parametrize(
    ("said", "read", "expected"),
    [
        (SENT_AND_DONE, reading(), {"sent": 1, "done": 1}),
        # Killed before the answer to its delete: the message is nowhere, so it was deleted.
        (SENT_AND_DONE[:3], reading(), {"sent": 1, "done": 1}),
        # Deleted by one and back all the same: a copy of it is there.
        (SENT_AND_DONE, reading(["a"]), {"sent": 1, "visible": 1}),
        (("sent a", "received a"), reading(["a"]), {"sent": 1, "visible": 1}),
        (("sent a", "received a"), reading(in_flight=1), {"sent": 1, "in_flight": 1}),
        (("sent a", "received a"), reading(dead=["a"]), {"sent": 1, "dead": 1}),
        (("sent a", "received a"), reading(), {"sent": 1, "lost": 1}),
        (("sent a",), reading(), {"sent": 1, "lost": 1}),
        # Nobody knows whether SQS took it, and it did not.
        (("sending a",), reading(), {}),
        # It did: the producer was killed before the answer.
        (("sending a",), reading(["a"]), {"sent": 1, "visible": 1}),
        (("sending a", "received a", "deleted a"), reading(), {"sent": 1, "done": 1}),
        # One that was rejected: a copy was sent to the dead-letter queue.
        (
            ("sent a", "received a", "sent a!", "deleting a", "deleted a"),
            reading(dead=["a"]),
            {"sent": 1, "dead": 1},
        ),
        # A duplicate that was sent twice is one message of the sender's.
        (("sent a", "sent a", "received a", "deleted a"), reading(), {"sent": 1, "done": 1}),
        # Nobody can be handed what is delayed, or behind one of its group that is in flight.
        (("sent a",), reading(delayed=1), {"sent": 1, "visible": 1}),
        (
            ("sent a", "received a", "sent b"),
            reading(visible=1, in_flight=1),
            {"sent": 2, "visible": 1, "in_flight": 1},
        ),
        # One came back between the count and the last receive, and the other is nowhere.
        (
            ("sent a", "received a", "sent b", "received b"),
            msgspec.structs.replace(reading(["a"]), visible=0, in_flight=1),
            {"sent": 2, "visible": 1, "lost": 1},
        ),
        # More is hidden than was received and not deleted: the rest is not made up.
        (("sent a", "received a"), reading(in_flight=2), {"sent": 1, "in_flight": 1}),
    ],
)
def test_each_message_is_in_one_place(
    said: Sequence[str], read: Reading, expected: dict[str, int]
) -> None:
    found = books(read, *said)
    places = ("sent", "done", "visible", "in_flight", "dead", "expired", "purged", "lost")
    assert {each: getattr(found, each) for each in places if getattr(found, each)} == expected


def sent(message: str, id_: str = "") -> Event:
    return Event(at_ms=0, kind=Kind.SENT, process="p", queue=QUEUE, message=message, id=id_)


def deleted(message: str, id_: str = "") -> Event:
    return Event(at_ms=1, kind=Kind.DELETED, process="p", queue=QUEUE, message=message, id=id_)


@pytest.mark.parametrize(
    ("told", "read", "place"),
    [
        ([deleted("m1", "a"), deleted("m2", "a")], reading(), "done"),
        # The one that was deleted says nothing of the other.
        ([deleted("m1", "a")], reading(), "lost"),
        ([deleted("m1", "a"), deleted("m1", "a")], reading(), "lost"),
        ([deleted("m1", "a")], reading(in_flight=1), "in_flight"),
        ([deleted("m1", "a")], reading(["a"]), "visible"),
        # A redrive gave it another MessageId.
        ([deleted("m1", "a"), deleted("m3", "a")], reading(), "done"),
    ],
)
def test_two_messages_of_one_id_are_done_when_both_are(
    told: list[Event], read: Reading, place: str
) -> None:
    found = Ledger([sent("m1", "a"), sent("m2", "a"), *told], [read], now_ms=10).queue()
    assert found.sent == 1
    assert getattr(found, place) == 1


def test_what_nobody_sent_is_named() -> None:
    said = ("sending a", "received a", "deleted a", "received b", "deleted b", "sent c!")
    ledger = Ledger(events(*said), [reading(["d"], dead=["c"])], now_ms=0)
    assert ledger.queue().strange_ids == {"b", "d"}
    verdict = next(balanced(ledger))
    assert not verdict.holds
    assert verdict.detail.endswith("; 2 sent by nobody here: b, d")


def test_of_a_message_without_an_id_nobody_knows_who_sent_it_when_its_sender_died() -> None:
    sending = Event(at_ms=0, kind=Kind.SENDING, process="p", queue=QUEUE)
    left = msgspec.structs.replace(reading(), visible=1, found=[Found("m1", "", "", 1)])
    assert not Ledger([sending], [left], now_ms=0).queue().strange_ids
    assert not Ledger([sending, sent("m1")], [left], now_ms=0).queue().strange_ids
    assert Ledger([sending, sent("m2")], [left], now_ms=0).queue().strange_ids == {"m1"}


@pytest.mark.parametrize(
    ("read", "agrees"),
    [
        (reading(["a"], ["b"], delayed=0), True),
        (reading(["a"], ["b"], in_flight=1), False),
        # It moved from one to the other while the books were closed.
        (msgspec.structs.replace(reading(dead=["a"]), visible=1, dead=0), True),
        # It says that it has none, and gives one out.
        (msgspec.structs.replace(reading(["a"]), visible=0), False),
    ],
)
def test_a_queue_counts_what_it_has(read: Reading, agrees: bool) -> None:
    ledger = Ledger(events("sent a", "sent b"), [read], now_ms=0)
    (verdict,) = (each for each in balanced(ledger) if each.invariant == COUNTS_AGREE)
    assert verdict.holds is agrees


def test_what_is_older_than_the_queue_keeps_it_has_expired() -> None:
    kept_60_s = reading(retention_s=60)
    assert books(kept_60_s, "sent a", now_ms=60_000).expired == 1
    assert books(kept_60_s, "sent a", now_ms=59_999).lost == 1
    # Its sender died before the answer.
    assert books(kept_60_s, "sending a", "received a", now_ms=60_001).expired == 1


@pytest.mark.parametrize(
    ("sent_ms", "place"),
    [
        (0, "purged"),
        # SQS may take a minute for a purge, and what is sent meanwhile may go with it.
        (70_000, "purged"),
        (70_001, "lost"),
    ],
)
def test_what_was_there_at_a_purge_or_came_in_the_minute_after_it_is_purged(
    sent_ms: int, place: str
) -> None:
    told = [
        Event(at_ms=10_000, kind=Kind.PURGED, process="lab", queue=QUEUE),
        Event(at_ms=10_000, kind=Kind.PURGED, process="lab", queue=DEAD),
        Event(at_ms=sent_ms, kind=Kind.SENT, process="p", queue=QUEUE, id="a"),
    ]
    found = Ledger(told, [reading()], now_ms=100_000).queue()
    assert {each: getattr(found, each) for each in ("sent", place)} == {"sent": 1, place: 1}
    assert found.purged + found.lost == 1
    assert getattr(found, f"{place}_ids") == {"a"}


def test_a_purge_takes_nothing_that_is_there_or_done() -> None:
    purge = Event(at_ms=10_000, kind=Kind.PURGED, process="lab", queue=QUEUE)
    told = [*events(*SENT_AND_DONE, "sent b"), purge]
    found = Ledger(told, [reading(["b"])], now_ms=100_000).queue()
    assert (found.done, found.visible, found.purged) == (1, 1, 0)
    assert "purged" not in str(found)
    gone = Ledger(told, [reading()], now_ms=100_000).queue()
    assert str(gone) == (
        "2 sent = 1 done + 0 visible + 0 in flight + 0 dead-lettered + 0 expired + 1 purged"
    )


def test_while_a_run_goes_on_the_queue_s_own_counts_are_told_and_nothing_is_lost_yet() -> None:
    found = books(reading(None, None, in_flight=3), *SENT_AND_DONE, "sent b")
    assert (found.sent, found.done, found.in_flight, found.lost) == (2, 1, 3, 0)
    away = books(reading(None, None), *SENT_AND_DONE, "sent b")
    assert str(away).startswith("2 sent = 1 done + 0 visible")
    assert str(away).endswith(" + 1 not known where")


def test_the_ledger_reads_as_an_equation() -> None:
    assert str(books(reading(["b"]), *SENT_AND_DONE, "sent b", "sent c")) == (
        "3 sent = 1 done + 1 visible + 0 in flight + 0 dead-lettered + 0 expired + 1 LOST"
    )


@pytest.mark.parametrize(
    ("said", "held"),
    [
        (("received a", "received b"), {"a", "b"}),
        (("received a", "received b", "deleting a", "deleted a"), {"b"}),
        # About to be deleted is not deleted.
        (("received a", "deleting a"), {"a"}),
        (("received a", "released a"), set()),
        (("received a", "released a", "received a"), {"a"}),
    ],
)
def test_in_hand_is_what_was_received_and_neither_deleted_nor_given_back(
    said: Sequence[str], held: set[str]
) -> None:
    ledger = Ledger(events(*said), [reading()], now_ms=0)
    assert ledger.in_hand("p") == held
    assert ledger.in_hand("another") == set()


def test_what_came_in_one_answer_is_a_batch() -> None:
    sizes = (("p", "a", 2), ("q", "c", 1), ("p", "b", 2), ("p", "d", 1), ("p", "a", 1))
    told = [
        Event(at_ms=number, kind=Kind.RECEIVED, process=process, id=each, value=size)
        for number, (process, each, size) in enumerate(sizes)
    ]
    assert Ledger(told, [], now_ms=0).batches() == [{"a", "b"}, {"c"}, {"d"}, {"a"}]


def test_a_wait_is_from_the_first_attempt_to_send_to_the_first_receive() -> None:
    # The times are the places in the list. The receive may come before the answer to the send.
    said = ("sending a", "sending b", "sending a", "received a", "sent a", "received a", "sent b")
    assert Ledger(events(*said), [reading()], now_ms=0).waits_s() == {"a": 0.003}


def test_what_was_to_be_sent_and_was_never_acknowledged_is_named() -> None:
    ledger = Ledger(events("sending a", "sent a", "sending b"), [reading()], now_ms=0)
    assert all_sent(ledger, ["a"]).holds
    verdict = all_sent(ledger, ["a", "b", "c"])
    assert not verdict.holds
    assert verdict.detail == "1 of 3; 2 never acknowledged: b, c"


def test_what_was_noted_is_counted_by_subject_for_all_processes_or_one() -> None:
    notes = [
        Event(at_ms=0, kind=Kind.NOTE, process=process, subject=subject, text=text)
        for process, subject, text in (
            ("a", "o1", "charged"),
            ("b", "o1", "charged"),
            ("b", "o2", "charged"),
            ("b", "o2", "booked"),
        )
    ]
    ledger = Ledger([*notes, *events("sent charged")], [], now_ms=0)
    assert ledger.noted("charged") == {"o1": 2, "o2": 1}
    assert ledger.noted("charged", process="a") == {"o1": 1}
    assert not ledger.noted("refunded")
