"""How many handlers may run, and start in a second, under a key. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from math import ceil
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import astuple

from forebay.errors import SettingsError
from forebay.number_settings import require_numbers
from forebay.worker.breaker import CircuitBreaker
from forebay.worker.received import Received

#: Keys that are remembered before the idle ones are looked for and forgotten.
_KEYS_KEPT = 1_000

#: A message less than this too early for its rate is in time, in milliseconds: rounding of floats.
_ROUNDING_MS = 1e-6


class Limit(Struct, frozen=True, eq=False):
    """At most so many handlers running, and starting in a second, for each key.

    Without a key all messages count together, for all handlers that are given this very object. A
    key that is a text counts together what all limits with this text and these numbers let through.
    A function makes the key of each message; None lets the message through without counting it. A
    batch counts once for each key in it. Messages over a limit wait in hand, and those of other
    keys go before them.

    Raises SettingsError when a value is out of range.
    """

    #: What counts together: None every message, a text all limits with this text and these numbers,
    #: a function the messages that it makes the same key of.
    key: str | Callable[[Received[Any]], Hashable | None] | None = None
    #: Most handlers at a time.
    running: int | None = None
    #: Most starts in a second, on average.
    per_s: float | None = None
    #: Most starts at once after a pause. None is a tenth of a second's, and one at least.
    burst: int | None = None

    def __post_init__(self) -> None:
        key: object = self.key
        if not (key is None or callable(key) or (isinstance(key, str) and key)):
            raise SettingsError(
                f"The key of a Limit is {self.key!r}; give a text that is not empty, or a function"
                " that makes the key of a received message."
            )
        if self.running is None and self.per_s is None:
            raise SettingsError("A Limit limits nothing; give running, per_s or both.")
        require_numbers(self, "Limit: ")
        if self.running is not None and self.running < 1:
            raise SettingsError(f"running of a Limit is {self.running}; it must be at least 1.")
        if self.per_s is not None and not 0 < self.per_s < float("inf"):
            raise SettingsError(f"per_s of a Limit is {self.per_s}; it must be above 0.")
        if self.burst is not None and self.burst < 1:
            raise SettingsError(f"burst of a Limit is {self.burst}; it must be at least 1.")
        if self.burst is not None and self.per_s is None:
            raise SettingsError("A Limit has a burst but no per_s; give both.")

    @property
    def burst_max(self) -> int:
        """Most starts at once; 0 without a rate."""
        if self.per_s is None:
            return 0
        return self.burst or max(1, ceil(self.per_s / 10))

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Limit):
            return self is other
        return isinstance(self.key, str) and astuple(self) == astuple(other)

    def __hash__(self) -> int:
        return hash(astuple(self)) if isinstance(self.key, str) else id(self)


class Place(NamedTuple):
    """What a message is counted under: one key of a limit, or a breaker."""

    limit: Limit | CircuitBreaker
    key: Hashable


def places_of(
    limits: Iterable[Limit], breaker: CircuitBreaker | None, received: Sequence[Received[Any]]
) -> tuple[Place, ...]:
    """What one call of a handler with these messages is counted under.

    Raises what a key's function raises, and TypeError for a key that cannot be hashed.
    """
    places: dict[Place, None] = {}
    for limit in limits:
        if callable(limit.key):
            for each in received:
                key = limit.key(each)
                if key is not None:
                    places[Place(limit, key)] = None
        else:
            places[Place(limit, limit.key)] = None
    if breaker is not None:
        places[Place(breaker, None)] = None
    return tuple(places)


class _Use:
    """How a place is used."""

    __slots__ = ("due_ms", "running")

    def __init__(self) -> None:
        self.running = 0
        #: When the next start is due if starts come evenly. Earlier ones are the burst.
        self.due_ms = 0.0


class Limiters:
    """Counts what runs, and how fast it starts, in each place.

    A place that nobody uses is forgotten, so that what is remembered stays in proportion to what
    runs and to what started within the latest burst.
    """

    def __init__(self) -> None:
        self._uses: dict[Place, _Use] = {}
        self._look_at = _KEYS_KEPT

    @property
    def remembered(self) -> int:
        """Places that are remembered."""
        return len(self._uses)

    def wait_ms(self, place: Place, now_ms: int) -> int | None:
        """How long a call has to wait: 0 when it may start, None until one there has ended."""
        limit = place.limit
        if isinstance(limit, CircuitBreaker):
            return limit.wait_ms(now_ms)
        use = self._uses.get(place)
        if use is None:
            return 0
        if limit.running is not None and use.running >= limit.running:
            return None
        if limit.per_s is None:
            return 0
        early_ms = use.due_ms - now_ms - (limit.burst_max - 1) * 1000 / limit.per_s
        return ceil(early_ms - _ROUNDING_MS) if early_ms > _ROUNDING_MS else 0

    def started(self, place: Place, now_ms: int) -> None:
        """A call starts, for which `wait_ms` was 0. `ended` follows."""
        limit = place.limit
        if isinstance(limit, CircuitBreaker):
            limit.started(now_ms)
            return
        use = self._uses.get(place)
        if use is None:
            if len(self._uses) >= self._look_at:
                self._forget_idle(now_ms)
            use = self._uses[place] = _Use()
        use.running += 1
        if limit.per_s is not None:
            use.due_ms = max(use.due_ms, now_ms) + 1000 / limit.per_s

    def ended(self, place: Place) -> None:
        """A call that was counted as started has ended."""
        limit = place.limit
        if isinstance(limit, CircuitBreaker):
            return
        use = self._uses[place]
        use.running -= 1
        if not use.running and limit.per_s is None:
            del self._uses[place]

    def _forget_idle(self, now_ms: int) -> None:
        self._uses = {
            place: use for place, use in self._uses.items() if use.running or use.due_ms > now_ms
        }
        self._look_at = max(_KEYS_KEPT, 2 * len(self._uses))
