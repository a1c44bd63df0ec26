"""More buyers than seats, and several workers that decide at the same time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Annotated

import apsw
from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.lab.ledger import Ledger
from forebay.lab.program import Program
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import all_done, named
from forebay.sqlite import SharedWriter, open_database
from forebay.worker import Received, Router, Worker, WorkerSettings

#: The invariants of a sale.
NOT_OVERSOLD = "no more seats are sold than there are"
ALL_SOLD = "every seat is sold"
ONE_EACH = "nobody has two seats"
TOLD_WHAT_IS_SO = "every buyer is told once what is so"

#: Where the first worker is killed.
_SOLD = "a seat is sold, and its buyer not told"

#: What a buyer is told.
_CONFIRMED, _SOLD_OUT = "confirm", "sold-out"

#: Buyers of the first worker, and those of them that are not told when it is killed.
_FIRST, _UNTOLD = 5, 3

#: Handlers of each of the workers that sell the rest.
_WORKERS, _CONCURRENCY = 3, 20

#: How often a worker looks whether enough others are at the same point, in seconds.
_LOOK_S = 0.2

_DATABASE = "sale.sqlite3"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS stock (remaining INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sale (number INTEGER PRIMARY KEY, buyer TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS looked (buyer TEXT PRIMARY KEY) STRICT;
"""


class Oversell(Scenario):
    """Many more buyers than seats, in several workers that all see the same seats at once."""

    claim = (
        "As many seats are sold as there are, one to each buyer at most, and every buyer is told"
        " once what is so, whoever dies in between."
    )
    queues = (LabQueue(max_receive_count=20),)
    protections = {
        "conditional-update": Protection(
            "A seat is taken with one statement, which takes it only if one is left. Without, a"
            " worker reads how many are left, thinks, and writes one less.",
            breaks=NOT_OVERSOLD,
            because="more than there are",
        ),
        "own-success": Protection(
            "A buyer who comes again and has a seat has a seat. Without, the second message of a"
            " buyer finds that no new seat can be sold to them, and takes that for sold out.",
            breaks=TOLD_WHAT_IS_SO,
            because="told that it is sold out, with a seat",
        ),
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        seats: Annotated[int, Meta(ge=10, le=40, description="Seats.")] = 20
        buyers: Annotated[int, Meta(ge=60, le=2_000, description="Buyers.")] = 80

    async def setup(self, stage: Stage) -> None:
        self.buyers = [stage.new_id()[:8] for _ in range(stage.options.buyers)]
        first = self.buyers[:_FIRST]
        with closing(open_database(stage.directory / _DATABASE, _SCHEMA)) as sale:
            sale.execute("INSERT INTO stock VALUES (?)", (stage.options.seats,))
        await stage.send(({"buyer": each} for each in first), process="first-buyers")
        worker = await stage.start("worker-1", sell, waits_for=0, untold=first[:_UNTOLD])
        await stage.until(
            f"{_UNTOLD} of {_FIRST} buyers have a seat and are not told",
            lambda ledger: (
                len(ledger.noted(_SOLD)) == _UNTOLD and len(ledger.effects) == _FIRST - _UNTOLD
            ),
        )
        await stage.kill(worker)

    async def fault(self, stage: Stage) -> None:
        rest = self.buyers[_FIRST:]
        # Some click twice.
        clicks = [*rest, *stage.random.sample(rest, len(rest) // 4)]
        stage.random.shuffle(clicks)
        await stage.send({"buyer": each} for each in clicks)
        stage.strike(f"{_WORKERS} workers look at the seats that are left, all at once")
        # More than there are seats, and no more than the workers can have in hand.
        waits_for = stage.options.seats + 1
        workers = [
            await stage.start(f"worker-{number + 2}", sell, waits_for=waits_for, untold=[])
            for number in range(_WORKERS)
        ]
        await stage.until("sales are under way", lambda ledger: len(ledger.effects) > _FIRST)
        await stage.kill(workers[0])
        await stage.drained()
        with closing(open_database(stage.directory / _DATABASE)) as sale:
            self.sold = [str(row[0]) for row in sale.execute("SELECT buyer FROM sale")]

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        seats, sold = self.options.seats, Counter(self.sold)
        yield Verdict(
            NOT_OVERSOLD,
            sold.total() <= seats,
            f"{sold.total():,} sold of {seats:,}"
            + (f", {sold.total() - seats:,} more than there are" if sold.total() > seats else ""),
        )
        yield Verdict(ALL_SOLD, sold.total() >= seats, f"{sold.total():,} sold of {seats:,}")
        twice = {buyer for buyer, times in sold.items() if times > 1}
        yield Verdict(ONE_EACH, not twice, named(twice, "with two seats"))
        yield self._told(ledger)

    def _told(self, ledger: Ledger) -> Verdict:
        confirmed = ledger.effects_by_subject(_CONFIRMED)
        refused = ledger.effects_by_subject(_SOLD_OUT)
        sold = set(self.sold)
        wrong = [
            named(buyers, why)
            for buyers, why in (
                (refused.keys() & sold, "told that it is sold out, with a seat"),
                (confirmed.keys() - sold, "told that they have a seat, without one"),
                ({*self.buyers} - confirmed.keys() - refused.keys(), "told nothing"),
                (
                    {buyer for buyer, times in (confirmed + refused).items() if times > 1},
                    "told more than once",
                ),
            )
            if buyers
        ]
        told = f"{len(confirmed):,} have a seat, {len(refused):,} are told that it is sold out"
        return Verdict(TOLD_WHAT_IS_SO, not wrong, "; ".join([told, *wrong]))


async def sell(lab: Program, *, waits_for: int, untold: list[str]) -> None:
    """A worker that sells a seat to each buyer while there are any.

    It decides nothing before `waits_for` buyers are being looked at, by all workers together.
    """
    sale = await SharedWriter.open(lab.directory / _DATABASE, _SCHEMA, durable=False)
    router = Router()

    async def decide(buyer: str) -> bool:
        """Whether the buyer has a seat."""
        own_success = lab.on("own-success")
        seen = await sale.run(partial(_look, buyer=buyer))
        while await sale.read(_count_looked) < waits_for:
            await lab.clock.sleep(_LOOK_S)
        if lab.on("conditional-update"):
            return await sale.run(partial(_take_if_left, buyer=buyer, own_success=own_success))
        return await sale.run(
            partial(_take_what_was_left, buyer=buyer, left=seen, own_success=own_success)
        )

    @router.default
    async def handle(received: Received[str]) -> None:
        buyer = json.loads(received.text)["buyer"]
        has_seat = await decide(buyer)
        if buyer in untold:
            await lab.stay_at(_SOLD, buyer)
        word = _CONFIRMED if has_seat else _SOLD_OUT
        await lab.outside.perform(word, buyer, f"{word}/{buyer}")

    settings = WorkerSettings(concurrency=_CONCURRENCY, pollers=2, buffer_medium=_CONCURRENCY)
    await lab.work(Worker(lab.client, lab.queue_url, router, clock=lab.clock, settings=settings))
    await sale.close()


def _look(sale: apsw.Connection, *, buyer: str) -> int:
    """How many seats are left."""
    sale.execute("INSERT OR IGNORE INTO looked VALUES (?)", (buyer,))
    return _number(sale, "SELECT remaining FROM stock")


def _count_looked(sale: apsw.Connection) -> int:
    return _number(sale, "SELECT count(*) FROM looked")


def _take_if_left(sale: apsw.Connection, *, buyer: str, own_success: bool) -> bool:
    """Take a seat in one transaction if one is left and the buyer has none."""
    if _number(sale, "SELECT count(*) FROM sale WHERE buyer = ?", buyer):
        return own_success
    taken = sale.execute(
        "UPDATE stock SET remaining = remaining - 1 WHERE remaining > 0 RETURNING remaining"
    ).fetchall()
    if taken:
        sale.execute("INSERT INTO sale (buyer) VALUES (?)", (buyer,))
    return bool(taken)


def _take_what_was_left(sale: apsw.Connection, *, buyer: str, left: int, own_success: bool) -> bool:
    """Take a seat of those that were left when it was looked, whatever has become of them."""
    if _number(sale, "SELECT count(*) FROM sale WHERE buyer = ?", buyer):
        return own_success
    if left > 0:
        sale.execute("UPDATE stock SET remaining = ?", (left - 1,))
        sale.execute("INSERT INTO sale (buyer) VALUES (?)", (buyer,))
    return left > 0


def _number(sale: apsw.Connection, query: str, *values: str) -> int:
    (row,) = sale.execute(query, values).fetchall()
    return int(str(row[0]))
