"""The contract of a SaleStore. Every store of the sale passes it."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from forebay.apps.sale.domain import (
    Decision,
    Order,
    OrderRefused,
    OrderStatus,
    Outcome,
    Section,
    SectionKind,
    fingerprint,
)
from forebay.apps.sale.sqlite_store import SqliteSaleStore
from forebay.apps.sale.store import (
    AlreadyAccepted,
    Arrival,
    Delivery,
    OrderRecord,
    OtherRequest,
    Queued,
    SaleStore,
    Unqueued,
)

STALLS = Section("gala", "stalls", SectionKind.RESERVED, capacity=3)
LAWN = Section("gala", "lawn", SectionKind.GENERAL, capacity=2)

OpenStore = Callable[[], AbstractAsyncContextManager[SaleStore]]


@asynccontextmanager
async def open_sqlite(path: Path) -> AsyncIterator[SaleStore]:
    store = await SqliteSaleStore.open(path)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens the same store each time it is called, as another process would."""
    return lambda: open_sqlite(tmp_path / "sale.sqlite3")


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[SaleStore]:
    async with open_store() as opened:
        await opened.open_sections([STALLS, LAWN])
        yield opened


def order(number: int, section: Section = STALLS, seat: int | None = None) -> Order:
    return Order(f"o{number}", section.event, section.name, f"buyer-{number}", seat)


def arrival(of: Order) -> Arrival:
    return Arrival(of, fingerprint(of), arrived_at_ms=1_000)


def delivery(number: int = 1) -> Delivery:
    return Delivery(f"m{number}", f"{number:020}")


async def decide(store: SaleStore, of: Order) -> Decision:
    return await store.decide(of, delivery(), now_ms=2_000)


async def accept(store: SaleStore, of: Order) -> None:
    assert await store.claim(arrival(of)) == Unqueued()
    await store.accept(of.order_id, Queued("m", f"{1:020}"), now_ms=1_500)


async def test_seats_are_given_from_the_first_until_the_section_is_sold_out(
    store: SaleStore,
) -> None:
    decisions = [await decide(store, order(number)) for number in range(4)]
    assert [decision.seat for decision in decisions] == [1, 2, 3, None]
    assert decisions[3].outcome is Outcome.SOLD_OUT


async def test_a_seat_asked_for_is_given_once_and_passed_over_by_the_others(
    store: SaleStore,
) -> None:
    assert await decide(store, order(1, seat=1)) == Decision(Outcome.CONFIRMED, 1)
    assert await decide(store, order(2, seat=1)) == Decision(Outcome.SOLD_OUT)
    assert await decide(store, order(3)) == Decision(Outcome.CONFIRMED, 2)


async def test_general_admission_counts_its_places(store: SaleStore) -> None:
    decisions = [await decide(store, order(number, LAWN)) for number in range(3)]
    assert [decision.outcome for decision in decisions] == [
        Outcome.CONFIRMED,
        Outcome.CONFIRMED,
        Outcome.SOLD_OUT,
    ]


async def test_a_redelivery_after_the_buyers_own_success_is_a_success(store: SaleStore) -> None:
    first = await decide(store, order(0))
    for number in (1, 2, 3):
        await decide(store, order(number))
    assert await decide(store, order(0)) == first == Decision(Outcome.CONFIRMED, 1)
    assert len(await store.unsent(10)) == 4


async def test_a_redelivery_in_another_process_is_no_second_decision(
    store: SaleStore, open_store: OpenStore
) -> None:
    async with open_store() as other:
        answers = await asyncio.gather(
            *(decide(worker, order(1)) for worker in (store, other) * 10)
        )
    assert set(answers) == {Decision(Outcome.CONFIRMED, 1)}
    assert len(await store.unsent(10)) == 1


async def test_an_order_nobody_can_decide_is_refused_and_changes_nothing(store: SaleStore) -> None:
    for refused in (order(1, seat=4), order(2, LAWN, seat=1), Order("o3", "gala", "moon", "ada")):
        with pytest.raises(OrderRefused):
            await decide(store, refused)
        assert await store.find(refused.order_id) is None
    assert await store.unsent(10) == []
    assert (await decide(store, order(4))).seat == 1


async def test_a_refusal_does_not_undo_the_decisions_made_beside_it(store: SaleStore) -> None:
    answers = await asyncio.gather(
        decide(store, order(1)),
        decide(store, order(2, seat=99)),
        decide(store, order(3)),
        return_exceptions=True,
    )
    assert answers[0] == Decision(Outcome.CONFIRMED, 1)
    assert isinstance(answers[1], OrderRefused)
    assert answers[2] == Decision(Outcome.CONFIRMED, 2)


async def test_what_was_decided_is_there_after_a_restart(open_store: OpenStore) -> None:
    async with open_store() as before:
        await before.open_sections([STALLS, LAWN])
        await decide(before, order(1))
    async with open_store() as after:
        await after.open_sections([STALLS, LAWN])
        assert await after.sections() == [LAWN, STALLS]
        assert await after.find("o1") == OrderRecord("o1", OrderStatus.CONFIRMED, seat=1)
        assert (await decide(after, order(2))).seat == 2


async def test_a_new_key_is_claimed_once_and_stays_open_until_it_is_queued(
    store: SaleStore,
) -> None:
    assert await store.claim(arrival(order(1))) == Unqueued()
    assert await store.claim(arrival(order(1))) == Unqueued()
    assert await store.find("o1") is None


async def test_a_second_click_finds_the_accepted_order(store: SaleStore) -> None:
    await accept(store, order(1))
    received = OrderRecord("o1", OrderStatus.RECEIVED)
    assert await store.claim(arrival(order(1))) == AlreadyAccepted(received)
    assert await store.find("o1") == received


async def test_a_second_click_after_the_decision_learns_it(store: SaleStore) -> None:
    await accept(store, order(1))
    await decide(store, order(1))
    assert await store.claim(arrival(order(1))) == AlreadyAccepted(
        OrderRecord("o1", OrderStatus.CONFIRMED, seat=1)
    )


async def test_a_key_cannot_be_used_for_another_wish(store: SaleStore) -> None:
    assert await store.claim(arrival(order(1))) == Unqueued()
    assert await store.claim(arrival(order(1, seat=2))) == OtherRequest()
    await accept_again(store, order(1))
    assert await store.claim(arrival(order(1, seat=2))) == OtherRequest()


async def accept_again(store: SaleStore, of: Order) -> None:
    await store.accept(of.order_id, Queued("m", f"{1:020}"), now_ms=1_600)


async def test_a_decision_before_the_acceptance_loses_neither(store: SaleStore) -> None:
    assert await store.claim(arrival(order(1))) == Unqueued()
    await decide(store, order(1))
    confirmed = OrderRecord("o1", OrderStatus.CONFIRMED, seat=1)
    assert await store.find("o1") == confirmed
    await accept_again(store, order(1))
    assert await store.find("o1") == confirmed


async def test_a_click_after_a_decision_whose_acceptance_was_never_noted(store: SaleStore) -> None:
    assert await store.claim(arrival(order(1))) == Unqueued()
    await decide(store, order(1))
    assert isinstance(await store.claim(arrival(order(1))), AlreadyAccepted)


async def test_a_failed_order_says_why_and_can_be_decided_once_it_is_mended(
    store: SaleStore,
) -> None:
    await accept(store, order(1))
    await store.fail(order(1), "no such seat", now_ms=3_000)
    assert await store.find("o1") == OrderRecord("o1", OrderStatus.FAILED, reason="no such seat")
    assert await store.unsent(10) == []
    await decide(store, order(1))
    assert await store.find("o1") == OrderRecord("o1", OrderStatus.CONFIRMED, seat=1)


async def test_a_decided_order_cannot_fail(store: SaleStore) -> None:
    await decide(store, order(1))
    await store.fail(order(1), "received too often", now_ms=3_000)
    assert await store.find("o1") == OrderRecord("o1", OrderStatus.CONFIRMED, seat=1)


async def test_the_outbox_gives_each_notification_until_it_is_marked_sent(
    store: SaleStore,
) -> None:
    for number in range(3):
        await decide(store, order(number))
    oldest = await store.unsent(2)
    assert [row.notification.order_id for row in oldest] == ["o0", "o1"]
    assert [row.notification.seat for row in oldest] == [1, 2]
    await store.mark_sent([oldest[0].number], now_ms=4_000)
    assert [row.notification.order_id for row in await store.unsent(10)] == ["o1", "o2"]


def _sell(path: Path, worker: int, orders: int) -> None:
    async def sell() -> None:
        async with open_sqlite(path) as store:
            await asyncio.gather(
                *(
                    store.decide(order(number, STALLS), delivery(worker), now_ms=worker)
                    for number in range(orders)
                )
            )

    asyncio.run(sell())


async def test_processes_that_decide_the_same_orders_sell_no_seat_twice(tmp_path: Path) -> None:
    path = tmp_path / "sale.sqlite3"
    async with open_sqlite(path) as store:
        await store.open_sections([STALLS])
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=_sell, args=(path, number, 50)) for number in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            await asyncio.to_thread(worker.join, 30)
            assert worker.exitcode == 0
        decided = await store.unsent(100)
    assert len(decided) == 50
    assert sorted(row.notification.seat or 0 for row in decided)[-3:] == [1, 2, 3]
