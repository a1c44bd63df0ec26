"""The scaling rules of source document 002, a consumer of queues of three priorities.

Its formulas are kept and its slips are not: room in the buffer is counted in messages, not as a sum
of fractions; every class can show that processors are needed, not the high one alone; and a full
buffer never makes the pollers more.
"""

from __future__ import annotations

from math import ceil

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.number_settings import require_numbers
from forebay.worker.scaling.base import Load, ScalingInput, Steps, Target, known, stepped

#: A buffer used to this part makes pollers fewer. The document says above 0.9 and gives 10 pollers
#: of 100 at 90% as its example; both hold when 0.9 itself counts.
FULL = 0.9

#: A handler counts as taking at least this long, also when nothing is known of it, in milliseconds.
HANDLING_MIN_MS = 100.0

#: How long a poller waits while the buffer is full, in milliseconds.
PAUSE_WHEN_FULL_MS = 500

_POLLER_STEPS = Steps(up=3, down=1, cooldown_up_s=5.0, cooldown_down_s=10.0)
_PROCESSOR_STEPS = Steps(up=1, down=1)


class Document002(Struct, frozen=True, kw_only=True):
    """Document 002's formulas. It decides every five seconds (`scale_interval_s`)."""

    #: Processors grow when a channel's usage and their own utilisation are above this, and shrink
    #: when their utilisation is below half of it.
    threshold: float = 0.7

    def __post_init__(self) -> None:
        require_numbers(self)
        if not 0 < self.threshold <= 1:
            raise SettingsError(f"threshold is {self.threshold}; it must be above 0, at most 1.")

    def pollers(self, seen: ScalingInput) -> Target:
        pool, load = seen.pollers, seen.load
        if load.buffer_usage >= FULL:
            wanted = min(pool.target, pollers_wanted(load, pool.least, pool.most))
            reason = f"the buffer is {load.buffer_usage:.0%} full"
        elif load.visible is None and load.in_flight is None:
            wanted, reason = pool.target, "nothing is known of the queues yet"
        else:
            wanted = pollers_wanted(load, pool.least, pool.most)
            queued = (load.visible or 0) + (load.in_flight or 0)
            reason = f"{queued} messages are queued or in flight"
        return stepped(pool, wanted, reason, _POLLER_STEPS)

    def processors(self, seen: ScalingInput) -> Target:
        pool, load = seen.processors, seen.load
        utilisation = pool.utilisation
        pressure = max(load.channel_usages)
        wanted, reason = pool.target, f"{utilisation:.0%} of the processors are busy"
        if utilisation > self.threshold and pressure > self.threshold:
            wanted += 1
            reason += f" and a channel is {pressure:.0%} full"
        elif utilisation < self.threshold / 2:
            wanted -= 1
        return stepped(pool, wanted, reason, _PROCESSOR_STEPS)

    def poll_pause_ms(self, load: Load) -> int:
        return PAUSE_WHEN_FULL_MS if load.buffer_usage >= FULL else 0


def pollers_wanted(load: Load, least: int, most: int) -> int:
    """The document's formula, before steps and cooldowns."""
    if load.buffer_usage >= FULL:
        # The document's code truncates and so makes 9 of its own example of 10.
        return max(least, round(most * (1 - load.buffer_usage)))
    queued = (load.visible or 0) + (load.in_flight or 0)
    if queued == 0:
        return least
    handling_ms = max(known(load.handling_ms) or 0.0, HANDLING_MIN_MS)
    interval_ms = (known(load.interval_s) or 5.0) * 1000
    # Not by the document's quotients of quotients, which a float cannot always hold.
    wanted = min(queued, load.buffer_room) * handling_ms / interval_ms
    return max(ceil(min(wanted, most)), least)
