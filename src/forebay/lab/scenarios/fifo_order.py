"""FIFO order: one message group, several consumers, and a death among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.processes import Process
from forebay.lab.programs.send import Outgoing
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import all_done, effects_once, rising

IN_ORDER = "the effects are in the order in which the messages were sent"
LOG_IN_ORDER = "the log has every message, in the order in which they were sent"

#: The one message group.
GROUP = "tenant-1"

#: A dead consumer costs a receive, and a slow machine may cost another; none of these messages is
#: poison.
_RECEIVES = 5

#: How long the first message's effect takes at the consumer that dies of it, in seconds.
_FOR_EVER_S = 3_600


class FifoOrder(Scenario):
    """Several consumers share one message group, and its messages are still applied in order."""

    claim = (
        "The messages of one group of a FIFO queue are applied in the order in which they were"
        " sent, by however many consumers, even when one dies with a message in its hands."
    )
    queues = (LabQueue(fifo=True, max_receive_count=_RECEIVES),)
    protections: ClassVar[Mapping[str, Protection]] = {
        "fifo": Protection(
            "The queue is FIFO and the messages are of one group. Without it the queue is a"
            " standard one, which hands out the next message while the first is being worked on.",
            breaks=IN_ORDER,
            because=r"message \d+ was applied after message \d+",
        )
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[int, Meta(ge=2, le=10_000, description="Messages in the group.")] = 10
        consumers: Annotated[
            int, Meta(ge=2, le=50, description="Consumers, started before the rest is sent.")
        ] = 5
        hold: Annotated[
            float,
            Meta(ge=0, le=600, description="Seconds that the first message is held before a kill."),
        ] = 5.0

    def wanted_queues(self) -> Sequence[LabQueue]:
        if self.on("fifo"):
            return self.queues
        return (LabQueue(max_receive_count=_RECEIVES),)

    async def setup(self, stage: Stage) -> None:
        group = GROUP if self.on("fifo") else None
        self.messages = [
            Outgoing(body={"id": stage.new_id(), "sequence": number}, group_id=group)
            for number in range(1, self.options.count + 1)
        ]
        self.log_path = stage.directory / "order.log"
        self.doomed = await self._consume(stage, 1, delay_s=_FOR_EVER_S)

    async def fault(self, stage: Stage) -> None:
        first, *rest = self.messages
        await stage.send([first], process="producer-1")
        await stage.until(
            "consumer-1 has the first message", lambda ledger: bool(ledger.of(Kind.RECEIVED))
        )
        for number in range(2, self.options.consumers + 1):
            await self._consume(stage, number)
        await stage.send(rest, process="producer-2")
        stage.strike(f"{self.options.consumers - 1} others would take what comes after it")
        held_until_ms = stage.clock.monotonic_ms() + self.options.hold * 1000
        await stage.until(
            "a message has overtaken the first, or it was held for long enough",
            lambda ledger: (
                bool(ledger.effects)
                or (self.on("fifo") and stage.clock.monotonic_ms() >= held_until_ms)
            ),
            timeout_s=self.options.hold + 300,
        )
        await stage.kill(self.doomed)
        await stage.drained()
        self.log = [int(line) for line in self.log_path.read_text().split()]

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        sequences = {message.body["id"]: message.body["sequence"] for message in self.messages}
        yield effects_once(ledger, sequences.keys())
        applied = [sequences[effect.subject] for effect in ledger.effects]
        yield rising(IN_ORDER, "message", applied)
        yield Verdict(
            LOG_IN_ORDER,
            self.log == list(range(1, self.options.count + 1)),
            " ".join(map(str, self.log)),
        )

    async def _consume(self, stage: Stage, number: int, *, delay_s: float = 0.0) -> Process:
        return await stage.consume(
            f"consumer-{number}",
            WAIT_TIME_SECONDS=2,
            SIDE_EFFECT_DELAY_SECONDS=delay_s,
            SIDE_EFFECT_LOG_PATH=self.log_path,
        )
