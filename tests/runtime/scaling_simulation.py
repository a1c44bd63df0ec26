"""A worker in virtual time that follows a scaling policy: queue, receives, buffer and handlers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import count, pairwise

from forebay.worker.scaling import (
    LittlesLaw,
    Load,
    Pool,
    Rate,
    ScalingInput,
    ScalingPolicy,
    Target,
)


class Follower:
    """A pool that goes where the policy says, and knows when it did."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most
        self.target = least
        self._up_s = self._down_s = -1e9

    def pool(self, busy: int, now_s: float) -> Pool:
        return Pool(
            target=self.target,
            busy=busy,
            least=self.least,
            most=self.most,
            since_up_s=now_s - self._up_s,
            since_down_s=now_s - self._down_s,
        )

    def follow(self, target: Target, now_s: float) -> None:
        if target.after > self.target:
            self._up_s = now_s
        elif target.after < self.target:
            self._down_s = now_s
        self.target = target.after


class Simulation:
    """Messages arrive at `arrivals` (moment in ms, how many); each is handled in `handling_ms`.

    What `visible` was is known every `attributes_s` only, or when a receive comes back empty, as in
    the worker. None leaves it unknown.
    """

    def __init__(
        self,
        arrivals: Iterable[tuple[int, int]],
        *,
        handling_ms: float | Callable[[float], float],
        receive_ms: float = 5.0,
        policy: ScalingPolicy | None = None,
        processors: tuple[int, int] = (4, 512),
        pollers: tuple[int, int] = (1, 64),
        capacity: int = 1_024,
        attributes_s: float | None = 5.0,
        interval_s: float = 1.0,
    ) -> None:
        self._handling_ms = handling_ms if callable(handling_ms) else lambda _: handling_ms
        self._receive_ms = receive_ms
        self._capacity = capacity
        self._interval_s = interval_s
        self._policy = policy or LittlesLaw()
        self._pollers = Follower(*pollers)
        self._processors = Follower(*processors)
        self._now_ms = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._queue: deque[float] = deque()
        self._buffer: deque[float] = deque()
        self._receives = 0
        self._handlers = 0
        self._visible: int | None = None
        self._attributes_s = attributes_s
        self._handled_ms: float | None = None
        self._brought: float | None = None
        self._received = 0
        self._received_rate, self._visible_rate = Rate(), Rate(15)
        self._completed_rate = Rate()
        self._ages_s: deque[tuple[float, float]] = deque()
        self.completed = 0
        #: (second, pollers, processors) at each decision.
        self.targets: list[tuple[float, int, int]] = []
        #: (moment it was received in s, age in s) of every message.
        self.ages: list[tuple[float, float]] = []
        for moment_ms, number in arrivals:
            self._at(moment_ms, lambda number=number: self._arrive(number))  # type: ignore[misc]
        if attributes_s is not None:
            self._at(0, self._read_attributes)
        self._at(0, self._tick)

    def run(self, until_s: float) -> Simulation:
        while self._events and self._events[0][0] <= until_s * 1000:
            self._now_ms, _, event = heappop(self._events)
            event()
            self._start()
        return self

    def pollers_after(self, second: float) -> list[int]:
        return [pollers for at_s, pollers, _ in self.targets if at_s >= second]

    def processors_after(self, second: float) -> list[int]:
        return [processors for at_s, _, processors in self.targets if at_s >= second]

    @property
    def oldest_s(self) -> float:
        """The greatest age at which a message was received."""
        return max(age_s for _, age_s in self.ages)

    def oldest_after(self, second: float) -> float:
        return max((age_s for at_s, age_s in self.ages if at_s >= second), default=0.0)

    def _at(self, moment_ms: float, event: Callable[[], None]) -> None:
        heappush(self._events, (moment_ms, next(self._order), event))

    def _arrive(self, number: int) -> None:
        self._queue.extend([self._now_ms] * number)

    def _start(self) -> None:
        """Whatever may start now, as a worker that is woken by every event."""
        while self._buffer and self._handlers < self._processors.target:
            self._buffer.popleft()
            self._handlers += 1
            duration_ms = self._handling_ms(self._now_ms)
            self._at(
                self._now_ms + duration_ms,
                lambda duration_ms=duration_ms: self._end(duration_ms),  # type: ignore[misc]
            )
        while (
            self._receives < self._pollers.target
            and self._receives * 10 < len(self._queue)
            and len(self._buffer) + self._receives * 10 < self._capacity
        ):
            self._receives += 1
            self._at(self._now_ms + self._receive_ms, self._answer)

    def _answer(self) -> None:
        self._receives -= 1
        number = min(10, len(self._queue))
        if not number:
            self._visible = 0 if self._attributes_s is not None else None
            return
        self._brought = number if self._brought is None else 0.9 * self._brought + 0.1 * number
        self._received += number
        oldest_s = (self._now_ms - self._queue[0]) / 1000
        self._ages_s.append((self._now_ms, oldest_s))
        for _ in range(number):
            sent_ms = self._queue.popleft()
            self._buffer.append(sent_ms)
            self.ages.append((self._now_ms / 1000, (self._now_ms - sent_ms) / 1000))

    def _end(self, duration_ms: float) -> None:
        self._handlers -= 1
        self.completed += 1
        before = self._handled_ms
        self._handled_ms = duration_ms if before is None else 0.9 * before + 0.1 * duration_ms

    def _read_attributes(self) -> None:
        assert self._attributes_s is not None
        self._visible = len(self._queue)
        self._visible_rate.observe(self._visible, int(self._now_ms))
        self._at(self._now_ms + self._attributes_s * 1000, self._read_attributes)

    def _tick(self) -> None:
        now_ms = int(self._now_ms)
        self._received_rate.observe(self._received, now_ms)
        self._completed_rate.observe(self.completed, now_ms)
        received_per_s = self._received_rate.per_s or 0.0
        ages = self._ages_s
        while ages and ages[0][0] < now_ms - 2_000:
            ages.popleft()
        grew_per_s = self._visible_rate.per_s
        load = Load(
            buffered=(0, len(self._buffer), 0),
            capacity=(self._capacity, self._capacity, self._capacity),
            visible=self._visible,
            in_flight=len(self._buffer) + self._handlers if self._visible is not None else None,
            handling_ms=self._handled_ms,
            arrival_per_s=None if grew_per_s is None else max(0.0, received_per_s + grew_per_s),
            received_per_s=received_per_s,
            completed_per_s=self._completed_rate.per_s or 0.0,
            oldest_age_s=max((age_s for _, age_s in ages), default=0.0),
            receive_ms=self._receive_ms if self._received else None,
            messages_per_receive=self._brought,
            interval_s=self._interval_s,
        )
        now_s = now_ms / 1000
        seen = ScalingInput(
            pollers=self._pollers.pool(self._receives, now_s),
            processors=self._processors.pool(self._handlers, now_s),
            load=load,
        )
        self._pollers.follow(self._policy.pollers(seen), now_s)
        self._processors.follow(self._policy.processors(seen), now_s)
        self.targets.append((now_ms / 1000, self._pollers.target, self._processors.target))
        self._at(self._now_ms + self._interval_s * 1000, self._tick)


def turns(sizes: list[int]) -> int:
    """How often a pool changed from growing to shrinking or back."""
    steps = [after - before for before, after in pairwise(sizes)]
    moves = [step > 0 for step in steps if step]
    return sum(now != then for then, now in pairwise(moves))


def evenly(per_s: int, seconds: int, *, step_ms: int = 20) -> list[tuple[int, int]]:
    """So many messages a second from the start on."""
    return [
        (moment_ms, per_s * (moment_ms + step_ms) // 1000 - per_s * moment_ms // 1000)
        for moment_ms in range(0, seconds * 1000, step_ms)
    ]
