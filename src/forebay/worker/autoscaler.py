"""Deciding again and again how many receives and handlers may be under way at a time."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import asdict

from forebay.clock import Clock
from forebay.worker.scaling import Load, Pool, ScalingInput, ScalingPolicy, Target
from forebay.worker.snapshot import Decision

_log = logging.getLogger(__name__)

#: How many decisions are remembered.
DECISIONS_MAX = 100


class _Size(Struct):
    """A pool's target, and when it was changed last, in monotonic milliseconds."""

    target: int
    least: int
    most: int
    up_ms: int | None = None
    down_ms: int | None = None

    def pool(self, busy: int, now_ms: int) -> Pool:
        return Pool(
            target=self.target,
            busy=busy,
            least=self.least,
            most=self.most,
            since_up_s=None if self.up_ms is None else (now_ms - self.up_ms) / 1000,
            since_down_s=None if self.down_ms is None else (now_ms - self.down_ms) / 1000,
        )


class Autoscaler:
    """Asks the policy at every interval and remembers what it said and from what.

    It begins at the most: what is too much shrinks, and nothing waits for growth before anything is
    known. `load` measures, `busy` says how many receives and handlers are under way, and `changed`
    is called after a target has changed.
    """

    def __init__(
        self,
        policy: ScalingPolicy,
        *,
        pollers: tuple[int, int],
        processors: tuple[int, int],
        interval_s: float,
        clock: Clock,
        load: Callable[[], Load],
        busy: Callable[[], tuple[int, int]],
        changed: Callable[[], None],
    ) -> None:
        self._policy = policy
        self._pollers = _Size(pollers[1], *pollers)
        self._processors = _Size(processors[1], *processors)
        self._interval_s = interval_s
        self._clock = clock
        self._load = load
        self._busy = busy
        self._changed = changed
        self._decisions: deque[Decision] = deque(maxlen=DECISIONS_MAX)
        self._policy_failed = False
        #: How long a receive is put off, by the policy, in milliseconds.
        self.poll_pause_ms = 0

    @property
    def pollers(self) -> int:
        return self._pollers.target

    @property
    def processors(self) -> int:
        return self._processors.target

    @property
    def decisions(self) -> list[Decision]:
        """The latest decisions that changed something, the newest last."""
        return list(self._decisions)

    def pools(self) -> tuple[Pool, Pool]:
        """The pollers and the processors at this moment."""
        now_ms = self._clock.monotonic_ms()
        polls, handlers = self._busy()
        return self._pollers.pool(polls, now_ms), self._processors.pool(handlers, now_ms)

    def resize(self, pollers: tuple[int, int], processors: tuple[int, int]) -> None:
        """Keep both numbers within other bounds from now on, the least and the most of each."""
        for size, (least, most) in ((self._pollers, pollers), (self._processors, processors)):
            size.least, size.most = least, most
            size.target = min(max(size.target, least), most)
        self._changed()

    async def run(self) -> None:
        """Decide until cancelled."""
        while True:
            await self._clock.sleep(self._interval_s)
            self.decide()

    def decide(self) -> None:
        """Ask the policy once and do as it says."""
        load = self._load()
        pollers, processors = self.pools()
        seen = ScalingInput(pollers=pollers, processors=processors, load=load)
        try:
            targets = self._policy.pollers(seen), self._policy.processors(seen)
            self.poll_pause_ms = self._policy.poll_pause_ms(load)
        except Exception:
            # A policy may be anybody's. What it has decided so far goes on.
            if not self._policy_failed:
                _log.exception("The scaling policy fails; both numbers stay as they are.")
            self._policy_failed = True
        else:
            self._policy_failed = False
            self._move("pollers", self._pollers, targets[0], seen)
            self._move("processors", self._processors, targets[1], seen)
        self._changed()

    def _move(self, name: str, size: _Size, target: Target, seen: ScalingInput) -> None:
        before, size.target = size.target, target.after
        if before == size.target:
            return
        now_ms = self._clock.monotonic_ms()
        if size.target > before:
            size.up_ms = now_ms
        else:
            size.down_ms = now_ms
        decision = Decision(
            at_ms=self._clock.wall_ms(),
            pool=name,
            before=before,
            after=size.target,
            reason=target.reason,
            inputs=_numbers(seen),
        )
        self._decisions.append(decision)
        _log.debug("%s: %d → %d, %s", name, before, size.target, target.reason)


def _numbers(seen: ScalingInput) -> dict[str, float]:
    """What a decision was made from, flat."""
    numbers: dict[str, float] = {}
    for part in ("pollers", "processors"):
        pool: Pool = getattr(seen, part)
        numbers[f"{part}_busy"] = pool.busy
    for name, value in asdict(seen.load).items():
        if isinstance(value, tuple):
            numbers |= {
                f"{name}_{priority}": each
                for priority, each in zip(("high", "medium", "low"), value, strict=True)
            }
        elif value is not None:
            numbers[name] = value
    return numbers
