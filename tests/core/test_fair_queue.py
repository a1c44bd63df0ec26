"""A standard queue with message groups is fair: quiet tenants overtake noisy ones."""

from __future__ import annotations

import json

import pytest

from forebay.broker.core.fair import QUIET_AFTER_MS, RecentTime
from forebay.protocol.actions import Message
from tests.core.harness import Sqs, arn_of


@pytest.fixture
def sqs() -> Sqs:
    sqs = Sqs()
    sqs.create("jobs", {"VisibilityTimeout": 43_200, "MessageRetentionPeriod": 1_209_600})
    return sqs


def send(sqs: Sqs, tenant: str | None, count: int) -> None:
    for index in range(count):
        sqs.send("jobs", f"{tenant}-{index}", group=tenant)


def take(sqs: Sqs, count: int) -> list[Message]:
    taken: list[Message] = []
    while len(taken) < count:
        messages = sqs.receive("jobs", min(10, count - len(taken)))
        assert messages
        taken += messages
    return taken


def tenants(messages: list[Message]) -> list[str]:
    return [message.body.rpartition("-")[0] for message in messages]


def test_a_quiet_tenant_overtakes_a_noisy_one(sqs: Sqs) -> None:
    send(sqs, "noisy", 100)
    assert set(tenants(take(sqs, 30))) == {"noisy"}
    send(sqs, "quiet", 2)
    assert tenants(take(sqs, 4)) == ["quiet", "quiet", "noisy", "noisy"]


def test_with_29_in_flight_a_tenant_is_not_noisy(sqs: Sqs) -> None:
    send(sqs, "busy", 100)
    take(sqs, 29)
    send(sqs, "quiet", 1)
    assert tenants(take(sqs, 1)) == ["busy"]


@pytest.mark.parametrize(("others", "noisy"), [(270, False), (269, True)])
def test_a_tenth_of_the_messages_in_flight_is_not_too_much(
    sqs: Sqs, others: int, noisy: bool
) -> None:
    send(sqs, None, others)
    take(sqs, others)
    send(sqs, "busy", 100)
    take(sqs, 30)
    send(sqs, "quiet", 1)
    assert tenants(take(sqs, 1)) == ["quiet" if noisy else "busy"]


def test_without_quiet_messages_noisy_ones_flow_on(sqs: Sqs) -> None:
    send(sqs, "noisy", 100)
    assert len(take(sqs, 100)) == 100


def test_among_noisy_tenants_the_one_with_fewest_in_flight_comes_first(sqs: Sqs) -> None:
    send(sqs, "a", 60)
    take(sqs, 40)
    send(sqs, "b", 60)
    take(sqs, 30)
    assert tenants(take(sqs, 12)) == ["b"] * 10 + ["a", "b"]


def test_a_message_without_a_group_is_always_quiet(sqs: Sqs) -> None:
    send(sqs, "noisy", 50)
    take(sqs, 40)
    send(sqs, None, 60)
    assert set(tenants(take(sqs, 60))) == {"None"}


def test_a_tenant_is_quiet_again_when_its_backlog_is_gone(sqs: Sqs) -> None:
    send(sqs, "noisy", 40)
    take(sqs, 40)
    send(sqs, "noisy", 1)
    send(sqs, "quiet", 1)
    assert tenants(take(sqs, 1)) == ["noisy"], "it was calmed, and is judged anew by this receive"


def test_a_tenant_is_quiet_again_five_minutes_after_its_last_message(sqs: Sqs) -> None:
    send(sqs, "noisy", 50)
    take(sqs, 40)
    sqs.wait(QUIET_AFTER_MS / 1000 - 1)
    send(sqs, "quiet", 2)
    assert tenants(take(sqs, 1)) == ["quiet"]
    sqs.wait(1)
    assert tenants(take(sqs, 1)) == ["noisy"]


def test_a_slow_tenant_is_noisy_with_few_messages_in_flight(sqs: Sqs) -> None:
    send(sqs, "slow", 3)
    [message] = take(sqs, 1)
    sqs.wait(11)
    sqs.delete("jobs", message)
    send(sqs, "quiet", 1)
    assert tenants(take(sqs, 2)) == ["quiet", "slow"]


def test_quick_tenants_share_the_processing_time_and_stay_quiet(sqs: Sqs) -> None:
    names = [f"t{index}" for index in range(20)]
    for name in names:
        send(sqs, name, 2)
    messages = take(sqs, 40)
    sqs.wait(11)
    for message in messages:
        sqs.delete("jobs", message)
    for name in names:
        send(sqs, name, 1)
    assert tenants(take(sqs, 20)) == names


def test_messages_of_a_tenant_stay_in_order_of_their_becoming_visible(sqs: Sqs) -> None:
    send(sqs, "a", 3)
    send(sqs, "b", 2)
    [first] = take(sqs, 1)
    sqs.change_visibility("jobs", first, 0)
    assert [message.body for message in take(sqs, 5)] == ["a-0", "a-1", "a-2", "b-0", "b-1"]


def test_a_quiet_tenant_whose_message_comes_back_is_first_in_line_again(sqs: Sqs) -> None:
    send(sqs, "a", 2)
    send(sqs, "b", 2)
    messages = take(sqs, 3)
    for message in reversed(messages):
        sqs.change_visibility("jobs", message, 0)
    assert [message.body for message in take(sqs, 4)] == ["a-0", "a-1", "b-0", "b-1"]


def test_messages_of_noisy_tenants_come_back_to_their_places(sqs: Sqs) -> None:
    send(sqs, "noisy", 60)
    taken = take(sqs, 40)
    sqs.change_visibility("jobs", taken[7], 0)
    sqs.change_visibility("jobs", taken[3], 0)
    send(sqs, "quiet", 1)
    assert [message.body for message in take(sqs, 4)] == [
        "quiet-0",
        "noisy-3",
        "noisy-7",
        "noisy-40",
    ]


def test_tenants_whose_messages_are_all_dead_letters_hide_no_other_tenant(sqs: Sqs) -> None:
    sqs.create("dead")
    policy = {"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": 1}
    sqs.create("retried", {"RedrivePolicy": json.dumps(policy)})
    for tenant in ("a", "b"):
        sqs.send("retried", tenant, group=tenant)
        assert sqs.bodies("retried", 1, timeout_s=0) == [tenant]
    sqs.send("retried", "c", group="c")
    assert sqs.bodies("retried", 1) == ["c"]
    assert sqs.bodies("dead") == ["a", "b"]


def test_recent_time_counts_half_after_a_minute() -> None:
    time = RecentTime()
    time.add(1000, 0)
    assert time.at(60_000) == pytest.approx(500)
    time.add(500, 60_000)
    assert time.at(120_000) == pytest.approx(500)
