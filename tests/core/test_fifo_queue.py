"""FIFO queues: message groups, deduplication, attempts. Transcripts that AWS gives the same way."""

from __future__ import annotations

import pytest

from forebay.protocol.errors import SqsError
from tests.core.harness import Sqs


@pytest.fixture
def sqs() -> Sqs:
    sqs = Sqs()
    sqs.create("orders.fifo", {"VisibilityTimeout": 30})
    return sqs


def send(sqs: Sqs, *bodies: str) -> None:
    """Send bodies such as "g1-m1" to the group before the hyphen."""
    for body in bodies:
        sqs.send("orders.fifo", body, group=body.partition("-")[0])


def test_a_receive_drains_one_group_before_the_next(sqs: Sqs) -> None:
    send(sqs, "g1-m1", "g2-m1", "g1-m2", "g3-m1", "g2-m2")
    assert sqs.bodies("orders.fifo") == ["g1-m1", "g1-m2", "g2-m1", "g2-m2", "g3-m1"]


def test_a_group_with_a_message_in_flight_is_locked(sqs: Sqs) -> None:
    send(sqs, "g1-m1", "g1-m2", "g2-m1")
    assert sqs.bodies("orders.fifo", 1) == ["g1-m1"]
    assert sqs.bodies("orders.fifo") == ["g2-m1"]


def test_deleting_all_messages_in_flight_frees_the_group(sqs: Sqs) -> None:
    send(sqs, "g1-m1", "g2-m1", "g1-m2", "g2-m2", "g1-m3", "g1-m4", "g3-m1")
    messages = sqs.receive("orders.fifo", 2)
    assert [message.body for message in messages] == ["g1-m1", "g1-m2"]
    for message in messages:
        sqs.delete("orders.fifo", message)
    assert sqs.bodies("orders.fifo") == ["g2-m1", "g2-m2", "g3-m1", "g1-m3", "g1-m4"]


def test_deleting_some_messages_in_flight_does_not(sqs: Sqs) -> None:
    send(sqs, "g1-m1", "g2-m1", "g1-m2", "g2-m2", "g1-m3", "g3-m1")
    first, _ = sqs.receive("orders.fifo", 2)
    sqs.delete("orders.fifo", first)
    assert sqs.bodies("orders.fifo") == ["g2-m1", "g2-m2", "g3-m1"]


def test_a_released_message_reopens_its_group_for_visible_messages_only(sqs: Sqs) -> None:
    send(sqs, "g1-m1", "g1-m2", "g2-m1")
    first, _ = sqs.receive("orders.fifo", 2)
    sqs.change_visibility("orders.fifo", first, 0)
    assert sqs.bodies("orders.fifo", 3) == ["g2-m1", "g1-m1"]


def test_a_shortened_timeout_reopens_the_group_when_it_ends(sqs: Sqs) -> None:
    send(sqs, "g1-m1", "g1-m2", "g2-m1")
    first, _ = sqs.receive("orders.fifo", 2)
    sqs.change_visibility("orders.fifo", first, 1)
    sqs.wait(1)
    assert sqs.bodies("orders.fifo", 3) == ["g2-m1", "g1-m1"]


def test_extending_one_message_hides_it_and_everything_after_it(sqs: Sqs) -> None:
    send(sqs, "g1-m1", "g1-m2", "g1-m3")
    first, second, _ = sqs.receive("orders.fifo", 3)
    sqs.change_visibility("orders.fifo", second, 60)
    sqs.wait(30)
    [again] = sqs.receive("orders.fifo")
    assert again.body == first.body
    sqs.delete("orders.fifo", again)
    assert sqs.bodies("orders.fifo") == []
    sqs.wait(30)
    assert sqs.bodies("orders.fifo") == ["g1-m2", "g1-m3"]


def test_a_receive_with_visibility_zero_keeps_the_order(sqs: Sqs) -> None:
    send(sqs, "g1-m1", "g2-m1", "g2-m2", "g3-m1", "g1-m2")
    assert sqs.bodies("orders.fifo", 3, timeout_s=0) == ["g1-m1", "g1-m2", "g2-m1"]
    again = sqs.bodies("orders.fifo", 10, timeout_s=0)
    assert again == ["g3-m1", "g1-m1", "g1-m2", "g2-m1", "g2-m2"]


def test_groups_whose_messages_timed_out_go_behind_untouched_ones(sqs: Sqs) -> None:
    send(sqs, "g1-m1", "g2-m1", "g3-m1")
    assert sqs.bodies("orders.fifo", 1) == ["g1-m1"]
    sqs.wait(30)
    assert sqs.bodies("orders.fifo") == ["g2-m1", "g3-m1", "g1-m1"]


def test_a_new_message_waits_behind_its_group_in_flight(sqs: Sqs) -> None:
    send(sqs, "g1-m1")
    sqs.receive("orders.fifo")
    send(sqs, "g1-m2")
    assert sqs.bodies("orders.fifo") == []


def test_deleting_with_an_expired_handle_is_refused_and_the_message_stays(sqs: Sqs) -> None:
    send(sqs, "g1-m1")
    [message] = sqs.receive("orders.fifo")
    sqs.wait(30)
    with pytest.raises(SqsError, match="The receipt handle has expired"):
        sqs.delete("orders.fifo", message)
    assert sqs.bodies("orders.fifo") == ["g1-m1"]


def test_an_earlier_handle_cannot_delete_a_message_received_again(sqs: Sqs) -> None:
    send(sqs, "g1-m1")
    [earlier] = sqs.receive("orders.fifo")
    sqs.wait(30)
    sqs.receive("orders.fifo")
    with pytest.raises(SqsError, match="expired"):
        sqs.delete("orders.fifo", earlier)


def test_sequence_numbers_have_twenty_digits_and_rise(sqs: Sqs) -> None:
    numbers = [
        sqs.send("orders.fifo", str(index), group="g").sequence_number or "" for index in range(20)
    ]
    assert numbers == sorted(numbers, key=int)
    assert len(set(numbers)) == 20
    assert {len(number) for number in numbers} == {20}


def test_a_duplicate_is_answered_with_the_original_and_adds_nothing(sqs: Sqs) -> None:
    original = sqs.send("orders.fifo", "a", group="g1", deduplication_id="order-1")
    duplicate = sqs.send("orders.fifo", "b", group="g2", deduplication_id="order-1")
    assert duplicate.message_id == original.message_id
    assert duplicate.sequence_number == original.sequence_number
    assert sqs.bodies("orders.fifo") == ["a"]


def test_deduplication_outlives_the_message_and_ends_after_five_minutes(sqs: Sqs) -> None:
    sqs.send("orders.fifo", "a", group="g", deduplication_id="order-1")
    [message] = sqs.receive("orders.fifo")
    sqs.delete("orders.fifo", message)
    sqs.wait(299.999)
    sqs.send("orders.fifo", "b", group="g", deduplication_id="order-1")
    assert sqs.counts("orders.fifo") == (0, 0, 0)
    sqs.wait(0.001)
    sqs.send("orders.fifo", "c", group="g", deduplication_id="order-1")
    assert sqs.bodies("orders.fifo") == ["c"]


def test_the_content_counts_as_its_sha_256_and_the_group_does_not_matter(sqs: Sqs) -> None:
    sqs.send("orders.fifo", "a", group="g1")
    sqs.send("orders.fifo", "a", group="g2")
    sqs.send(
        "orders.fifo",
        "b",
        group="g3",
        deduplication_id="ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
    )
    assert sqs.bodies("orders.fifo") == ["a"]


def test_scope_message_group_tells_groups_apart() -> None:
    sqs = Sqs()
    sqs.create("orders.fifo", {"DeduplicationScope": "messageGroup"})
    send(sqs, "g1-a", "g1-a")
    sqs.send("orders.fifo", "g1-a", group="g2")
    assert sqs.bodies("orders.fifo") == ["g1-a", "g1-a"]


def test_a_queue_delay_holds_the_whole_group_back() -> None:
    sqs = Sqs()
    sqs.create("orders.fifo", {"DelaySeconds": 2})
    send(sqs, "g1-m1", "g1-m2")
    assert sqs.bodies("orders.fifo") == []
    sqs.wait(2)
    assert sqs.bodies("orders.fifo") == ["g1-m1", "g1-m2"]


def test_the_same_attempt_gets_the_same_messages_under_the_same_handles(sqs: Sqs) -> None:
    send(sqs, "g1-m1", "g1-m2", "g2-m1")
    first = sqs.receive("orders.fifo", 2, attempt_id="attempt")
    sqs.wait(20)
    again = sqs.receive("orders.fifo", 2, attempt_id="attempt")
    assert [message.receipt_handle for message in again] == [
        message.receipt_handle for message in first
    ]
    sqs.wait(20)
    assert sqs.counts("orders.fifo") == (1, 2, 0), "the retry hid them anew"


@pytest.mark.parametrize("change", ["deleted", "released", "extended", "timed out"])
def test_an_attempt_whose_messages_changed_receives_anew(sqs: Sqs, change: str) -> None:
    send(sqs, "g1-m1", "g2-m1")
    [message] = sqs.receive("orders.fifo", 1, attempt_id="attempt")
    match change:
        case "deleted":
            sqs.delete("orders.fifo", message)
        case "released":
            sqs.change_visibility("orders.fifo", message, 0)
        case "extended":
            sqs.change_visibility("orders.fifo", message, 60)
        case _:
            sqs.wait(30)
    [other] = sqs.receive("orders.fifo", 1, attempt_id="attempt")
    assert other.body == "g2-m1"


def test_too_many_messages_in_flight_are_no_error(
    sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.broker.core.receive.IN_FLIGHT_MESSAGES_MAX", 1)
    send(sqs, "g1-m1", "g2-m1")
    assert sqs.bodies("orders.fifo") == ["g1-m1"]
    assert sqs.bodies("orders.fifo") == []


@pytest.mark.parametrize(
    ("group", "deduplication_id", "delay_s", "text"),
    [
        (None, "d", None, "must contain the parameter MessageGroupId"),
        ("g", "d", 2, "not valid for this queue type"),
        ("", "d", None, "MessageGroupId can only include"),
        ("with space", "d", None, "MessageGroupId can only include"),
        ("g" * 129, "d", None, "MessageGroupId can only include"),
        ("g", "", None, "MessageDeduplicationId can only include"),
        ("g", "d" * 129, None, "MessageDeduplicationId can only include"),
    ],
)
def test_what_a_fifo_queue_refuses(
    sqs: Sqs, group: str | None, deduplication_id: str, delay_s: int | None, text: str
) -> None:
    with pytest.raises(SqsError, match=text):
        sqs.send(
            "orders.fifo", "a", group=group, deduplication_id=deduplication_id, delay_s=delay_s
        )
    assert sqs.counts("orders.fifo") == (0, 0, 0)


def test_without_content_deduplication_the_id_is_required() -> None:
    sqs = Sqs()
    sqs.create("strict.fifo", {"ContentBasedDeduplication": "false"})
    with pytest.raises(SqsError, match="ContentBasedDeduplication enabled or"):
        sqs.send("strict.fifo", "a", group="g")
