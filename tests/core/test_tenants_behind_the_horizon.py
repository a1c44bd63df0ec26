"""Quiet tenants overtake noisy ones also from behind the horizon of a queue."""

from __future__ import annotations

import pytest

from forebay.broker.core.changes import TENANTS_MAX
from forebay.broker.core.held import HeldMessages
from forebay.broker.core.message import Message
from forebay.broker.core.tenants import Tenants
from forebay.broker.core.window import Window
from forebay.protocol import actions
from forebay.protocol.actions import PurgeQueueRequest
from tests.core.harness import CALLER, JournaledSqs, url_of

WINDOW = Window(messages=60, page_messages=20, tenant_page_messages=2)


@pytest.fixture
def sqs() -> JournaledSqs:
    sqs = JournaledSqs(WINDOW)
    sqs.create("jobs", {"VisibilityTimeout": 43_200, "MessageRetentionPeriod": 1_209_600})
    return sqs


def send(sqs: JournaledSqs, tenant: str | None, count: int, delay_s: int | None = None) -> None:
    for index in range(count):
        sqs.send("jobs", f"{tenant}-{index}", group=tenant, delay_s=delay_s)


def make_noise(sqs: JournaledSqs) -> None:
    """Have 30 messages of the first tenant in flight, as many as make it noisy."""
    taken = [message for _ in range(3) for message in sqs.receive("jobs", 10)]
    assert len({message.body.partition("-")[0] for message in taken}) == 1


def deep_queue(sqs: JournaledSqs, *, noisy: int = 200, quiet: int = 3) -> None:
    """A noisy tenant with more messages than the window holds, and a quiet one behind them."""
    send(sqs, "noisy", noisy)
    send(sqs, "quiet", quiet)
    make_noise(sqs)


def asked(sqs: JournaledSqs) -> list[str | None]:
    """Whose pages the engine asks for now: a tenant's, or None for all tenants'."""
    sqs.take()
    return [request.group_id for request in sqs.to_read]


def bring(sqs: JournaledSqs) -> None:
    sqs.read()
    sqs.bring()


def drain(sqs: JournaledSqs) -> list[actions.Message]:
    drained = []
    while messages := sqs.receive("jobs"):
        drained += messages
        for message in messages:
            sqs.delete("jobs", message)
    return drained


def check_the_rest(sqs: JournaledSqs, noisy: int, quiet: int) -> None:
    """So many messages are left of each tenant, and each of them is received once."""
    assert sqs.counts("jobs")[0] == noisy + quiet
    bodies = [message.body for message in drain(sqs)]
    assert len(set(bodies)) == len(bodies)
    assert sum(body.startswith("noisy") for body in bodies) == noisy
    assert sum(body.startswith("quiet") for body in bodies) == quiet
    assert sqs.counts("jobs")[0] == 0


@pytest.mark.parametrize("restarts", [False, True])
def test_a_quiet_tenant_overtakes_a_noisy_one_from_behind_the_horizon(
    sqs: JournaledSqs, restarts: bool
) -> None:
    send(sqs, "noisy", 200)
    send(sqs, "quiet", 2)
    if restarts:
        sqs.restart()
    make_noise(sqs)
    sqs.bring_all()
    assert sqs.bodies("jobs", 4)[:2] == ["quiet-0", "quiet-1"]
    assert sqs.counts("jobs") == (168, 34, 0)


def test_without_a_noisy_tenant_no_page_of_a_tenant_is_read(sqs: JournaledSqs) -> None:
    send(sqs, "busy", 200)
    send(sqs, "quiet", 3)
    for _ in range(4):
        for message in sqs.receive("jobs"):
            sqs.delete("jobs", message)
    assert asked(sqs) == [None]


def test_tenants_are_served_oldest_first_and_noisy_ones_not_at_all(sqs: JournaledSqs) -> None:
    send(sqs, "noisy", 200)
    for tenant in ("a", "b", "a", "noisy"):
        send(sqs, tenant, 1)
    make_noise(sqs)
    groups = []
    for _ in range(6):
        groups += asked(sqs)
        bring(sqs)
        sqs.receive("jobs")
    assert [group for group in groups if group is not None] == ["a", "b"]


def test_pages_of_one_tenant_and_pages_of_all_take_turns(sqs: JournaledSqs) -> None:
    send(sqs, "noisy", 200)
    for tenant in "abcdef":
        send(sqs, tenant, 1)
    make_noise(sqs)
    groups = []
    for _ in range(6):
        groups += asked(sqs)
        bring(sqs)
        sqs.receive("jobs")
    assert groups == ["a", None, "b", None, "c", None]


def early_and_asked_again(sqs: JournaledSqs) -> None:
    """Have a page of all read that holds what a page of the quiet tenant has brought already."""
    deep_queue(sqs, noisy=70, quiet=2)
    sqs.receive("jobs", 5)
    assert asked(sqs) == ["quiet"]
    bring(sqs)
    sqs.engine.peek(url_of("jobs"), CALLER, sqs.now_ms)
    assert asked(sqs) == [None]
    sqs.read()
    assert [row[3] for row in sqs.to_bring[0][1].rows][-2:] == ["quiet-0", "quiet-1"]


def test_a_page_of_all_passes_over_what_a_page_of_a_tenant_has_brought(sqs: JournaledSqs) -> None:
    early_and_asked_again(sqs)
    assert sqs.counts("jobs") == (37, 35, 0)
    sqs.bring()
    assert sqs.counts("jobs") == (37, 35, 0)
    check_the_rest(sqs, noisy=35, quiet=2)


def test_what_is_deleted_while_a_page_is_read_does_not_come_back(sqs: JournaledSqs) -> None:
    early_and_asked_again(sqs)
    quiet, other = sqs.receive("jobs", 2)
    assert [quiet.body, other.body] == ["quiet-0", "quiet-1"]
    sqs.delete("jobs", quiet)
    sqs.bring()
    assert sqs.counts("jobs") == (35, 36, 0)
    check_the_rest(sqs, noisy=35, quiet=0)


def test_a_message_sent_while_its_tenants_page_is_read_is_served_by_the_next(
    sqs: JournaledSqs,
) -> None:
    deep_queue(sqs, quiet=1)
    assert asked(sqs) == ["quiet"]
    sqs.read()
    sqs.send("jobs", "quiet-later", group="quiet")
    sqs.bring()
    assert sqs.bodies("jobs", 1) == ["quiet-0"]
    assert sqs.counts("jobs") == (171, 31, 0)
    while sqs.bring_all():
        sqs.receive("jobs", 1, timeout_s=0)
    assert sqs.bodies("jobs", 1) == ["quiet-later"]


def test_a_tenant_whose_last_page_came_is_not_asked_for_again(sqs: JournaledSqs) -> None:
    deep_queue(sqs, quiet=2)
    sqs.bring_all()
    groups = []
    for _ in range(6):
        sqs.receive("jobs", 2)
        groups += asked(sqs)
        bring(sqs)
    assert set(groups) == {None}


def test_a_delayed_message_of_a_tenant_is_asked_for_when_its_delay_has_ended(
    sqs: JournaledSqs,
) -> None:
    send(sqs, "noisy", 200)
    send(sqs, "quiet", 1)
    send(sqs, "quiet", 1, delay_s=60)
    make_noise(sqs)
    sqs.bring_all()
    assert sqs.bodies("jobs", 2) == ["quiet-0", "noisy-30"]
    assert None in asked(sqs)
    bring(sqs)
    assert sqs.bodies("jobs", 1) == ["noisy-31"]
    assert asked(sqs) == []
    sqs.wait(60)
    sqs.receive("jobs", 1)
    assert asked(sqs) == ["quiet"]
    bring(sqs)
    assert sqs.bodies("jobs", 2) == ["quiet-0", "noisy-33"]


def test_a_tenant_that_was_pushed_out_of_memory_overtakes_from_there(sqs: JournaledSqs) -> None:
    send(sqs, "quiet", 60, delay_s=60)
    send(sqs, "noisy", 100)
    assert sqs.counts("jobs") == (100, 0, 60)
    make_noise(sqs)
    sqs.wait(60)
    sqs.receive("jobs", 1)
    sqs.bring_all()
    assert sqs.bodies("jobs", 3) == ["quiet-0", "quiet-1", "noisy-31"]


def test_a_purge_forgets_the_tenants(sqs: JournaledSqs) -> None:
    deep_queue(sqs)
    assert asked(sqs) == ["quiet"]
    sqs.read()
    sqs.call(PurgeQueueRequest(queue_url=url_of("jobs")))
    sqs.bring()
    assert sqs.counts("jobs") == (0, 0, 0)
    deep_queue(sqs, noisy=150, quiet=2)
    sqs.bring_all()
    check_the_rest(sqs, noisy=120, quiet=2)


def test_a_fifo_queue_reads_no_page_of_a_group(sqs: JournaledSqs) -> None:
    sqs.create("jobs.fifo")
    for group in ("noisy", "quiet"):
        for index in range(100):
            sqs.send("jobs.fifo", f"{group}-{index}", group=group)
    sqs.restart()
    for _ in range(5):
        sqs.receive("jobs.fifo")
        assert set(asked(sqs)) <= {None}
        bring(sqs)


def held_message(sequence: int, available_at_ms: int) -> Message:
    return Message(
        sequence=sequence,
        message_id="",
        body="",
        body_md5="",
        enqueued_at_ms=0,
        available_at_ms=available_at_ms,
        sent_at_ms=0,
        sender_id="",
        group_id="tenant",
    )


def test_leaving_messages_to_the_journal_never_moves_the_horizon_forward() -> None:
    held = HeldMessages(1, Window(messages=4), fifo=False)
    held.enter(held_message(1, 10))
    assert held.leave_behind(held_message(2, 20), 100)
    held.enter(held_message(3, 30))
    held.enter(held_message(4, 40))
    assert [message.sequence for message in held.evict(100)] == [4]
    assert held.backlog is not None
    assert held.backlog.horizon == (10, 1)
    assert held.tally.unreceived == 4


def test_a_page_of_a_tenant_begins_behind_the_horizon() -> None:
    held = HeldMessages(1, Window(messages=2), fifo=False)
    held.enter(held_message(1, 10))
    behind = [held_message(sequence, 10 * sequence) for sequence in (2, 3)]
    assert all(held.leave_behind(message, 100) for message in behind)
    of_all = held.ask_for_page(1)
    assert of_all is not None
    assert held.page_in(of_all, behind[:1], (30, 3), 100) == behind[:1]
    of_tenant = held.ask_for_tenant(2, 100, lambda _: False)
    assert of_tenant is not None
    assert (of_tenant.group_id, of_tenant.after, of_tenant.key_max) == ("tenant", (20, 2), 100)


@pytest.mark.parametrize(("held_count", "asks"), [(5, True), (6, False)])
def test_pages_of_tenants_fill_no_more_than_half_the_window_again(
    held_count: int, asks: bool
) -> None:
    held = HeldMessages(1, Window(messages=4), fifo=False)
    for sequence in range(1, held_count + 1):
        held.enter(held_message(sequence, 10))
    assert held.leave_behind(held_message(9, 20), 100)
    request = held.ask_for_tenant(1, 100, lambda _: False)
    assert (request is not None) == asks


def test_a_tenant_too_many_is_not_known_until_the_horizon_has_passed_another() -> None:
    tenants = Tenants()
    for index in range(TENANTS_MAX + 1):
        tenants.note(f"t{index}", (1000 + index, 1))
    assert tenants.next(10**6, (1000 + TENANTS_MAX - 1, 0), lambda _: False) == (
        f"t{TENANTS_MAX - 1}",
        (1000 + TENANTS_MAX - 1, 1),
    )
    tenants.forget_passed((1000, 1))
    tenants.note("late", (2 * TENANTS_MAX, 1))
    assert tenants.next(10**6, (2 * TENANTS_MAX, 0), lambda _: False) == (
        "late",
        (2 * TENANTS_MAX, 1),
    )
