"""Out-of-order processing: the newest version of everything wins, in whatever order they come."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.fault_injection import FaultRates
from forebay.idempotency import Elsewhere, Stale, Versions
from forebay.lab.events import Kind
from forebay.lab.ledger import Ledger
from forebay.lab.program import Program
from forebay.lab.scenario import BrokerSettings, LabQueue, Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import all_done, named
from forebay.worker import Received, Retry, Router, Worker, WorkerSettings

FINAL_STATE = "every entity ends in its newest state"
NEVER_BACK = "no entity ever goes back to an older state"
EVERY_VERSION = "every version was received"

#: The action at the service outside that sets an entity's state.
SET = "set"

#: How long an entity is held while a version of it is applied, in milliseconds. Nobody dies here,
#: and a lease that a slow machine outlasts would let two apply at once.
_LEASE_MS = 600_000

#: Where clocks stand that write times of another zone, in hours from UTC.
_ZONES_H = (-8, 0, 2, 9)


class OutOfOrder(Scenario):
    """Changes arrive in any order, some twice, and the newest state wins."""

    claim = (
        "Whatever order the changes of many entities arrive in, every entity ends in its newest"
        " state."
    )
    # Copies count as receives too, and none of these messages is poison.
    queues = (LabQueue(max_receive_count=20),)
    protections: ClassVar[Mapping[str, Protection]] = {
        "versions": Protection(
            "A change is applied only if it is newer than what was applied before. Without it each"
            " change is applied when it arrives.",
            breaks=FINAL_STATE,
            because="ended in an older state: ",
        )
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        entities: Annotated[int, Meta(ge=1, le=1_000, description="Entities that change.")] = 6
        versions: Annotated[int, Meta(ge=2, le=1_000, description="Changes of each entity.")] = 8
        duplicates: Annotated[
            int, Meta(ge=0, le=10_000, description="Old changes that are sent twice.")
        ] = 6
        consumers: Annotated[int, Meta(ge=1, le=50, description="Consumers at a time.")] = 3
        by: Annotated[
            Literal["version", "timestamp"],
            Meta(description="What tells newer from older: a version number, or a time."),
        ] = "version"

    def broker(self) -> BrokerSettings:
        return BrokerSettings(faults=FaultRates(duplicate=0.1, reorder=0.8))

    async def setup(self, stage: Stage) -> None:
        options = self.options
        self.changes = [
            change
            for number in range(1, options.entities + 1)
            for change in changes_of(f"account-{number}", options.versions, stage)
        ]
        for number in range(1, options.consumers + 1):
            await stage.start(f"consumer-{number}", apply_changes, by=options.by)

    async def fault(self, stage: Stage) -> None:
        first, rest = overtaken(self.changes, stage.random)
        stage.strike(f"{len(first)} changes are sent first, newest ones among them")
        await stage.send(first, process="producer-1")
        await stage.drained()
        older = [each for each in self.changes if each["version"] < self.options.versions]
        again = stage.random.choices(older, k=self.options.duplicates)
        late = rest + again
        stage.random.shuffle(late)
        stage.strike(f"{len(rest)} more follow, and {len(again)} come a second time")
        await stage.send(late, process="producer-2")
        await stage.drained()

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        received = ledger.receives().keys()
        missing = {change["id"] for change in self.changes} - received
        yield Verdict(EVERY_VERSION, not missing, named(missing, "changes never received"))
        newest = {change["entity"]: change["version"] for change in self.changes}
        applied = applied_by_entity(ledger)
        older = {
            f"{entity} at version {_last(applied, entity)} of {version}"
            for entity, version in newest.items()
            if _last(applied, entity) != version
        }
        skipped = len(ledger.of(Kind.SKIPPED))
        yield Verdict(
            FINAL_STATE,
            not older,
            named(older, "ended in an older state")
            if older
            else f"{len(newest)} entities; {sum(map(len, applied.values()))} changes were applied"
            f" and {skipped} were older and skipped",
        )
        back = {
            f"{entity} from {before} to {after}"
            for entity, versions in applied.items()
            for before, after in pairwise(versions)
            if after <= before
        }
        yield Verdict(NEVER_BACK, not back, named(back, "steps back"))


def changes_of(entity: str, versions: int, stage: Stage) -> list[dict[str, Any]]:
    """The changes of an entity from the oldest to the newest, as they are sent.

    Each has a version, and a time on the clock of whoever made it: later ones may read earlier as
    texts, since these clocks are in different zones.
    """
    at = datetime.fromtimestamp(stage.clock.wall_ms() / 1000, UTC)
    changes: list[dict[str, Any]] = []
    for version in range(1, versions + 1):
        at += timedelta(milliseconds=stage.random.randint(1, 5_000))
        zone = timezone(timedelta(hours=stage.random.choice(_ZONES_H)))
        changes.append(
            {
                "id": stage.new_id(),
                "entity": entity,
                "version": version,
                "changed_at": at.astimezone(zone).isoformat(timespec="milliseconds"),
                "balance": stage.random.randint(1, 1_000),
            }
        )
    return changes


def overtaken(
    changes: Sequence[dict[str, Any]], chance: random.Random
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The changes in any order, cut in two.

    The newest of one entity at least is in the first part, and an older one of it in the second.
    `changes` has those of each entity from the oldest to the newest.
    """
    mixed = list(changes)
    chance.shuffle(mixed)
    early = chance.choice(changes)["entity"]
    oldest, *_, newest = (change for change in changes if change["entity"] == early)
    mixed = [newest, *(each for each in mixed if each not in (oldest, newest)), oldest]
    half = max(1, len(mixed) // 2)
    first, rest = mixed[:half], mixed[half:]
    chance.shuffle(first)
    chance.shuffle(rest)
    return first, rest


def applied_by_entity(ledger: Ledger) -> dict[str, list[int]]:
    """The versions that the service outside was set to, in order, by entity."""
    applied: dict[str, list[int]] = {}
    for effect in ledger.effects_of(SET):
        version = msgspec.json.decode(effect.body, type=dict[str, Any])["version"]
        applied.setdefault(effect.subject, []).append(version)
    return applied


def _last(applied: Mapping[str, Sequence[int]], entity: str) -> int:
    return applied.get(entity, [0])[-1]


async def apply_changes(lab: Program, *, by: str) -> None:
    """A consumer that sets entities at the service outside, to the newest state that it knows."""
    store = await lab.store()
    versions = Versions(store, clock=lab.clock, lease_ms=_LEASE_MS)
    router = Router()

    @router.raw(dict[str, Any])
    async def apply(received: Received[dict[str, Any]]) -> None:
        change = received.payload
        entity, version = change["entity"], change["version"]

        async def set_state(*_: object) -> None:
            await lab.outside.perform(SET, entity, version=version, balance=change["balance"])
            lab.events.write(Kind.APPLIED, id=change["id"], subject=entity, value=version)

        if not lab.on("versions"):
            await set_state()
            return
        newness = version if by == "version" else change["changed_at"]
        outcome = await versions.apply_if_newer(entity, newness, set_state, delivery=received)
        if isinstance(outcome, Elsewhere):
            raise Retry(1.0)
        if isinstance(outcome, Stale):
            lab.events.write(
                Kind.SKIPPED, id=change["id"], subject=entity, value=version, text="older"
            )

    settings = WorkerSettings(concurrency=2, pollers=1, wait_s=1)
    await lab.work(Worker(lab.client, lab.queue_url, router, settings=settings, clock=lab.clock))
