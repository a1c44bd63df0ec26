"""A run whose fault did not strike, or that did nothing at all, shows nothing and does not pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from forebay.lab.catalogue import catalogue
from forebay.lab.events import Event, Kind
from forebay.lab.ledger import Ledger, Reading
from tests.lab.made_up import BEGAN_MS, DEAD, QUEUE, effect, event

EMPTY = Reading(
    name="",
    queue=QUEUE,
    dead_queue=DEAD,
    visible=0,
    in_flight=0,
    delayed=0,
    dead=0,
    retention_s=345_600,
    found=(),
    found_dead=(),
)

#: The second queue of a scenario that has two.
OTHER = msgspec.structs.replace(EMPTY, name="killed", queue="other-queue", dead_queue="other-dlq")


def life(message: str, process: str = "consumer-1", at_s: float = 1.0) -> list[Event]:
    """A message is sent, received and deleted, and nothing goes wrong."""
    return [
        event(at_s, Kind.SENDING, "producer", queue=QUEUE, id=message),
        event(at_s + 0.1, Kind.SENT, "producer", queue=QUEUE, id=message),
        event(at_s + 0.2, Kind.RECEIVED, process, queue=QUEUE, id=message, receives=1),
        event(at_s + 0.4, Kind.DELETED, process, queue=QUEUE, id=message),
    ]


CRASH = event(1.3, Kind.FAULT, "consumer-1", id="a", text="CRASH_AFTER_RECEIVE")
REFUSED = event(0.5, Kind.NOT_SENT, "producer-1", queue=QUEUE, id="a", text="InternalError")
KILLED = event(5.0, Kind.FAULT, "lab", text="worker-1 is killed")


@pytest.mark.parametrize(
    ("name", "made", "told", "invariant"),
    [
        # The consumer could not even start.
        ("crash", {"id": "a"}, life("a", "consumer-2"), "consumer-1 crashes with a message"),
        # It crashed, and had deleted the message before.
        ("crash", {"id": "a"}, [*life("a"), CRASH], "each message is received 2 times at least"),
        # SQS did not wait for the visibility timeout to end.
        (
            "crash",
            {"id": "a"},
            [*life("a")[:3], CRASH, *life("a", "consumer-2", 10.5)[2:]],
            "it comes again when its visibility timeout is over",
        ),
        (
            "dup-side-effects",
            {"ids": ["a"]},
            life("a", "last-consumer"),
            "consumer-1 crashes after the effect",
        ),
        # It was before the effect.
        (
            "dup-side-effects",
            {"ids": ["a"]},
            [*life("a", at_s=1.0)[:3], CRASH, *life("a", "last-consumer", 2.0)[2:]],
            "consumer-1 crashes after the effect",
        ),
        # There was but one message for the order.
        ("business", {"ids": ["a", "b"], "order": "a"}, life("a"), "everything that was to be"),
        # A consumer set it aside by itself.
        (
            "poison",
            {"poison": {"a"}, "good": []},
            life("a"),
            "poison is received 2 times",
        ),
        (
            "poison-partial-batch",
            {"poison": {"a"}, "good": []},
            life("a"),
            "poison is received 2 times",
        ),
        # Each came alone.
        (
            "poison-partial-batch",
            {"poison": {"a"}, "good": ["b"]},
            [*life("a"), *life("b")],
            "good messages and poison come in one batch",
        ),
        # There was nothing to extend.
        (
            "heartbeat",
            {"kept_id": "a", "killed_id": "b"},
            [*life("a"), KILLED],
            "a message is received once, however long its work takes",
        ),
        # It was idle.
        (
            "dup-graceful-shutdown",
            {"ids": ["a"], "hidden": 0, "took_s": 1.0},
            [*life("a"), event(3.0, Kind.FAULT, "lab", text="consumer-1 is told to stop")],
            "it is told to stop with a message in its hands",
        ),
        # No order was ever taken.
        (
            "outbox",
            {"orders": ["a", "b"], "declined": ["b"], "relay_dies": [], "committed": set()},
            [],
            "every order is committed but for those that are declined",
        ),
        # It was refused for another reason.
        ("throttled", {"numbers": [range(1)]}, [*life("a"), REFUSED], "SQS refused calls"),
        # Its hands were empty.
        (
            "rolling-deploy",
            {"ids": ["a"], "workers": []},
            [*life("a", "worker-2"), KILLED],
            "only what the killed worker held is received again",
        ),
    ],
)
def test_what_did_not_happen_is_not_taken_to_have_gone_well(
    name: str, made: Mapping[str, Any], told: Sequence[Event], invariant: str
) -> None:
    scenario_type = catalogue()[name]
    scenario = scenario_type(scenario_type.Options())
    vars(scenario).update(made)
    ledger = Ledger(
        told,
        [EMPTY, OTHER],
        [effect(1.35, "a", "consumer-1")],
        now_ms=BEGAN_MS + 60_000,
        exits={"consumer-1": 70, "consumer-2": 0, "last-consumer": 0},
    )
    broken = [each.invariant for each in scenario.verdict(ledger) if not each.holds]
    assert any(each.startswith(invariant) for each in broken), broken
