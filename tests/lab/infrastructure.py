"""Scenarios whose queues tests make and check: small ones, so that little is asked of a broker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from forebay.apps.verdicts import Verdict
from forebay.lab.ledger import Ledger
from forebay.lab.scenario import LabQueue, Protection, Scenario
from forebay.lab.stage import Stage


class Plain(Scenario):
    """A standard queue."""

    claim = "Nothing happens."
    protections: ClassVar[dict[str, Protection]] = {}

    async def setup(self, stage: Stage) -> None:
        pass

    async def fault(self, stage: Stage) -> None:
        pass

    def verdict(self, ledger: Ledger) -> Iterable[Verdict]:
        return ()


class Fifo(Plain):
    """A FIFO queue, and one without dead letters."""

    queues = (
        LabQueue(fifo=True, max_receive_count=5),
        LabQueue(name="second", dead_letters=False, attributes={"DelaySeconds": "3"}),
    )


SCENARIOS: dict[str, type[Scenario]] = {"happy": Plain, "fifo": Fifo}
