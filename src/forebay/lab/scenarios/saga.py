"""Three actions in three places, the last of which some are declined, and a crash at each step."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Annotated, NamedTuple

import apsw
from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.idempotency import Attempt, Guard
from forebay.lab.ledger import Ledger
from forebay.lab.outside.client import OutsideDeclined
from forebay.lab.program import Program
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import all_done, named
from forebay.sqlite import SharedWriter
from forebay.worker import Received, Router, Worker

#: The invariants of a saga.
WHOLE_OR_UNDONE = "each order is whole, or all that was done for it is undone"
ONCE = "each action and each compensation is performed once"
BACKWARDS = "compensations go backwards"


class Step(NamedTuple):
    """An action outside, what undoes it, and what an order is that was left in between."""

    action: str
    undone_by: str = ""
    left: str = ""


STEPS = (
    Step("charge", "refund", "charged and not refunded"),
    Step("reserve", "release", "reserved and not released"),
    Step("book"),
)

#: Where a worker can die: before each action, and after it before the log says so.
_FORWARD = tuple(
    point for step in STEPS for point in (f"{step.action} begun", f"{step.action} performed")
)

#: Where it can die on the way back.
_BACK = (
    "book declined",
    *(
        point
        for step in reversed(STEPS)
        if step.undone_by
        for point in (f"{step.undone_by} begun", f"{step.undone_by} performed")
    ),
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS saga (
    order_id TEXT PRIMARY KEY,
    steps_done INTEGER NOT NULL DEFAULT 0,
    goes_back INTEGER NOT NULL DEFAULT 0
) STRICT;
"""


class Saga(Scenario):
    """A charge, a seat and a courier: when one is declined the others are undone, in any crash."""

    claim = (
        "Each order has its charge, its seat and its courier, or nothing of them, wherever its"
        " worker dies."
    )
    queues = (LabQueue(max_receive_count=20),)
    protections = {
        "compensation": Protection(
            "When an action is declined, those before it are undone, the last one first. Without,"
            " the order is given up as it is.",
            breaks=WHOLE_OR_UNDONE,
            because="charged and not refunded",
        ),
        "saga-log": Protection(
            "How far an order is, and that it goes back, is in a database before the next step."
            " Without, a worker that takes it up begins at the front.",
            breaks=WHOLE_OR_UNDONE,
            because="booked and undone",
        ),
        "idempotency-key": Protection(
            "Each action has a key of its own, so that one that may have happened can be asked for"
            " again. Without, it happens again.",
            breaks=ONCE,
            because="performed more than once",
        ),
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[
            int,
            Meta(ge=0, le=1_000, description="Orders beside those that a worker dies at."),
        ] = 10

    def points(self) -> tuple[str, ...]:
        """Where a worker dies: without compensation, nothing comes after the decline."""
        back = _BACK if self.on("compensation") else _BACK[:1]
        return (*_FORWARD, *back)

    async def setup(self, stage: Stage) -> None:
        def orders(number: int) -> list[str]:
            return [stage.new_id()[:8] for _ in range(number)]

        points = self.points()
        dying, others = orders(len(points)), orders(stage.options.count)
        self.orders = [*dying, *others]
        #: By order: where the first worker dies, and one step later where the second does.
        self.first = dict(zip(dying, points, strict=True))
        self.second = {
            order: later
            for order, (point, later) in zip(dying, pairwise(points), strict=False)
            if point != _FORWARD[-1]
        }
        #: The courier declines these for now.
        self.declined = [*dying[len(_FORWARD) :], *others[: len(others) // 3]]
        await stage.outside.configure(declines=tuple(map(_parcel, self.declined)))
        shuffled = stage.random.sample(self.orders, len(self.orders))
        await stage.send({"order": each} for each in shuffled)

    async def fault(self, stage: Stage) -> None:
        for number, points in enumerate((self.first, self.second)):
            worker = await stage.start(f"worker-{number + 1}", sell, dies_at=points)
            await stage.until(
                f"{worker.name} is at {len(points)} points in {len(points)} orders",
                partial(_reached, points),
            )
            await stage.kill(worker)
        stage.strike("the courier takes parcels again")
        await stage.outside.configure()
        await stage.start("worker-3", sell, dies_at={})
        await stage.drained()

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        done = Counter((effect.action, _order(effect.subject)) for effect in ledger.effects)
        yield whole_or_undone(self.orders, done.keys(), self.declined)
        repeated = {f"{action} of {order}" for (action, order), times in done.items() if times > 1}
        yield Verdict(ONCE, not repeated, named(repeated, "performed more than once"))
        yield backwards(ledger)
        missing = {point for point in self.points() if not ledger.noted(point)}
        yield Verdict(
            "a worker dies at every step", not missing, named(missing, "at which none died")
        )


def whole_or_undone(
    orders: Collection[str], done: Collection[tuple[str, str]], declined: Collection[str]
) -> Verdict:
    """Nobody has paid without a seat and a courier, or has them without having paid.

    `done` are the actions that were performed, each with its order; the orders that the courier
    declined at first are `declined`, and none but those may be undone.
    """
    whole = 0
    wrong: dict[str, set[str]] = {}
    for order in orders:
        actions = {action for action, of in done if of == order}
        whole += actions == {step.action for step in STEPS}
        undone = any(step.undone_by in actions for step in STEPS)
        without_cause = {"undone and never declined"} if undone and order not in declined else set()
        for why in what_is_wrong(actions) | without_cause:
            wrong.setdefault(why, set()).add(order)
    parts = [named(found, why) for why, found in wrong.items()]
    return Verdict(
        WHOLE_OR_UNDONE, not wrong, "; ".join([f"{whole:,} whole of {len(orders):,}", *parts])
    )


def what_is_wrong(actions: Collection[str]) -> set[str]:
    """What is wrong with an order for which these actions were performed."""
    *steps, last = STEPS
    found = set() if actions else {"untouched"}
    for step in steps:
        is_done, is_undone = step.action in actions, step.undone_by in actions
        if last.action in actions and is_undone:
            found.add("booked and undone")
        elif last.action in actions and not is_done:
            found.add("booked and not whole")
        elif is_undone and not is_done:
            found.add("undone and never done")
        elif is_done and not is_undone and last.action not in actions:
            found.add(step.left)
    return found


def backwards(ledger: Ledger) -> Verdict:
    """A seat is released before its money goes back, as it was taken after it came."""
    released, refunded = (
        {effect.subject: effect.number for effect in ledger.effects_of(action)}
        for action in ("release", "refund")
    )
    wrong = {order for order, number in refunded.items() if released.get(order, number) >= number}
    return Verdict(
        BACKWARDS,
        not wrong,
        named(wrong, "refunded before the seat was released")
        if wrong
        else f"{len(refunded):,} orders undone",
    )


def _reached(points: Mapping[str, str], ledger: Ledger) -> bool:
    return all(ledger.noted(point)[order] for order, point in points.items())


async def sell(lab: Program, *, dies_at: Mapping[str, str]) -> None:
    """A worker that takes each order through its saga."""
    store = await lab.store()
    guard = Guard(store, clock=lab.clock)
    file = lab.directory / "sagas.sqlite3" if lab.on("saga-log") else ":memory:"
    log = SagaLog(await SharedWriter.open(file, _SCHEMA, durable=False))
    router = Router()

    async def reach(order: str, point: str) -> None:
        if dies_at.get(order) == point:
            await lab.stay_at(point, order)

    async def act(order: str, action: str) -> None:
        await reach(order, f"{action} begun")
        key = f"{order}/{action}" if lab.on("idempotency-key") else None
        await lab.outside.perform(action, _parcel(order) if action == "book" else order, key)
        await reach(order, f"{action} performed")

    async def take_through(order: str) -> None:
        done, goes_back = await log.find(order)
        if not goes_back:
            for step in STEPS[done:]:
                try:
                    await act(order, step.action)
                except OutsideDeclined:
                    await reach(order, f"{step.action} declined")
                    break
                done += 1
                await log.write(order, done)
            if done == len(STEPS) or not lab.on("compensation"):
                return
            await log.write(order, done, goes_back=True)
        while done:
            await act(order, STEPS[done - 1].undone_by)
            done -= 1
            await log.write(order, done, goes_back=True)

    @router.default
    async def handle(received: Received[str]) -> None:
        order = json.loads(received.text)["order"]

        async def effect(_: Attempt) -> None:
            await take_through(order)

        await guard.once(received, effect, by=("order",), action="sell")

    await lab.work(Worker(lab.client, lab.queue_url, router, clock=lab.clock))
    await log.close()


class SagaLog:
    """How far each order is: how many steps are done and not undone, and whether it goes back."""

    def __init__(self, writer: SharedWriter) -> None:
        self._writer = writer

    async def find(self, order: str) -> tuple[int, bool]:
        def select(connection: apsw.Connection) -> tuple[int, bool]:
            found = connection.execute(
                "SELECT steps_done, goes_back FROM saga WHERE order_id = ?", (order,)
            ).fetchone()
            return (0, False) if found is None else (int(str(found[0])), bool(found[1]))

        return await self._writer.read(select)

    async def write(self, order: str, steps_done: int, *, goes_back: bool = False) -> None:
        """Write it down. It is in the file when this returns."""
        row = (order, steps_done, goes_back)
        await self._writer.run(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO saga VALUES (?, ?, ?)", row
            )
        )

    async def close(self) -> None:
        await self._writer.close()


_PARCEL = "parcel-"


def _parcel(order: str) -> str:
    """What the courier knows an order by, so that it can be declined there alone."""
    return f"{_PARCEL}{order}"


def _order(subject: str) -> str:
    return subject.removeprefix(_PARCEL)
