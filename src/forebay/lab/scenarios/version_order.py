"""Version order: one entity, its versions in any order, and only newer ones applied."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from forebay.apps.verdicts import Verdict
from forebay.lab.ledger import Ledger
from forebay.lab.scenario import Protection, Scenario, ScenarioOptions
from forebay.lab.stage import Stage
from forebay.lab.verdicts import all_done, rising

RISING = "the applied versions only rise"
NEWEST = "the newest version is applied last"
ALL_SEEN = "every version was seen"

ENTITY = "acct-1"

#: Files in the run's directory: the newest version, those that were applied, those that were seen.
STATE, APPLIED, SEEN = "versions.sqlite3", "applied.log", "seen.log"


class VersionOrder(Scenario):
    """Versions of one entity arrive in any order, and only newer ones are applied."""

    claim = (
        "A standard queue may deliver the versions of an entity in any order: those that are"
        " applied only rise, and the newest is the last."
    )
    protections: ClassVar[Mapping[str, Protection]] = {
        "versions": Protection(
            "A version is applied only if it is newer than the entity's, by one consumer at a"
            " time. Without it each version is applied when it arrives.",
            breaks=RISING,
            because=r"version \d+ was applied after version \d+",
        )
    }

    class Options(ScenarioOptions, frozen=True, kw_only=True):
        count: Annotated[int, Meta(ge=2, le=10_000, description="Versions of the entity.")] = 10
        consumers: Annotated[
            int, Meta(ge=1, le=50, description="Consumers, all started before the versions.")
        ] = 5

    async def setup(self, stage: Stage) -> None:
        for number in range(1, self.options.consumers + 1):
            await stage.consume(
                f"consumer-{number}",
                WAIT_TIME_SECONDS=2,
                VERSIONING_ENABLED=1,
                VERSION_STATE_PATH=stage.directory / STATE,
                VERSION_LOG_PATH=stage.directory / APPLIED,
                VERSION_SEEN_LOG_PATH=stage.directory / SEEN,
            )

    async def fault(self, stage: Stage) -> None:
        first, rest = disordered(self.options.count, stage.random)
        stage.strike(f"versions {_listed(first)} are sent")
        await stage.send(_messages(first), process="producer-1")
        await stage.drained()
        stage.strike(f"versions {_listed(rest)} are sent")
        await stage.send(_messages(rest), process="producer-2")
        await stage.drained()
        self.applied = _lines(stage.directory / APPLIED)
        self.seen = set(_lines(stage.directory / SEEN))

    def verdict(self, ledger: Ledger) -> Iterator[Verdict]:
        yield from all_done(ledger)
        wanted = set(range(1, self.options.count + 1))
        missing = sorted(wanted - self.seen)
        yield Verdict(
            ALL_SEEN,
            not missing,
            f"never seen: {_listed(missing)}" if missing else f"{len(wanted)} versions",
        )
        yield rising(RISING, "version", self.applied)
        last = self.applied[-1] if self.applied else 0
        yield Verdict(
            NEWEST, last == self.options.count, f"version {last} of {self.options.count} is last"
        )


def disordered(count: int, chance: random.Random) -> tuple[list[int], list[int]]:
    """Versions 1 to `count` in any order, cut in two.

    One at least of the second part is older than one of the first.
    """
    versions = list(range(1, count + 1))
    half = count // 2
    while max(versions[:half]) < min(versions[half:]):
        chance.shuffle(versions)
    return versions[:half], versions[half:]


def _messages(versions: Sequence[int]) -> list[dict[str, object]]:
    return [{"entity_id": ENTITY, "version": version} for version in versions]


def _lines(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def _listed(versions: Sequence[int]) -> str:
    return ", ".join(map(str, versions))
