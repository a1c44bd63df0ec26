"""A clock whose hours pass faster, for programs beside a broker that runs with --time-scale."""

from __future__ import annotations

import math
from collections.abc import Mapping

from forebay.clock import Clock, SystemClock
from forebay.errors import SettingsError

#: How much faster than the machine's clock a program's time runs: the broker's own variable.
SCALE_VARIABLE = "FOREBAY_TIME_SCALE"

#: When the scaled time and the machine's are the same, in milliseconds since the Unix epoch.
ORIGIN_VARIABLE = "FOREBAY_TIME_ORIGIN_MS"

#: The least and the greatest scale, as of `forebay serve --time-scale`.
SCALE_MIN, SCALE_MAX = 0.001, 100_000.0

#: Where programs begin to count that are told a scale and no origin: 1 January 2026. It is one for
#: all of them, because a lease that one writes into a shared table must end at the same time for
#: the others.
ORIGIN_MS_DEFAULT = 1_767_225_600_000


class ScaledClock:
    """A clock that runs `scale` times as fast as the machine's, or as the one given as `real`.

    At `origin_ms`, in milliseconds since the Unix epoch, both show the same time; None is the
    moment at which this clock is made. Clocks in several processes agree if they have the same
    scale and origin. Raises SettingsError for a scale that is out of range.
    """

    def __init__(
        self, scale: float, origin_ms: int | None = None, *, real: Clock | None = None
    ) -> None:
        if not SCALE_MIN <= scale <= SCALE_MAX:
            raise SettingsError(f"The time scale is {scale:g}; it must be {_REACH}.")
        self.scale = scale
        self._real = real or SystemClock()
        self.origin_ms = self._real.wall_ms() if origin_ms is None else origin_ms

    def wall_ms(self) -> int:
        return self.time_of(self._real.wall_ms())

    def time_of(self, real_ms: int) -> int:
        """What this clock shows at a real time, both in milliseconds since the Unix epoch."""
        return self.origin_ms + int((real_ms - self.origin_ms) * self.scale)

    def monotonic_ms(self) -> int:
        return int(self._real.monotonic_ms() * self.scale)

    async def sleep(self, duration_s: float) -> None:
        await self._real.sleep(duration_s / self.scale)


def clock_of(environment: Mapping[str, str]) -> Clock:
    """The clock that FOREBAY_TIME_SCALE and FOREBAY_TIME_ORIGIN_MS ask for.

    Without a scale, or with 1, that is the machine's. Raises SettingsError, which names the
    variable, for a value that is out of range.
    """
    scale = scale_of(environment)
    origin_ms = _origin_ms(environment.get(ORIGIN_VARIABLE, "").strip())
    return SystemClock() if scale == 1 else ScaledClock(scale, origin_ms)


def scale_of(environment: Mapping[str, str]) -> float:
    """How much faster than the machine's clock time is to run; 1 if the environment is silent.

    Raises SettingsError.
    """
    text = environment.get(SCALE_VARIABLE, "").strip()
    if not text:
        return 1.0
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not SCALE_MIN <= scale <= SCALE_MAX:
        raise SettingsError(f"{SCALE_VARIABLE} is {text!r}; it must be {_REACH}.")
    return scale


def _origin_ms(text: str) -> int:
    if not text:
        return ORIGIN_MS_DEFAULT
    if not (text.isascii() and text.isdigit()):
        raise SettingsError(
            f"{ORIGIN_VARIABLE} is {text!r}; it must be a whole number of milliseconds since the"
            " Unix epoch."
        )
    return int(text)


_REACH = f"a number from {SCALE_MIN:g} to {SCALE_MAX:,.0f}"
