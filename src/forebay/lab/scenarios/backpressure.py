"""Backpressure: a flood, consumers that are added until they keep up, and taken away after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from forebay.apps.verdicts import Verdict
from forebay.errors import SettingsError
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.processes import Process
from forebay.lab.scenario import Protection, Scenario, ScenarioOptions, Speed
from forebay.lab.stage import Stage
from forebay.lab.verdicts import all_done, effects_once

GREW = "the flood is more than one consumer can do"
CAUGHT_UP = "the depth comes back while the flood goes on"
COMPLETED = "all that was produced was completed"
CAPPED = "there are never more consumers than allowed"
SCALED_IN = "one consumer is left when the flood is over"

#: Depth from which a consumer is added, and looks in a row below it after which the consumers have
#: caught up. Source: document 001's scenario.
DEPTH = 10
CALM_LOOKS = 3

#: How long each effect takes, in seconds. Source: as above.
_WORK_S = 1.0

#: Messages after which the producer begins again, with new ids.
_PAYLOADS = 100


class Look(Struct, frozen=True):
    """What was seen at one look at the queue, and by how many consumers."""

    visible: int
    in_flight: int
    consumers: int


def wanted(look: Look, most: int, *, flooded: bool) -> int:
    """How many consumers there should be after a look at the queue.

    One more while the backlog is deep, `most` at most. One less once the flood is over and there
    is less to do than they are, one at least.
    """
    if look.visible >= DEPTH:
        return min(most, look.consumers + 1)
    if not flooded and look.visible + look.in_flight < look.consumers:
        return max(1, look.consumers - 1)
    return look.consumers


class Backpressure(Scenario):
    """A producer floods the queue, and consumers are added until they keep up with it."""

    speed = Speed.SLOW
    claim = (
        "A backlog that grows is brought back by more consumers, nothing of it is lost, and they"
        " are taken away when it is over."
    )
    protections: ClassVar[Mapping[str, Protection]] = {
        "scaling": Protection(
            "A consumer is added at each look that finds the queue deep. Without it there is one"
            " consumer, whatever comes.",
            breaks=CAUGHT_UP,
            because=r"\d+ visible after \d+ s with 1 consumer\b",
        )
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        rate: Annotated[
            float, Meta(gt=1, le=1_000, description="Messages that are produced in a second.")
        ] = 5.0
        batch_size: Annotated[
            int, Meta(ge=1, le=10, description="Messages that are sent in one request.")
        ] = 10
        poll_interval: Annotated[
            float, Meta(ge=1, le=600, description="Seconds between two looks at the queue's depth.")
        ] = 5.0
        consumers_max: Annotated[
            int, Meta(ge=2, le=100, description="Most consumers at a time.")
        ] = 20
        time_limit: Annotated[
            float, Meta(ge=10, le=86_400, description="Seconds in which the depth must come back.")
        ] = 200.0

        def check(self) -> None:
            least_s = (CALM_LOOKS + 1) * self.poll_interval
            if self.time_limit < least_s:
                raise SettingsError(
                    f"--time-limit {self.time_limit:g} of backpressure: it must be at least"
                    f" {least_s:g}, which is {CALM_LOOKS + 1} times --poll-interval."
                )

    async def setup(self, stage: Stage) -> None:
        self.looks: list[Look] = []
        self.consumers: list[Process] = []
        self.caught_up = False
        await self._scale(stage, 1)

    async def fault(self, stage: Stage) -> None:
        options = self.options
        most = options.consumers_max if self.on("scaling") else 1
        stage.strike(f"the flood begins: {options.rate:g} messages a second")
        producer = await stage.start_producer(
            [{"work": stage.random.randint(1, 1000)} for _ in range(_PAYLOADS)],
            rate=options.rate,
            batch=options.batch_size,
            endless=True,
        )
        began_ms = stage.clock.monotonic_ms()
        limit_ms = began_ms + options.time_limit * 1000
        while not self.caught_up and stage.clock.monotonic_ms() < limit_ms:
            await self._look(stage, most, flooded=True)
            self.caught_up = caught_up(self.looks)
        self.took_s = (stage.clock.monotonic_ms() - began_ms) / 1000
        self.equilibrium = self.looks[-1]
        await stage.terminate(producer)
        if self.caught_up:
            await stage.drained()
            while len(self.consumers) > 1:
                await self._look(stage, most, flooded=False)

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        sent = {event.identity for event in ledger.of(Kind.SENT)}
        yield effects_once(ledger, sent)
        books = ledger.queue()
        yield Verdict(
            COMPLETED,
            books.done == books.sent,
            f"{books.sent:,} produced, {books.done:,} completed",
        )
        depths = [event.value for event in ledger.of(Kind.DEPTH) if event.subject == "visible"]
        peak = max([*depths, *(look.visible for look in self.looks)])
        yield Verdict(GREW, peak >= DEPTH, f"{peak:,.0f} visible at the peak")
        there = self.equilibrium
        consumers = f"{there.consumers} consumer{'s' if there.consumers > 1 else ''}"
        yield Verdict(
            CAUGHT_UP,
            self.caught_up,
            f"{there.visible:,} visible after {self.took_s:.0f} s with {consumers}, after"
            f" {peak:,.0f} at the peak",
        )
        at_work = max(look.consumers for look in self.looks)
        yield Verdict(
            CAPPED,
            at_work <= self.options.consumers_max,
            f"{at_work} at most, of {self.options.consumers_max} allowed",
        )
        yield Verdict(SCALED_IN, len(self.consumers) == 1, f"{len(self.consumers)} left")

    async def _look(self, stage: Stage, most: int, *, flooded: bool) -> None:
        """Wait for the next look at the queue, and scale by it."""
        await stage.sleep(self.options.poll_interval)
        reading = (await stage.look()).readings[""]
        self.consumers = [each for each in self.consumers if each.runs]
        look = Look(reading.visible + reading.delayed, reading.in_flight, len(self.consumers))
        self.looks.append(look)
        await self._scale(stage, wanted(look, most, flooded=flooded))

    async def _scale(self, stage: Stage, count: int) -> None:
        """Start or stop consumers until there are so many."""
        while len(self.consumers) > count:
            await stage.terminate(self.consumers.pop())
        while len(self.consumers) < count:
            name = f"consumer-{len(self.consumers) + 1}"
            stage.strike(f"{name} is added")
            self.consumers.append(
                await stage.consume(name, WAIT_TIME_SECONDS=2, SIDE_EFFECT_DELAY_SECONDS=_WORK_S)
            )


def caught_up(looks: Sequence[Look]) -> bool:
    """Whether the queue was deep once, and was not at the last looks."""
    last = looks[-CALM_LOOKS:]
    return (
        any(look.visible >= DEPTH for look in looks)
        and len(last) == CALM_LOOKS
        and all(look.visible < DEPTH for look in last)
    )
