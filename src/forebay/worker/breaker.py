"""A circuit breaker: a handler that fails at a rate is left alone for a while, then tried with one
message.

Pure: time is an argument, in monotonic milliseconds. Every change of state goes through the table.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import ceil

from forebay.errors import InvalidTransition, SettingsError
from forebay.number_settings import require_number
from forebay.worker.outcomes import Done, Failed, Outcome, Reject, StillRunning


class State(Enum):
    """What a breaker does with the messages of its handlers."""

    #: Lets them through and watches how they end.
    CLOSED = "closed"
    #: Holds them back.
    OPEN = "open"
    #: Lets one through at a time, to see.
    HALF_OPEN = "half open"


class Event(Enum):
    """What changes a breaker's state."""

    #: Of the latest calls, as many have failed as are too many.
    RATE_REACHED = "rate reached"
    #: It has been open for its time.
    TIME_OVER = "time over"
    #: A call that was let through to see has failed.
    PROBE_FAILED = "probe failed"
    #: As many such calls as are asked for have not failed.
    PROBES_SUCCEEDED = "probes succeeded"


#: The life of a breaker: (state, event) → next state. A pair that is not here cannot happen.
TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.CLOSED, Event.RATE_REACHED): State.OPEN,
    (State.OPEN, Event.TIME_OVER): State.HALF_OPEN,
    (State.HALF_OPEN, Event.PROBE_FAILED): State.OPEN,
    (State.HALF_OPEN, Event.PROBES_SUCCEEDED): State.CLOSED,
}


def transition(state: State, event: Event) -> State:
    """The state after an event. Raises InvalidTransition for a pair that is not in the table."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise InvalidTransition(
            f"A circuit breaker that is {state.value} got {event.value}. This is a bug; please"
            " report it."
        ) from None


class CircuitBreaker:
    """Opens when `failure_rate` of the latest `of` calls failed, for `open_s` seconds.

    Then one call at a time is let through until `probes` in a row have not failed, which closes it;
    one that fails opens it again. A handler that raises or is over its time has failed. Done and
    Reject are successes: the handler has decided. A Retry and an interruption say nothing.

    While it is open, messages of its handlers that are in hand wait, extended by the heartbeat: no
    call is made, so none fails and no receive is spent. It is a permit as well: the queues that
    they came from are not polled, so that others can have their messages. One breaker given to
    several handlers judges them together.

    Raises SettingsError when a value is out of range.
    """

    def __init__(
        self,
        failure_rate: float = 0.5,
        of: int = 20,
        open_s: float = 30.0,
        *,
        probes: int = 1,
        name: str = "circuit breaker",
    ) -> None:
        for setting, number in (("failure_rate", failure_rate), ("open_s", open_s)):
            require_number(setting, number)
        if not 0 < failure_rate <= 1:
            raise SettingsError(f"failure_rate is {failure_rate}; it must be above 0, at most 1.")
        if not 0 < open_s < float("inf"):
            raise SettingsError(f"open_s is {open_s}; it must be above 0.")
        for setting, value in (("of", of), ("probes", probes)):
            require_number(setting, value, whole=True)
            if value < 1:
                raise SettingsError(f"{setting} is {value}; it must be at least 1.")
        self.name = name
        #: The queues that messages of its handlers have come from. The worker adds them.
        self.queues: set[str] = set()
        # Taken down by a rounding error, so that 0.7 of 10 is 7.
        self._failures_max = ceil(failure_rate * of - 1e-9)
        self._of = of
        self._open_ms = ceil(open_s * 1000)
        self._probes = probes
        self._state = State.CLOSED
        self._since_ms = 0
        self._results: deque[bool] = deque(maxlen=of)
        self._failed = 0
        self._probes_passed = 0
        self._probe_ms: int | None = None

    def state(self, now_ms: int) -> State:
        if self._state is State.OPEN and now_ms - self._since_ms >= self._open_ms:
            self._become(Event.TIME_OVER, now_ms)
        return self._state

    def wait_ms(self, now_ms: int) -> int:
        """How long the next call has to wait; 0 when it may start.

        While a probe runs, that is until its result, but never longer than the breaker is open: a
        probe whose result never comes is given up then.
        """
        state = self.state(now_ms)
        if state is State.CLOSED or (state is State.HALF_OPEN and self._probe_ms is None):
            return 0
        since_ms = self._since_ms if self._probe_ms is None else self._probe_ms
        return max(0, since_ms + self._open_ms - now_ms)

    def started(self, now_ms: int) -> None:
        """A call starts, for which `wait_ms` was 0."""
        if self.state(now_ms) is State.HALF_OPEN:
            self._probe_ms = now_ms

    def record(self, outcome: Outcome, *, started_ms: int, now_ms: int) -> None:
        """A call has ended. One from before the latest change of state says nothing any more."""
        if self._state is State.OPEN or started_ms < self._since_ms:
            return
        failed = _has_failed(outcome)
        if self._state is State.HALF_OPEN:
            self._probe_ms = None
            if failed:
                self._become(Event.PROBE_FAILED, now_ms)
            elif failed is False:
                self._probes_passed += 1
                if self._probes_passed >= self._probes:
                    self._become(Event.PROBES_SUCCEEDED, now_ms)
        elif failed is not None:
            if len(self._results) == self._of:
                self._failed -= self._results[0]
            self._results.append(failed)
            self._failed += failed
            if len(self._results) == self._of and self._failed >= self._failures_max:
                self._become(Event.RATE_REACHED, now_ms)

    def free(self, now_ms: int) -> int | None:
        """As a permit: no message while it is open, one while it tries, else any number."""
        if self.state(now_ms) is State.CLOSED:
            return None
        return 0 if self.wait_ms(now_ms) else 1

    @property
    def reason(self) -> str:
        if self._state is State.CLOSED:
            return "closed"
        return f"{self._state.value}: at least {self._failures_max} of {self._of} calls failed"

    def _become(self, event: Event, now_ms: int) -> None:
        self._state = transition(self._state, event)
        self._since_ms = now_ms
        self._results.clear()
        self._failed = 0
        self._probes_passed = 0
        self._probe_ms = None


def _has_failed(outcome: Outcome) -> bool | None:
    """None for an end that says nothing of how the handler fares."""
    if isinstance(outcome, Failed) or (isinstance(outcome, StillRunning) and outcome.timed_out):
        return True
    return False if isinstance(outcome, Done | Reject) else None
