"""How large each part of the usage benchmark is."""

from __future__ import annotations

from msgspec import Struct


class Sizes(Struct, kw_only=True):
    """What a run is told; the defaults are a whole run."""

    #: How long a case of `send` is measured, in seconds.
    send_seconds: float = 3.0
    #: How long each producer offers each load, in seconds.
    peer_seconds: float = 3.0
    #: The burst: logs a second together, for how long, from and into how many processes.
    burst_per_second: int = 746_374
    burst_seconds: float = 10.0
    burst_producers: int = 3
    burst_writers: int = 2
    #: Room in the buffer of each producer: four seconds of the burst. The document's stress profile
    #: has 100,000.
    burst_buffer: int = 1_000_000
    #: How long the runs are that are only metered, in seconds.
    cost_seconds: float = 5.0
    #: How long the memory is watched, in seconds.
    memory_seconds: float = 60.0
    #: How often the writer and the broker are killed.
    writer_kills: int = 50
    broker_kills: int = 10
    #: How long logs are offered in the run with an outage, in seconds, and where it is drawn: an
    #: .svg or a page.
    outage_seconds: float = 30.0
    plot: str | None = None
