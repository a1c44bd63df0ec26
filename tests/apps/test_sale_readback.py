from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from forebay.apps.sale.domain import Order, Outcome, Section, SectionKind, fingerprint
from forebay.apps.sale.ledger import (
    AcceptedOrder,
    HeldSeat,
    balance,
    double_decided,
    judge,
)
from forebay.apps.sale.notifications import NOTIFICATIONS_FILE, SqliteNotificationLog
from forebay.apps.sale.queues import ORDERS
from forebay.apps.sale.readback import USAGE_FILE, Progress, Stores
from forebay.apps.sale.sqlite_store import SALE_FILE, SqliteSaleStore
from forebay.apps.sale.store import Arrival, Delivery, Notification, Queued
from forebay.apps.usage.accounts import UsageAccount, keep_account
from forebay.apps.usage.domain import UsageLog
from forebay.apps.usage.sqlite import SqliteUsageStore
from forebay.idempotency import Guard
from forebay.producer import ProducerLedger
from tests.usage.events import pack

STALLS = Section("gala", "stalls", SectionKind.RESERVED, capacity=1)


class Sale:
    """The stores of a sale, as its processes would write them."""

    def __init__(
        self,
        sale: SqliteSaleStore,
        usage: SqliteUsageStore,
        sent: SqliteNotificationLog,
    ) -> None:
        self.sale = sale
        self.usage = usage
        self.sent = sent

    async def accept(self, order: Order, number: int, clicks: int = 1) -> None:
        await self.sale.claim(Arrival(order, fingerprint(order), 1_000 + number))
        for _ in range(clicks):
            await self.sale.accept(order.order_id, Queued(f"m{number}", f"{number:020}"), 2_000)

    async def decide(self, order: Order, number: int) -> None:
        await self.sale.decide(order, Delivery(f"m{number}", f"{number:020}"), 3_000 + number)
        told = Notification(order.order_id, order.buyer, order.event, order.section, "told")
        await Guard(self.sent.leases).run(
            order.order_id, lambda attempt: self.sent.send(told, attempt)
        )

    async def log(self, number: int, tier: str) -> None:
        log = UsageLog("channel-1", "gala#stalls", "place_order", 100 * number, tier, 202)
        await self.usage.write([pack(f"e{number}", log)])


@pytest.fixture
async def sale(tmp_path: Path) -> AsyncIterator[Sale]:
    sale = await SqliteSaleStore.open(tmp_path / SALE_FILE)
    usage = await SqliteUsageStore.open(tmp_path / USAGE_FILE)
    sent = await SqliteNotificationLog.open(tmp_path / NOTIFICATIONS_FILE)
    await sale.open_sections([STALLS])
    yield Sale(sale, usage, sent)
    for store in (sale, usage, sent):
        await store.close()


def order(number: int, seat: int | None = None) -> Order:
    return Order(f"o{number}", "gala", "stalls", f"buyer-{number}", seat)


async def test_a_sale_that_went_well_is_read_back_as_one(sale: Sale, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        await sale.accept(order(number), number, clicks=number)
    for number in (1, 2):
        await sale.decide(order(number), number)
    await sale.sale.fail(order(3), "poison", 4_000)
    await sale.log(5, "queue")
    await sale.log(7, "record")
    keep_account(
        tmp_path,
        "api-1",
        ProducerLedger(offered=4, delivered=2, dropped={"full": 2}, failed=0, buffered=0),
    )
    with closing(Stores(tmp_path)) as stores:
        assert stores.progress() == Progress(accepted=3, decided=2, failed=1, notified=2, logged=2)
        facts = stores.facts(["o3"], {ORDERS: 0})
    assert facts.sections == [STALLS]
    assert facts.sold == {("gala", "stalls"): 1}
    assert facts.held_seats == [HeldSeat("gala", "stalls", 1, "o1")]
    assert facts.accepted[1] == AcceptedOrder(
        "o2", "gala", "stalls", "buyer-2", arrived_at_ms=1_002, arrival_number=2, acceptances=2
    )
    first, second = facts.decisions
    assert (first.outcome, first.seat, first.free) == (Outcome.CONFIRMED, 1, 1)
    assert (second.outcome, second.seat, second.free) == (Outcome.SOLD_OUT, None, 0)
    assert second.sequence_number == 2
    assert facts.notified == ["o1", "o2"]
    assert facts.usage == UsageAccount(offered=4, delivered=2, dropped=2)
    assert facts.usage_stored == 2
    assert facts.accept_us == [500]
    assert [verdict for verdict in judge(facts) if not verdict.holds] == []


async def test_a_claim_that_was_never_queued_is_not_accepted(sale: Sale, tmp_path: Path) -> None:
    await sale.accept(order(1), 1, clicks=0)
    with closing(Stores(tmp_path)) as stores:
        assert stores.progress().accepted == 0
        assert list(stores.facts([], {}).accepted) == []


async def test_what_a_producer_could_not_send_was_accepted_all_the_same(
    sale: Sale, tmp_path: Path
) -> None:
    for process, failed in (("api-1", 1), ("api-2", 2)):
        ledger = ProducerLedger(
            offered=9, delivered=5, dropped={}, failed=failed, buffered=4 - failed
        )
        keep_account(tmp_path, process, ledger)
    with closing(Stores(tmp_path)) as stores:
        assert stores.usage_account() == UsageAccount(offered=18, delivered=10, failed=8)


async def test_an_order_that_was_decided_twice_shows(sale: Sale, tmp_path: Path) -> None:
    await sale.accept(order(1), 1)
    await sale.decide(order(1), 1)
    with closing(apsw.Connection(str(tmp_path / SALE_FILE))) as vandal:
        vandal.execute("DELETE FROM orders")
    await sale.sale.decide(order(1), Delivery("m2", f"{2:020}"), 3_002)
    with closing(Stores(tmp_path)) as stores:
        facts = stores.facts([], {})
    assert double_decided(facts) == ["o1"]
    assert balance(facts).double_decided == 1


async def test_a_seat_that_was_sold_twice_shows(sale: Sale, tmp_path: Path) -> None:
    for number in (1, 2):
        await sale.accept(order(number), number)
        await sale.decide(order(number), number)
        with closing(apsw.Connection(str(tmp_path / SALE_FILE))) as vandal:
            vandal.execute("UPDATE seats SET order_id = NULL")
    with closing(Stores(tmp_path)) as stores:
        facts = stores.facts([], {})
    assert balance(facts).oversold == 1
