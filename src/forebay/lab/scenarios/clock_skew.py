"""One machine's clock is hours ahead, one is behind, one is set to and fro while it works."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.clock import Clock
from forebay.idempotency import (
    Attempt,
    Beginning,
    Elsewhere,
    Guard,
    SqliteIdempotencyStore,
    Started,
)
from forebay.idempotency.sqlite import create_tables
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.program import Program
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import balanced, drained, effects_once, named, no_dead_letters
from forebay.producer import Producer
from forebay.sqlite import SharedWriter
from forebay.worker import Received, Retry, Router, Worker, WorkerSettings

#: The invariants that a wrong clock would break.
LIVE_LEASES_KEPT = "no lease that is alive is taken over"
FENCED = "a worker that was taken over completes nothing"
KEPT_ONCE = "what two machines send with one deduplication id is delivered once"

#: What a worker writes down of a key: it has it until the time in `value`, by the right clock; it
#: has it for longer; it is about to give it back; what it is for is done.
_BEGUN, _EXTENDED, _GIVEN_BACK = "lease begun", "lease extended", "lease given back"
_COMPLETED = "completed"

#: Effects wait until this file is there, so that each is surely under way when others come for it.
_RELEASED = "released"

#: The queue in which SQS itself knows what was sent twice.
_FIFO = "fifo"

#: How often it is looked for, and how soon a worker comes back for what another is at, in seconds.
_LOOK_S, _COME_BACK_S = 0.5, 3.0

#: Times in milliseconds of a fast clock are rounded to this.
_ROUNDING_MS = 100


class ClockSkew(Scenario):
    """Machines with wrong clocks work beside each other, and no effect is performed twice."""

    claim = (
        "Workers whose clocks are hours wrong, or are set while they work, neither take over what"
        " another is at nor keep others from what a dead one was at."
    )
    # The second message of an order comes again and again while the first is worked on.
    queues = (LabQueue(max_receive_count=100), LabQueue(name=_FIFO, fifo=True))
    protections = {
        "store-time": Protection(
            "Leases go by the store's time, which is the same for all. Without it each worker goes"
            " by its own clock.",
            breaks=LIVE_LEASES_KEPT,
            because=r"ahead took \S+ over from right",
        ),
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[int, Meta(ge=1, le=100, description="Orders to charge.")] = 5
        hours: Annotated[
            float, Meta(ge=1, le=10_000, description="How wrong the clocks are, in hours.")
        ] = 3.0

    async def setup(self, stage: Stage) -> None:
        self.orders = [stage.new_id()[:8] for _ in range(stage.options.count)]
        self.orders_of_the_dead: list[str] = []
        if stage.on("store-time"):
            # Without it nobody would get these for hours, and no run can wait for that.
            await self._die_with_leases(stage)
        await stage.send({"order": each} for each in self.orders)
        everything = len(self.orders) + len(self.orders_of_the_dead)
        await stage.start("right", charge, concurrency=everything)
        await self._until_begun(stage, "right", self.orders)

    async def fault(self, stage: Stage) -> None:
        hours = stage.options.hours
        again = stage.random.sample(self.orders * 3, len(self.orders) * 3)
        await stage.send(({"order": each} for each in again), process="producer-again")
        stage.strike(f"workers come whose clocks are {hours:g} hours wrong")
        await stage.start("ahead", charge, wrong_by_h=hours)
        await self._until_tried(stage, "ahead")
        await stage.start("behind", charge, wrong_by_h=-hours)
        await stage.start("stepping", charge, wrong_by_h=hours, steps=True)
        for process in ("behind", "stepping"):
            await self._until_tried(stage, process)
        self.fifo_orders = [stage.new_id()[:8] for _ in self.orders]
        senders = [
            await stage.start(process, announce, orders=self.fifo_orders, wrong_by_h=wrong_by_h)
            for process, wrong_by_h in (("sender-ahead", hours), ("sender-behind", -hours))
        ]
        for sender in senders:
            await stage.ended(sender)
        (stage.directory / _RELEASED).touch()
        await stage.drained()
        await stage.drained(_FIFO)

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from balanced(ledger)
        for queue in ledger.queues:
            yield drained(ledger, queue)
            yield no_dead_letters(ledger, queue)
        yield live_leases_kept(ledger)
        yield fenced(ledger)
        yield kept_once(ledger, self.fifo_orders)
        yield effects_once(ledger, {*self.orders, *self.orders_of_the_dead, *self.fifo_orders})

    async def _die_with_leases(self, stage: Stage) -> None:
        """Let a worker whose clock is ahead die while it holds leases."""
        self.orders_of_the_dead = [stage.new_id()[:8] for _ in range(2)]
        payloads = ({"order": each} for each in self.orders_of_the_dead)
        await stage.send(payloads, process="first-producer")
        ahead = await stage.start("ahead", charge, wrong_by_h=stage.options.hours)
        await self._until_begun(stage, "ahead", self.orders_of_the_dead)
        await stage.kill(ahead)

    async def _until_begun(self, stage: Stage, process: str, orders: list[str]) -> None:
        await stage.until(
            f"{process} is at the effects of {len(orders)} orders",
            lambda ledger: set(orders) <= ledger.noted(_BEGUN, process=process).keys(),
        )

    async def _until_tried(self, stage: Stage, process: str) -> None:
        def tried(ledger: Ledger) -> bool:
            events = ledger.of(Kind.NOTE, Kind.SKIPPED, process=process)
            return any(event.subject in self.orders for event in events)

        await stage.until(f"{process} has come for an effect that another is at", tried)


def live_leases_kept(ledger: Ledger) -> Verdict:
    """Nobody began a key while somebody else's lease of it lasted, by the right time."""
    held: dict[str, tuple[str, float]] = {}
    taken: list[str] = []
    begun = 0
    for event in ledger.of(Kind.NOTE):
        holder, ends_ms = held.get(event.subject, (event.process, 0.0))
        if event.text == _BEGUN:
            begun += 1
            left_ms = ends_ms - event.at_ms
            if holder != event.process and left_ms > _ROUNDING_MS:
                taken.append(
                    f"{event.process} took {event.subject} over from {holder}"
                    f" {left_ms / 1000:.1f} s before its lease was over"
                )
            held[event.subject] = (event.process, event.value)
        elif event.text == _EXTENDED and holder == event.process:
            held[event.subject] = (event.process, event.value)
        elif event.text == _GIVEN_BACK and holder == event.process:
            held.pop(event.subject, None)
    return Verdict(
        LIVE_LEASES_KEPT, not taken, "; ".join([f"{begun:,} leases", *sorted(taken)[:3]])
    )


def fenced(ledger: Ledger) -> Verdict:
    """Whoever completed a key was the last to begin it: the token of the others was too low."""
    holders: dict[str, str] = {}
    wrong: set[str] = set()
    completed = 0
    for event in ledger.of(Kind.NOTE):
        if event.text == _BEGUN:
            holders[event.subject] = event.process
        elif event.text == _COMPLETED:
            completed += 1
            if holders.get(event.subject) != event.process:
                wrong.add(f"{event.subject} by {event.process}")
    return Verdict(
        FENCED,
        not wrong,
        named(wrong, "completed by who was taken over") if wrong else f"{completed:,} completed",
    )


def kept_once(ledger: Ledger, ids: Collection[str]) -> Verdict:
    """Of what was sent twice to the FIFO queue, there was one message each."""
    messages = {(event.id, event.message) for event in ledger.of(Kind.RECEIVED, queue=_FIFO)}
    times = Counter(each for each, _ in messages)
    sent = sum(1 for event in ledger.of(Kind.SENT, queue=_FIFO))
    wrong = {each for each in ids if times[each] != 1}
    return Verdict(
        KEPT_ONCE,
        not wrong,
        f"{sent:,} sends, {times.total():,} messages"
        + (f"; {named(wrong, 'not delivered as one message')}" if wrong else ""),
    )


async def announce(lab: Program, *, orders: Sequence[str], wrong_by_h: float) -> None:
    """A sender on a machine whose clock is wrong. The deduplication id is the order."""
    clock = WrongClock(lab.clock, wrong_by_h * 3_600, steps=False)
    async with Producer(lab.client, lab.plan.queue_urls[_FIFO], clock=clock) as producer:
        for order in orders:
            body = json.dumps({"id": order, "order": order})
            await producer.publish_body(body, group_id=order, deduplication_id=order)


async def charge(
    lab: Program, *, concurrency: int = 4, wrong_by_h: float = 0.0, steps: bool = False
) -> None:
    """A worker that charges each order once, on a machine whose clock is wrong."""
    clock = WrongClock(lab.clock, wrong_by_h * 3_600, steps=steps)
    writer = await SharedWriter.open(lab.directory / "keys.sqlite3", durable=False)
    await writer.run(create_tables)
    guard = Guard(WatchedStore(writer, lab), clock=clock, wait_ms=0)
    router = Router()

    @router.default
    async def handle(received: Received[str]) -> None:
        order = json.loads(received.text)["order"]

        async def effect(attempt: Attempt) -> None:
            while not (lab.directory / _RELEASED).exists():
                await lab.clock.sleep(_LOOK_S)
            await lab.outside.perform("charge", order, key=attempt.key)

        outcome = await guard.run(order, effect, delivery=received)
        if isinstance(outcome, Elsewhere):
            lab.events.write(Kind.SKIPPED, subject=order, text="another is at it")
            raise Retry(min(outcome.remaining_s, _COME_BACK_S))

    # So that what it does not work on is left for the others.
    settings = WorkerSettings(
        concurrency=concurrency, pollers=1, batch=1, buffer_high=1, buffer_medium=1, buffer_low=1
    )
    queues = list(lab.plan.queue_urls.values())
    await lab.work(Worker(lab.client, queues, router, clock=clock, settings=settings))


class WrongClock:
    """The clock of a machine that shows a wrong time, and is set to and fro every second if told.

    The time that passes between two moments is right, as on every machine.
    """

    def __init__(self, right: Clock, wrong_by_s: float, *, steps: bool) -> None:
        self._right = right
        self._wrong_by_ms = round(wrong_by_s * 1000)
        self._steps = steps

    def wall_ms(self) -> int:
        back = self._steps and self.monotonic_ms() // 1000 % 2
        return self._right.wall_ms() + (-self._wrong_by_ms if back else self._wrong_by_ms)

    def monotonic_ms(self) -> int:
        return self._right.monotonic_ms()

    async def sleep(self, duration_s: float) -> None:
        await self._right.sleep(duration_s)


class WatchedStore(SqliteIdempotencyStore):
    """The store that all workers share, and what it says is written down with the right time."""

    def __init__(self, writer: SharedWriter, lab: Program) -> None:
        super().__init__(writer)
        self._lab = lab

    async def time_ms(self, clock: Clock) -> int:
        if self._lab.on("store-time"):
            return await super().time_ms(clock)
        return clock.wall_ms()

    async def begin(
        self, keys: tuple[str, ...], lease_ms: int, now_ms: int, digest: bytes | None = None
    ) -> Beginning:
        asked_ms = self._lab.clock.wall_ms()
        beginning = await super().begin(keys, lease_ms, now_ms, digest)
        if isinstance(beginning, Started):
            self._note(keys, _BEGUN, asked_ms + lease_ms)
        return beginning

    async def extend(self, keys: tuple[str, ...], token: int, lease_ms: int, now_ms: int) -> bool:
        asked_ms = self._lab.clock.wall_ms()
        extended = await super().extend(keys, token, lease_ms, now_ms)
        if extended:
            self._note(keys, _EXTENDED, asked_ms + lease_ms)
        return extended

    async def complete(
        self, keys: tuple[str, ...], token: int, result: bytes | None, now_ms: int
    ) -> bool:
        completed = await super().complete(keys, token, result, now_ms)
        if completed:
            self._note(keys, _COMPLETED)
        return completed

    async def abandon(
        self, keys: tuple[str, ...], token: int, now_ms: int, error: str | None = None
    ) -> bool:
        self._note(keys, _GIVEN_BACK)
        return await super().abandon(keys, token, now_ms, error)

    def _note(self, keys: tuple[str, ...], text: str, until_ms: int = 0) -> None:
        for key in keys:
            self._lab.events.write(Kind.NOTE, subject=key, text=text, value=until_ms)
