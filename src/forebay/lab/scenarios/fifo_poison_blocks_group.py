"""A message that can never be done is at the head of a message group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.program import Program
from forebay.lab.programs.send import Outgoing
from forebay.lab.scenario import LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import balanced, effects_once, named, poison_set_aside
from forebay.worker import Received, Reject, Router, Worker, WorkerSettings

_VISIBILITY_S = 30
_RECEIVES_MAX = 3

#: The group whose first message the handler knows to be wrong for good, and the one whose first
#: message it fails on without knowing why.
_REJECTED = "rejected"
_FAILING = "failing"

#: What the service outside does for a message.
_EFFECT = "book"

REJECTED_ONCE = "a message that can never be done is received once"
GOES_ON = "every group goes on, in its order"
IN_TIME = "the message behind a rejected one is done within a visibility timeout"


class FifoPoisonBlocksGroup(Scenario):
    """A message that can never be done is the first of a FIFO group, and the others go on."""

    claim = (
        "Poison at the head of a message group holds up its own group only, and not for long: it"
        " goes to the dead-letter queue, and the messages behind it are done in their order."
    )
    queues = (LabQueue(fifo=True, visibility_s=_VISIBILITY_S, max_receive_count=_RECEIVES_MAX),)
    protections: ClassVar[Mapping[str, Protection]] = {
        "reject": Protection(
            "The handler raises Reject for what can never be done, which goes to the dead-letter"
            " queue at once. Without it that fails like anything else: it is received again until"
            " maxReceiveCount, and its group waits all the while.",
            breaks=REJECTED_ONCE,
            because=rf"received {_RECEIVES_MAX} times",
        ),
        "dead-letter-queue": Protection(
            "The queue has a dead-letter queue. Without one the poison comes back for as long as"
            " the queue keeps messages, and its group is blocked until then.",
            breaks=GOES_ON,
            because=rf"{_FAILING}: 0 of ",
        ),
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[int, Meta(ge=2, le=20, description="messages of each group")] = 5
        groups: Annotated[int, Meta(ge=1, le=20, description="message groups without poison")] = 4

    def wanted_queues(self) -> Sequence[LabQueue]:
        if self.on("dead-letter-queue"):
            return self.queues
        return (LabQueue(fifo=True, visibility_s=_VISIBILITY_S, dead_letters=False),)

    async def setup(self, stage: Stage) -> None:
        names = [_REJECTED, _FAILING, *(f"group-{n + 1}" for n in range(stage.options.groups))]
        self.groups = {name: [stage.new_id() for _ in range(stage.options.count)] for name in names}
        self.poison = {name: self.groups[name][0] for name in (_REJECTED, _FAILING)}
        self.good = {
            name: [each for each in ids if each not in self.poison.values()]
            for name, ids in self.groups.items()
        }
        order = [name for name in names for _ in range(stage.options.count)]
        stage.random.shuffle(order)
        left = {name: iter(ids) for name, ids in self.groups.items()}
        await stage.send(self._message(name, next(left[name])) for name in order)

    def _message(self, group: str, message: str) -> Outgoing:
        body: dict[str, Any] = {"id": message, "group": group}
        if self.poison.get(group) == message:
            body["poison"] = group
        return Outgoing(body=body, group_id=group)

    async def fault(self, stage: Stage) -> None:
        worker = await stage.start("worker-1", book)
        if stage.on("dead-letter-queue"):
            await stage.drained()
            return
        others = {
            each for name, ids in self.good.items() if name not in self.poison for each in ids
        }
        await stage.until(
            "the other groups are done and the poison has come back several times",
            lambda ledger: (
                others <= ledger.effects_by_subject().keys()
                and all(ledger.receives()[each] > _RECEIVES_MAX for each in self.poison.values())
            ),
        )
        await stage.terminate(worker)
        await stage.until("nothing is hidden", lambda ledger: not ledger.in_flight)

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from balanced(ledger)
        yield poison_set_aside(ledger, self.poison.values())
        yield effects_once(ledger, [each for ids in self.good.values() for each in ids])
        yield self._goes_on(ledger)
        yield self._rejected_once(ledger)
        yield self._in_time(ledger)

    def _goes_on(self, ledger: Ledger) -> Verdict:
        done = [effect.subject for effect in ledger.effects]
        orders = {name: [each for each in done if each in ids] for name, ids in self.good.items()}
        wrong = {name for name, ids in self.good.items() if orders[name] != ids}
        said = "; ".join(
            f"{name}: {len(orders[name]):,} of {len(self.good[name]):,}"
            for name in sorted({*self.poison, *wrong})
        )
        disorder = {name for name in wrong if len(orders[name]) == len(self.good[name])}
        return Verdict(
            GOES_ON,
            not wrong,
            f"done behind the poison of {said}"
            + (f"; {named(disorder, 'out of order')}" if disorder else ""),
        )

    def _rejected_once(self, ledger: Ledger) -> Verdict:
        receives = ledger.receives()
        rejected, failing = (receives[self.poison[name]] for name in (_REJECTED, _FAILING))
        return Verdict(
            REJECTED_ONCE,
            rejected == 1,
            f"received {'once' if rejected == 1 else f'{rejected:,} times'}; what failed without a"
            f" known reason was received {failing:,} times",
        )

    def _in_time(self, ledger: Ledger) -> Verdict:
        head, behind = self.groups[_REJECTED][:2]
        began_ms = next(event.at_ms for event in ledger.of(Kind.RECEIVED) if event.identity == head)
        done_ms = [effect.at_ms for effect in ledger.effects if effect.subject == behind]
        if not done_ms:
            return Verdict(IN_TIME, False, "it was not done")
        wait_s = (done_ms[0] - began_ms) / 1000
        return Verdict(
            IN_TIME,
            wait_s < _VISIBILITY_S,
            f"{wait_s:.1f} s after the receive of the rejected one",
        )


async def book(lab: Program) -> None:
    """Ask for an effect for each message, but for those that are poison."""
    router = Router()

    @router.default
    async def handle(received: Received[str]) -> None:
        payload = msgspec.json.decode(received.text)
        if payload.get("poison") == _REJECTED and lab.on("reject"):
            raise Reject("The payload is marked as poison.")
        if "poison" in payload:
            raise ValueError("The payload cannot be worked with.")
        await lab.outside.perform(_EFFECT, payload["id"], key=payload["id"])

    settings = WorkerSettings(backoff_max_s=1.0)
    await lab.work(Worker(lab.client, lab.queue_url, router, settings=settings, clock=lab.clock))
