"""The broker dies while producers send and workers work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.broker.journal.base import Durability
from forebay.lab.ledger import Ledger
from forebay.lab.processes import Process
from forebay.lab.programs.work import work
from forebay.lab.scenario import (
    BrokerSettings,
    LabQueue,
    Protection,
    Scenario,
    ScenarioOptions,
)
from forebay.lab.stage import Stage
from forebay.lab.verdicts import (
    ALL_SENT,
    NOTHING_LOST,
    all_sent,
    balanced,
    drained,
    effects_once,
    no_dead_letters,
)

#: Visible messages at the first crash, at least: nobody has them but the broker.
_BACKLOG_MIN = 10

#: Messages of a producer that begins while the broker is away.
_LATE = 10

#: The shortest and the longest time that the broker is away, in seconds, beside what it takes to
#: start.
_AWAY_S = (2.0, 4.0)

#: How long it is waited for everything to be sent, and then to be done, in seconds.
_PATIENCE_S = 1_800


class BrokerCrash(Scenario):
    """The broker is killed and started again while producers send and workers work."""

    claim = (
        "What the broker has acknowledged outlives it, and producers and workers go on when it is"
        " back: everything that was to be sent is done, with one effect each."
    )
    # A message in hand may come back at every crash.
    queues = (LabQueue(max_receive_count=30),)
    protections: ClassVar[Mapping[str, Protection]] = {
        "durability": Protection(
            "The broker writes a message to its journal before it acknowledges it. Without it the"
            " broker keeps messages in memory (`--durability memory`).",
            breaks=NOTHING_LOST,
            because="sent, deleted by nobody, and gone",
        ),
        "retry": Protection(
            "A producer makes a call again that was not answered. Without it the messages of that"
            " call are not sent.",
            breaks=ALL_SENT,
            because="never acknowledged",
        ),
    }
    own_broker_only = "nobody can kill Amazon SQS, or a broker that is not the lab's."

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[int, Meta(ge=60, le=5_000, description="messages to send")] = 100
        rate: Annotated[float, Meta(ge=20, le=1_000, description="messages sent in a second")] = (
            30.0
        )
        crashes: Annotated[int, Meta(ge=1, le=20, description="times that the broker dies")] = 3

    def broker(self) -> BrokerSettings:
        durability = Durability.OS if self.on("durability") else Durability.MEMORY
        return BrokerSettings(durability=durability)

    async def setup(self, stage: Stage) -> None:
        self.ids = [stage.new_id() for _ in range(stage.options.count)]
        for number in (1, 2):
            await stage.start(f"worker-{number}", work, slow_s=1.0, concurrency=4)
        early = self.ids[:-_LATE]
        self.producers = [
            await self._producer(stage, "producer-1", early[::2], stage.options.rate / 2),
            await self._producer(stage, "producer-2", early[1::2], stage.options.rate / 2),
        ]

    async def fault(self, stage: Stage) -> None:
        await stage.until(
            "messages wait in the broker",
            lambda ledger: ledger.readings[""].visible >= _BACKLOG_MIN,
        )
        await self._crash(stage, late=self.ids[-_LATE:])
        for number in range(1, stage.options.crashes):
            share = (number + stage.random.random()) / stage.options.crashes
            await self._until_sent(stage, round(stage.options.count * share))
            await self._crash(stage)
        for producer in self.producers:
            await stage.ended(producer, _PATIENCE_S)
        await stage.drained(timeout_s=_PATIENCE_S)

    async def _until_sent(self, stage: Stage, count: int) -> None:
        await stage.until(
            f"{count:,} messages are sent, or no more come",
            lambda ledger: ledger.sent >= count or not any(each.runs for each in self.producers),
        )

    async def _crash(self, stage: Stage, late: Sequence[str] = ()) -> None:
        """Kill the broker, and start it again. A producer begins with `late` while it is away."""
        assert stage.broker is not None
        stage.strike("the broker is killed")
        await stage.broker.kill()
        if late:
            producer = await self._producer(stage, "producer-3", late)
            self.producers.append(producer)
            if not stage.on("retry"):
                # It has made its only attempt before there is a broker again.
                await producer.wait(_PATIENCE_S)
        await stage.sleep(stage.random.uniform(*_AWAY_S))
        stage.strike("the broker is started again")
        await stage.broker.start()

    async def _producer(
        self, stage: Stage, name: str, ids: Sequence[str], rate: float = 0.0
    ) -> Process:
        return await stage.start_producer(
            [{"id": each} for each in ids],
            rate=rate,
            batch=5,
            process=name,
            retries=stage.on("retry"),
        )

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from balanced(ledger)
        yield all_sent(ledger, self.ids)
        yield drained(ledger)
        yield no_dead_letters(ledger)
        yield effects_once(ledger, self.ids)
