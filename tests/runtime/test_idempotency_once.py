"""A message's effect happens once for its delivery and for its business fact."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.clock import ManualClock
from forebay.errors import SettingsError
from forebay.idempotency import (
    AlreadyDone,
    Attempt,
    Guard,
    KeyFieldMissing,
    MemoryIdempotencyStore,
    PayloadDiffers,
    Performed,
    current_attempt,
    once_middleware,
    payload_digest,
)
from forebay.worker import Received, Reject, Retry, Router
from forebay.worker.execution import Execution
from forebay.worker.outcomes import Done, Failed
from tests.runtime.virtual_time import LoopClock, run
from tests.runtime.worker_messages import context, envelope, lease, source

ORDER = {"order_id": "o-7", "cents": 1_000}


async def ignored(received: Received[Any]) -> None:
    """A handler that is never run here."""


def receive(body: str, message_id: str = "m-1") -> Received[Any]:
    """A message as its handler gets it."""
    router = Router()
    for message_type in ("charge", "refund"):
        router.handler(message_type, dict[str, Any])(ignored)
    router.raw(object)(ignored)
    router.default(ignored)
    return router.route(lease(message_id, body=body)).received


def charge(payload: object = ORDER, *, identifier: str = "e-1", key: str | None = None) -> Any:
    return receive(envelope("charge", payload, identifier=identifier, key=key))


class Till:
    """Effects that are counted."""

    def __init__(self) -> None:
        self.store = MemoryIdempotencyStore()
        self.guard = Guard(self.store, clock=ManualClock(), wait_ms=0)
        self.keys: list[str] = []

    async def __call__(self, attempt: Attempt) -> bytes:
        self.keys.append(attempt.key)
        return b"receipt %d" % len(self.keys)


async def test_the_same_message_is_done_once() -> None:
    till = Till()
    assert await till.guard.once(charge(), till) == Performed(b"receipt 1")
    assert await till.guard.once(charge(), till) == AlreadyDone(b"receipt 1")
    assert till.keys == ["delivery/e-1"]


async def test_another_message_about_the_same_fact_is_answered_with_its_result() -> None:
    till = Till()
    for identifier in ("e-1", "e-2"):
        await till.guard.once(charge(identifier=identifier), till, by=("order_id",))
    assert till.keys == ['business/charge/{"order_id":"o-7"}']


async def test_the_same_delivery_is_a_duplicate_although_no_field_says_so() -> None:
    till = Till()
    await till.guard.once(charge(), till, by=("order_id",))
    assert await till.guard.once(charge(), till) == AlreadyDone(b"receipt 1")


async def test_a_charge_and_a_refund_of_one_order_are_two_facts() -> None:
    till = Till()
    refund = receive(envelope("refund", ORDER, identifier="e-2"))
    await till.guard.once(charge(), till, by=("order_id",))
    await till.guard.once(refund, till, by=("order_id",))
    assert len(set(till.keys)) == 2


async def test_the_key_of_the_envelope_is_the_business_key_where_no_fields_are_named() -> None:
    till = Till()
    for identifier in ("e-1", "e-2"):
        await till.guard.once(charge(identifier=identifier, key="o-7"), till)
    assert till.keys == ["business/charge/o-7"]


async def test_plain_json_is_named_by_its_message_id_and_needs_an_action() -> None:
    till = Till()
    plain = json.dumps(ORDER)
    assert await till.guard.once(receive(plain), till) == Performed(b"receipt 1")
    assert await till.guard.once(receive(plain), till) == AlreadyDone(b"receipt 1")
    with pytest.raises(SettingsError, match="action="):
        await till.guard.once(receive(plain, "m-2"), till, by=("order_id",))
    for message_id in ("m-2", "m-3"):
        await till.guard.once(receive(plain, message_id), till, by=("order_id",), action="charge")
    await till.guard.once(receive(plain, "m-4"), till, by=("order_id",), action="refund")
    assert len(till.keys) == 3


@pytest.mark.parametrize(
    "payload", [{}, {"order_id": None}, {"order_id": ""}, {"order_id": 1.5}, {"order_id": True},
                {"order_id": ["o-7"]}, [], "o-7", 7]
)  # fmt: skip
async def test_a_message_without_a_field_of_the_key_is_rejected_by_name(payload: object) -> None:
    till = Till()
    received = receive(json.dumps(payload))
    with pytest.raises(KeyFieldMissing, match="order_id") as error:
        await till.guard.once(received, till, by=("order_id",), action="charge")
    assert isinstance(error.value, Reject)
    assert till.keys == []


async def test_a_number_and_a_text_that_reads_like_it_are_two_keys() -> None:
    till = Till()
    for number, order_id in enumerate((7, "7")):
        received = charge({"order_id": order_id}, identifier=f"e-{number}")
        await till.guard.once(received, till, by=("order_id",))
    assert len(till.keys) == 2


@pytest.mark.parametrize("by", [(), ("order_id",)])
async def test_the_same_key_with_another_payload_is_rejected_and_nothing_is_done(
    by: tuple[str, ...],
) -> None:
    till = Till()
    await till.guard.once(charge(), till, by=by)
    identifier = "e-2" if by else "e-1"
    dearer = charge({"order_id": "o-7", "cents": 2_000}, identifier=identifier)
    with pytest.raises(PayloadDiffers) as error:
        await till.guard.once(dearer, till, by=by)
    assert isinstance(error.value, Reject)
    assert len(till.keys) == 1


async def test_the_order_of_fields_and_those_that_are_ignored_make_no_difference() -> None:
    till = Till()
    payloads = [
        {"order_id": "o-7", "cents": 1_000, "id": "first"},
        {"id": "second", "cents": 1_000, "order_id": "o-7"},
    ]
    for number, payload in enumerate(payloads):
        received = charge(payload, identifier=f"e-{number}")
        await till.guard.once(received, till, by=("order_id",), ignore=("id",))
    assert len(till.keys) == 1


async def test_what_sns_writes_around_a_message_makes_no_difference() -> None:
    till = Till()
    for number in (1, 2):
        notification = {
            "Type": "Notification",
            "MessageId": str(number),
            "TopicArn": "arn:aws:sns:us-east-1:000000000000:orders",
            "Message": json.dumps(ORDER),
            "Timestamp": f"2026-11-22T08:26:0{number}.000Z",
        }
        received = receive(json.dumps(notification), f"m-{number}")
        await till.guard.once(received, till, by=("order_id",), action="charge")
    assert len(till.keys) == 1


async def test_text_is_a_payload_too() -> None:
    till = Till()
    assert await till.guard.once(receive("hello"), till) == Performed(b"receipt 1")
    with pytest.raises(PayloadDiffers):
        await till.guard.once(receive("good-bye"), till)


async def test_while_somebody_else_is_at_it_the_message_is_retried_when_their_lease_ends() -> None:
    till = Till()
    await till.store.begin(("delivery/e-1",), 8_000, ManualClock().wall_ms())
    with pytest.raises(Retry) as retry:
        await till.guard.once(charge(), till)
    assert retry.value.delay_s == 8
    assert till.keys == []


async def test_an_attempt_shows_that_its_message_was_lost() -> None:
    told: list[bool] = []
    clock = ManualClock(0)
    queue = source(context(clock=clock))
    (held,) = queue.take_in([lease(body=envelope("charge", ORDER)).message], 0)
    router = Router()
    router.handler("charge", dict[str, Any])(ignored)
    received = router.route(held).received

    async def effect(attempt: Attempt) -> None:
        told.append(attempt.lease_lost)
        clock.advance(60_000)
        told.append(attempt.lease_lost)

    await Guard(MemoryIdempotencyStore()).once(received, effect)
    assert told == [False, True]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, JSON)
def test_digests_are_equal_when_the_json_is(one: object, other: object) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (payload_digest(one) == payload_digest(other)) == same


class TestMiddleware:
    """Whole handlers as effects."""

    async def outcomes(
        self, router: Router, *bodies: str, by: tuple[str, ...] = ("order_id",)
    ) -> list[Any]:
        middleware = once_middleware(Guard(MemoryIdempotencyStore()), {"charge": by})
        execution = Execution(middleware=[middleware])
        found: list[Any] = []
        for number, body in enumerate(bodies):
            routed = router.route(lease(f"m-{number}", body=body))
            found += await execution.perform(routed.route, [routed.received])
        await execution.close()
        return found

    @pytest.mark.parametrize("plain", [False, True])
    async def test_a_handler_runs_once_on_a_plain_function_too(self, plain: bool) -> None:
        numbers: list[int] = []
        router = Router()
        if plain:

            @router.handler("charge", dict[str, Any])
            def pay_in_a_thread(received: Received[dict[str, Any]]) -> None:
                numbers.append(current_attempt().number)
        else:

            @router.handler("charge", dict[str, Any])
            async def pay(received: Received[dict[str, Any]]) -> None:
                numbers.append(current_attempt().number)

        bodies = [envelope("charge", ORDER, identifier=f"e-{number}") for number in range(3)]
        assert await self.outcomes(router, *bodies) == [Done()] * 3
        assert numbers == [1]

    async def test_without_fields_a_delivery_is_done_once(self) -> None:
        seen: list[str] = []
        router = Router()

        @router.handler("charge", dict[str, Any])
        async def pay(received: Received[dict[str, Any]]) -> None:
            seen.append(received.id)

        bodies = [envelope("charge", ORDER, identifier=each) for each in ("a", "b", "a")]
        assert await self.outcomes(router, *bodies, by=()) == [Done()] * 3
        assert seen == ["a", "b"]

    async def test_one_that_fails_is_begun_again(self) -> None:
        numbers: list[int] = []
        router = Router()

        @router.handler("charge", dict[str, Any])
        async def pay(received: Received[dict[str, Any]]) -> None:
            numbers.append(current_attempt().number)
            if len(numbers) == 1:
                raise ValueError("no money")

        body = envelope("charge", ORDER)
        first, *others = await self.outcomes(router, body, body, body)
        assert isinstance(first, Failed)
        assert others == [Done(), Done()]
        assert numbers == [1, 2]

    async def test_handlers_of_other_types_run_as_they_are(self) -> None:
        seen: list[str] = []
        router = Router()

        @router.handler("refund", dict[str, Any])
        async def repay(received: Received[dict[str, Any]]) -> None:
            seen.append(received.id)
            with pytest.raises(LookupError):
                current_attempt()

        body = envelope("refund", ORDER)
        assert await self.outcomes(router, body, body) == [Done(), Done()]
        assert len(seen) == 2

    async def test_a_batch_as_a_whole_is_refused(self) -> None:
        router = Router()

        @router.handler("charge", dict[str, Any], batch=5)
        async def pay(batch: list[Received[dict[str, Any]]]) -> None:
            raise AssertionError

        (outcome,) = await self.outcomes(router, envelope("charge", ORDER))
        assert isinstance(outcome, Failed)
        assert "guard.once" in str(outcome.error)


def test_a_duplicate_of_a_quick_effect_costs_no_receive() -> None:
    """Weakness 4 of document 001: with check-then-do both would have performed it."""

    async def scenario() -> None:
        guard = Guard(MemoryIdempotencyStore(), clock=LoopClock())
        performed: list[str] = []

        async def takes_a_moment(attempt: Attempt) -> bytes:
            await asyncio.sleep(0.02)
            performed.append(attempt.key)
            return b"r"

        outcomes = await asyncio.gather(
            *(guard.once(charge(), takes_a_moment, by=("order_id",)) for _ in range(4))
        )
        assert outcomes.count(AlreadyDone(b"r")) == 3
        assert len(performed) == 1

    run(scenario())
