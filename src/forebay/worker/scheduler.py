"""Which queue gets the next receive. Pure: time is an argument, in monotonic milliseconds.

Between classes the order is strict: the highest class with messages is served. Every class below it
keeps a guaranteed share of the choices, so that none starves. Within a class the score of source
document 002 decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.worker.queue import LOW, MEDIUM, Priority, Queue

#: A queue's wait since its last poll doubles its score in this time, as far as the cap of the boost
#: allows, in seconds. Document 002.
_BOOST_S = 30.0

#: More polls of one queue in a row cost it the penalty. Document 002.
_POLLS_WITHOUT_PENALTY = 10
_POLL_PENALTY = 0.95

#: How often the history of polls is cleaned, and what is forgotten then. Document 002: every five
#: minutes, what is older than a day.
_CLEANED_EVERY_MS = 5 * 60_000
_FORGOTTEN_AFTER_MS = 24 * 3_600_000

#: Sums of shares carry the rounding of floats; a credit this close to a whole choice is one.
_ROUNDING = 1e-9


class SchedulerSettings(Struct, frozen=True, kw_only=True):
    """How a worker shares its receives among its queues.

    Raises SettingsError when a value is out of range.
    """

    #: The wait boost of a queue is at most 1 + boost_step * priority. 0.25 fits the examples of
    #: document 002; 0.5 is what its code does.
    boost_step: float = 0.25
    #: The part of all choices that the medium and the low class get at least while they have
    #: messages, whatever the classes above them have. 0 lets a class starve.
    share_medium: float = 0.1
    share_low: float = 0.1

    def __post_init__(self) -> None:
        for name, value in (
            ("boost_step", self.boost_step),
            ("share_medium", self.share_medium),
            ("share_low", self.share_low),
        ):
            if not 0 <= value < float("inf"):
                raise SettingsError(f"{name} is {value}; it must be at least 0.")
        together = self.share_medium + self.share_low
        if together >= 1:
            raise SettingsError(
                f"share_medium and share_low are {together:g} together; they must be below 1, so "
                "that choices are left for the high class."
            )


class Candidate(Struct, frozen=True):
    """A queue that may be polled, as it is known at this moment."""

    name: str
    priority: Priority
    #: Messages that are thought to be visible. A queue without any is not chosen.
    visible: int
    weight: float = 1.0


def score(
    candidate: Candidate,
    *,
    since_poll_s: float | None,
    polls_in_a_row: int = 0,
    boost_step: float = 0.25,
) -> float:
    """How much a queue wants the next receive, by the formula of document 002.

    count × weight × 10^(priority + 1) × wait boost × poll penalty. A queue that was never polled,
    `since_poll_s` None, gets no boost: the document says so.
    """
    boost = 1.0
    if since_poll_s is not None:
        boost = min(1 + since_poll_s / _BOOST_S, 1 + boost_step * candidate.priority)
    penalty = _POLL_PENALTY if polls_in_a_row > _POLLS_WITHOUT_PENALTY else 1.0
    base = candidate.visible * candidate.weight * 10.0 ** (candidate.priority + 1)
    return base * boost * penalty


class Scheduler:
    """Chooses a queue for each receive and remembers what it needs to choose well.

    Over any number of choices N, a class that has messages at each of them gets at least
    floor(share × N) − 1. A share earns a class credit with every choice; a whole credit is a choice
    that no higher class can take. Choices that the class gets anyway use up its credit as well.

    Within a class a queue with few messages may wait as long as another has many more. The worker
    therefore keeps one long poll out at each queue whatever is chosen here.
    """

    def __init__(self, settings: SchedulerSettings | None = None) -> None:
        settings = settings or SchedulerSettings()
        self._boost_step = settings.boost_step
        self._shares = ((MEDIUM, settings.share_medium), (LOW, settings.share_low))
        self._credit: dict[Priority, float] = {MEDIUM: 0.0, LOW: 0.0}
        self._polled_ms: dict[str, int] = {}
        self._cleaned_ms: int | None = None
        # Document 002 zeroes the poll counts of all other queues when it selects one, so of its
        # counts one at most is above zero: how often the latest queue was chosen in a row.
        self._latest = ""
        self._in_a_row = 0

    @property
    def remembered(self) -> int:
        """Queues whose last poll is known."""
        return len(self._polled_ms)

    def next_queue(self, candidates: Sequence[Candidate], now_ms: int) -> str | None:
        """The queue to poll, which counts as polled now; None when none has messages."""
        classes: dict[Priority, list[Candidate]] = {}
        for candidate in candidates:
            if candidate.visible > 0:
                classes.setdefault(candidate.priority, []).append(candidate)
        if not classes:
            return None
        rivals = classes[self._next_class(classes)]
        chosen = rivals[0].name if len(rivals) == 1 else self._best(rivals, now_ms).name
        self._in_a_row = self._in_a_row + 1 if chosen == self._latest else 1
        self._latest = chosen
        self.polled(chosen, now_ms)
        return chosen

    def polled(self, name: str, now_ms: int) -> None:
        """A queue is polled without having been chosen here."""
        self._polled_ms[name] = now_ms
        if self._cleaned_ms is None:
            self._cleaned_ms = now_ms
        elif now_ms - self._cleaned_ms >= _CLEANED_EVERY_MS:
            self._cleaned_ms = now_ms
            oldest_ms = now_ms - _FORGOTTEN_AFTER_MS
            self._polled_ms = {
                name: polled_ms
                for name, polled_ms in self._polled_ms.items()
                if polled_ms >= oldest_ms
            }

    def _next_class(self, classes: dict[Priority, list[Candidate]]) -> Priority:
        credit = self._credit
        chosen = max(classes)
        # Of two classes that are owed a choice the lower goes first. The other has a credit below 2
        # for all that: the lower one takes no more than its share of the next choices.
        for priority, share in self._shares:
            if priority in classes:
                credit[priority] += share
                if credit[priority] >= 1 - _ROUNDING:
                    chosen = priority
        if chosen in credit:
            credit[chosen] = max(0.0, credit[chosen] - 1)
        return chosen

    def _best(self, rivals: list[Candidate], now_ms: int) -> Candidate:
        best, best_score = rivals[0], -1.0
        for rival in rivals:
            polled_ms = self._polled_ms.get(rival.name)
            rival_score = score(
                rival,
                since_poll_s=None if polled_ms is None else (now_ms - polled_ms) / 1000,
                polls_in_a_row=self._in_a_row if rival.name == self._latest else 0,
                boost_step=self._boost_step,
            )
            if rival_score > best_score:
                best, best_score = rival, rival_score
        return best


def require_queues(queues: Sequence[Queue]) -> None:
    """A worker serves at least one queue, and none twice.

    Raises SettingsError.
    """
    if not queues:
        raise SettingsError("A worker has no queue; give it at least one name, URL or Queue.")
    names = [queue.name for queue in queues]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"Queue {name} is given twice; a worker serves it once.")
