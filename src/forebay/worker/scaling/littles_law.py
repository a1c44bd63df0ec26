"""The default scaling policy: as much as an age objective needs, by Little's law.

What is at work at a time is what comes in a second times how long each takes (L = λ × W). That
holds for handlers and for receives alike, so pollers grow with the latency of a receive.
"""

from __future__ import annotations

from math import ceil, isfinite

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.number_settings import require_numbers
from forebay.worker.scaling.base import Load, Pool, ScalingInput, Steps, Target, known, stepped

#: What waits already is to be gone by the end of the objective; when less than this part of it is
#: left, or none, within this part.
_SHORTEST_DRAIN_FRACTION = 0.25

#: A pool that is used to this part is a bottleneck when work waits for it.
_BUSY = 0.9

#: A bottleneck whose need cannot be reckoned grows by this at a time.
_GROWTH = 2.0

#: A pool shrinks when it needs at most this part of what it has. What is between is left alone, so
#: that no pool goes up and down around what it needs.
_SHRINK_BELOW = 0.75


class LittlesLaw(Struct, frozen=True, kw_only=True):
    """Processors and pollers for the oldest visible message to be younger than the objective.

    The backlog is that of the whole queue: with several workers each is ready to drain it alone,
    within its own bounds. Raises SettingsError when a value is out of range.
    """

    #: No message is to wait longer than this, in seconds.
    age_objective_s: float = 5.0
    #: How many times what is needed on average there shall be, since nothing comes evenly.
    headroom: float = 1.25
    #: A target rises at most this many times at once, and by at least four.
    growth_max: float = 4.0
    #: Time from one step up to the next, in seconds.
    cooldown_up_s: float = 0.0
    #: Time from a change to a step down, in seconds. A step down is a tenth of the target.
    cooldown_down_s: float = 10.0

    def __post_init__(self) -> None:
        require_numbers(self)
        for name, value, low in (
            ("age_objective_s", self.age_objective_s, 0.1),
            ("headroom", self.headroom, 1.0),
            ("growth_max", self.growth_max, 1.0),
            ("cooldown_up_s", self.cooldown_up_s, 0.0),
            ("cooldown_down_s", self.cooldown_down_s, 0.0),
        ):
            if not low <= value < float("inf"):
                raise SettingsError(f"{name} is {value}; it must be at least {low:g}.")

    def processors(self, seen: ScalingInput) -> Target:
        pool, load = seen.processors, seen.load
        handling_ms = known(load.handling_ms)
        buffered = sum(load.buffered)
        saturated = buffered > 0 and pool.utilisation >= _BUSY
        if handling_ms is None:
            if saturated:
                return self._stepped(
                    pool,
                    pool.target * _GROWTH + 1,
                    "every place is taken and no handler has ended yet",
                )
            if not (buffered or pool.busy or load.visible):
                return self._stepped(pool, pool.least, "nothing waits and nothing runs")
            return self._stepped(pool, pool.target, "no handler has ended yet")
        rate = self._rate_per_s(load, buffered + (load.visible or 0))
        wanted = rate * handling_ms / 1000 * self.headroom
        reason = f"{rate:.0f} messages/s of {handling_ms:.3g} ms each are needed"
        if saturated and self._is_late(load) and wanted <= pool.target:
            wanted = pool.target * _GROWTH + 1
            reason = f"messages are {load.oldest_age_s:.1f} s old and every place is taken"
        return self._stepped(pool, wanted, reason)

    def pollers(self, seen: ScalingInput) -> Target:
        pool, load = seen.pollers, seen.load
        receive_ms = known(load.receive_ms)
        per_receive = max(1.0, known(load.messages_per_receive) or load.batch)
        if receive_ms is None:
            if load.visible == 0:
                return self._stepped(pool, pool.least, "nothing waits")
            return self._stepped(pool, pool.target, "no receive has brought a message yet")
        rate = self._rate_per_s(load, load.visible or 0)
        if handling_ms := known(load.handling_ms):
            # More than the processors can ever handle would only wait in the buffer.
            rate = min(rate, seen.processors.most * 1000 / handling_ms)
        wanted = rate / per_receive * receive_ms / 1000 * self.headroom
        reason = (
            f"{rate:.0f} messages/s are needed, {per_receive:.3g} a receive of {receive_ms:.3g} ms"
        )
        brought_until_then = pool.target * per_receive * load.interval_s * 1000 / (receive_ms or 1)
        if wanted <= pool.target and self._starves(seen, brought_until_then):
            wanted = pool.target * self.growth_max
            reason = f"{load.visible} messages are visible and places for them are free"
        return self._stepped(pool, wanted, reason)

    def poll_pause_ms(self, load: Load) -> int:  # noqa: ARG002 (a receive waits for room alone)
        return 0

    def _rate_per_s(self, load: Load, backlog: int) -> float:
        arriving = load.arrival_per_s
        if arriving is None or not isfinite(arriving):
            arriving = known(load.received_per_s) or 0.0
        # A count that was read anew may make it seem as if messages went back.
        arriving = max(0.0, arriving)
        shortest_s = self.age_objective_s * _SHORTEST_DRAIN_FRACTION
        left_s = max(self.age_objective_s - (known(load.oldest_age_s) or 0.0), shortest_s)
        return arriving + backlog / left_s

    def _is_late(self, load: Load) -> bool:
        """Whether half of the objective is over for the oldest message."""
        return (known(load.oldest_age_s) or 0.0) > self.age_objective_s / 2

    def _starves(self, seen: ScalingInput, brought_until_then: float) -> bool:
        """Whether handlers wait for pollers, and will until the next decision and beyond it."""
        return (
            (seen.load.visible or 0) > brought_until_then
            and seen.processors.utilisation < _BUSY
            and sum(seen.load.buffered) < seen.processors.target
        )

    def _stepped(self, pool: Pool, wanted: float, reason: str) -> Target:
        # A little less than a whole one is a rounding, not a need for one more.
        goal = max(pool.least, ceil(min(wanted, pool.most) - 1e-9))
        if pool.least < goal < pool.target and goal > pool.target * _SHRINK_BELOW:
            goal = pool.target
        steps = Steps(
            up=max(4, int(pool.target * (self.growth_max - 1))),
            down=max(1, pool.target // 10),
            cooldown_up_s=self.cooldown_up_s,
            cooldown_down_s=self.cooldown_down_s,
        )
        return stepped(pool, goal, reason, steps)
