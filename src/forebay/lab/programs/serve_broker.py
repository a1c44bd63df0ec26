"""The lab's own broker, as a process of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from forebay.apps import process
from forebay.broker.bootstrap import DeclaredQueue
from forebay.broker.journal.base import Durability
from forebay.broker.running import running_broker
from forebay.fault_injection import SeededFaults
from forebay.lab.scenario import BrokerSettings


class BrokerPlan(Struct, frozen=True, kw_only=True):
    """How to run it."""

    port: int
    data: Path
    settings: BrokerSettings
    time_scale: float
    seed: int
    region: str
    queues: Sequence[DeclaredQueue]


def run_broker(plan: BrokerPlan) -> None:
    """In a process of its own: serve until SIGTERM."""
    process.run(_serve(plan))


async def _serve(plan: BrokerPlan) -> None:
    stopped = asyncio.Event()
    process.on_stop_signal(stopped.set)
    rates, durability = plan.settings.faults, plan.settings.durability
    async with running_broker(
        None if durability is Durability.MEMORY else plan.data,
        durability,
        port=plan.port,
        faults=SeededFaults(replace(rates, seed=plan.seed)) if rates else None,
        time_scale=plan.time_scale,
        region=plan.region,
        declared=plan.queues,
    ):
        await stopped.wait()
