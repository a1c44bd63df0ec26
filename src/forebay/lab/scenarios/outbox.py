"""An order is written and has to be announced, and whoever does it dies in between."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import apsw
from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.errors import ForebayError
from forebay.idempotency import Attempt, Guard
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.processes import Process
from forebay.lab.program import Program
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import (
    EFFECTS_ONCE,
    all_done,
    effects_once,
    named,
)
from forebay.protocol.actions import SendMessageRequest
from forebay.sqlite import SharedWriter, open_database
from forebay.worker import Received, Router, Worker

#: The invariants of the announcements.
ALL_ANNOUNCED = "every order that was committed is announced"
NONE_BUT_COMMITTED = "no order that was rolled back is announced"

#: Where processes are killed.
_COMMITTED = "committed, and not yet announced"
_ANNOUNCED = "announced, and not yet marked as sent"

#: The most that the relay waits before it looks again, in seconds.
_LOOK_S = 0.5

#: Orders that are rolled back.
_DECLINED = 4

_DATABASE = "shop.sqlite3"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL,
    is_sent INTEGER NOT NULL DEFAULT 0
) STRICT;
"""


class Outbox(Scenario):
    """A shop dies between the commit of an order and the message about it, again and again."""

    claim = (
        "Every order that is committed is announced and shipped once, and none that is rolled back,"
        " wherever the shop and its relay die."
    )
    queues = (LabQueue(max_receive_count=10),)
    protections = {
        "outbox": Protection(
            "The message is a row of the shop's database, and a relay sends what is there. Without,"
            " the shop commits the order and then sends the message itself.",
            breaks=ALL_ANNOUNCED,
            because="committed and never announced",
        ),
        "one-transaction": Protection(
            "The order and its row in the outbox are committed together. Without, the row is"
            " committed first.",
            breaks=NONE_BUT_COMMITTED,
            because="announced and never committed",
        ),
        "idempotency": Protection(
            "The receiver holds the order's key while it ships, and hands it on. Without, what the"
            " relay sends twice is shipped twice.",
            breaks=EFFECTS_ONCE,
            because="performed more than once",
        ),
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[int, Meta(ge=_DECLINED + 4, le=1_000, description="Orders.")] = 24
        crashes: Annotated[
            int, Meta(ge=1, le=4, description="How often the shop dies, and how often the relay.")
        ] = 3

    async def setup(self, stage: Stage) -> None:
        self.orders = [stage.new_id()[:8] for _ in range(stage.options.count)]
        self.declined = stage.random.sample(self.orders, _DECLINED)
        good = [each for each in self.orders if each not in self.declined]
        self.shop_dies = stage.random.sample(good, stage.options.crashes)
        self.relay_dies = stage.random.sample(good, stage.options.crashes)
        await stage.start("consumer", ship)

    async def fault(self, stage: Stage) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._shop(stage))
            if stage.on("outbox"):
                both.create_task(self._relay(stage))
        database = stage.directory / _DATABASE
        await stage.until(
            "all that is in the outbox is sent",
            lambda _: not _column(database, "SELECT order_id FROM outbox WHERE NOT is_sent"),
        )
        await stage.drained()
        self.committed = set(_column(database, "SELECT id FROM orders"))

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        due = set(self.orders) - set(self.declined)
        yield Verdict(
            "every order is committed but for those that are declined",
            self.committed == due,
            f"{len(self.committed):,} committed of {len(self.orders):,} orders, of which"
            f" {len(self.declined):,} are declined",
        )
        times = Counter(event.id for event in ledger.of(Kind.SENT))
        missing = self.committed - times.keys()
        strange = times.keys() - self.committed
        yield Verdict(
            ALL_ANNOUNCED,
            not missing,
            named(missing, "committed and never announced")
            if missing
            else f"{len(self.committed):,} committed of {len(self.orders):,} orders",
        )
        yield Verdict(
            NONE_BUT_COMMITTED, not strange, named(strange, "announced and never committed")
        )
        twice = {order for order, count in times.items() if count > 1}
        died_at = set(self.relay_dies) if self.on("outbox") else set()
        yield Verdict(
            "an order is announced twice if the relay died at it, and no other",
            twice == died_at,
            f"{named(twice, 'announced twice')}; {named(died_at, 'at which the relay died')}",
        )
        yield effects_once(ledger, self.committed, "ship")

    async def _shop(self, stage: Stage) -> None:
        """Let the shop take all orders, and die after the commit of some."""
        begin = 0
        for index in sorted(map(self.orders.index, self.shop_dies)):
            shop = await self._start_shop(stage, begin, dies_after=self.orders[index])
            await self._kill_at(stage, shop, _COMMITTED, [self.orders[index]])
            begin = index + 1
        await stage.ended(await self._start_shop(stage, begin))

    async def _start_shop(self, stage: Stage, begin: int, dies_after: str = "") -> Process:
        orders, declined = self.orders[begin:], self.declined
        return await stage.start(
            "shop", take_orders, orders=orders, declined=declined, dies_after=dies_after
        )

    async def _relay(self, stage: Stage) -> None:
        """Let a relay send what is in the outbox, and die before it has marked some."""
        left = list(self.relay_dies)
        while left:
            relay = await stage.start("relay", relay_outbox, dies_at=left)
            left.remove(await self._kill_at(stage, relay, _ANNOUNCED, left))
        await stage.start("relay", relay_outbox, dies_at=[])

    async def _kill_at(
        self, stage: Stage, process: Process, point: str, orders: Collection[str]
    ) -> str:
        """Kill a process when it is at a point with one of these orders, and return which."""
        ledger = await stage.until(
            f"{process.name} is at the point: {point}",
            lambda ledger: bool(ledger.noted(point).keys() & orders),
        )
        await stage.kill(process)
        return next(each for each in orders if ledger.noted(point)[each])


class Declined(ForebayError):
    """The bank says no, so that the order is rolled back."""


async def take_orders(
    lab: Program, *, orders: Sequence[str], declined: Collection[str], dies_after: str
) -> None:
    """The shop: writes each order, and sees to it that it will be announced."""
    shop = await SharedWriter.open(lab.directory / _DATABASE, _SCHEMA, durable=False)
    for order in orders:
        outbox, together = lab.on("outbox"), lab.on("one-transaction")
        if outbox and not together:
            await shop.run(partial(_write_message, order=order))
        try:
            await shop.run(
                partial(_write_order, order=order, declined=declined, message=outbox and together)
            )
        except Declined:
            lab.events.write(Kind.SKIPPED, subject=order, text="rolled back")
            continue
        if order == dies_after:
            await lab.stay_at(_COMMITTED, order)
        if not outbox:
            await _announce(lab, order)
    await shop.close()


def _write_order(
    shop: apsw.Connection, *, order: str, declined: Collection[str], message: bool
) -> None:
    """In one transaction, which is rolled back when this raises."""
    shop.execute("INSERT INTO orders VALUES (?)", (order,))
    if message:
        _write_message(shop, order=order)
    if order in declined:
        raise Declined


def _write_message(shop: apsw.Connection, *, order: str) -> None:
    shop.execute("INSERT INTO outbox (order_id) VALUES (?)", (order,))


async def relay_outbox(lab: Program, *, dies_at: Collection[str]) -> None:
    """The relay: sends the rows of the outbox in their order, and marks each once SQS has it."""
    shop = await SharedWriter.open(lab.directory / _DATABASE, _SCHEMA, durable=False)
    while not lab.told_to_stop.is_set():
        rows = await shop.read(_unsent)
        for number, order in rows:
            await _announce(lab, order)
            if order in dies_at:
                await lab.stay_at(_ANNOUNCED, order)
            await shop.run(partial(_mark_sent, number=number))
        if not rows:
            await lab.clock.sleep(_LOOK_S)
    await shop.close()


def _unsent(shop: apsw.Connection) -> list[tuple[int, str]]:
    rows = shop.execute("SELECT number, order_id FROM outbox WHERE NOT is_sent ORDER BY number")
    return [(int(str(number)), str(order)) for number, order in rows]


def _mark_sent(shop: apsw.Connection, *, number: int) -> None:
    shop.execute("UPDATE outbox SET is_sent = 1 WHERE number = ?", (number,))


async def _announce(lab: Program, order: str) -> None:
    body = json.dumps({"id": order, "order": order})
    await lab.client.send_message(SendMessageRequest(queue_url=lab.queue_url, message_body=body))


async def ship(lab: Program) -> None:
    """A worker that ships what was ordered."""
    store = await lab.store()
    guard = Guard(store, clock=lab.clock)
    router = Router()

    @router.default
    async def handle(received: Received[str]) -> None:
        order = json.loads(received.text)["order"]

        async def effect(attempt: Attempt) -> None:
            await lab.outside.perform("ship", order, key=attempt.key)

        if lab.on("idempotency"):
            await guard.once(received, effect, by=("order",), action="ship")
        else:
            await lab.outside.perform("ship", order)

    await lab.work(Worker(lab.client, lab.queue_url, router, clock=lab.clock))


def _column(database: Path, query: str) -> list[str]:
    """The first column of what a query finds in the shop's database."""
    with closing(open_database(database, _SCHEMA)) as connection:
        return [str(row[0]) for row in connection.execute(query)]
