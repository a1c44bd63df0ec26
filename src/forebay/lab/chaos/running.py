"""A proxy that runs until it is told to stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from forebay.broker.faults import FaultySubmit
from forebay.broker.origins import Origins
from forebay.clock import Clock
from forebay.fault_injection import FaultRates, SeededFaults
from forebay.lab.chaos.forwarder import Forwarder
from forebay.lab.chaos.ledger import ChaosLedger
from forebay.lab.chaos.proxy import ChaosProxy


class ChaosSettings(Struct, frozen=True, kw_only=True):
    """What a proxy stands in front of, where it listens and what goes wrong."""

    endpoint_url: str
    rates: FaultRates
    host: str = "127.0.0.1"
    #: 0 takes a free one.
    port: int = 0
    #: Of the service; that of each client's signature, or of the endpoint's name, unless given.
    region: str | None = None
    allow_host: tuple[str, ...] = ()


@asynccontextmanager
async def running_proxy(
    settings: ChaosSettings, clock: Clock, ledger: ChaosLedger
) -> AsyncIterator[ChaosProxy]:
    """A proxy that listens until the block ends. The ledger hears of every call.

    `clock` tells the time of the queues. Raises SettingsError, and what `Listener.start` raises.
    """
    forwarder = Forwarder(settings.endpoint_url, clock, region=settings.region)
    origins = Origins(hosts=settings.allow_host)
    faults = FaultySubmit(forwarder.submit, SeededFaults(settings.rates), clock, ledger)
    proxy = ChaosProxy(forwarder, faults, origins=origins)
    await proxy.start(settings.host, settings.port)
    try:
        yield proxy
    finally:
        await proxy.stop()
