"""Which events are settled: in memory, in the marks, and as the account of them."""

from __future__ import annotations

from pathlib import Path

from forebay.errors import in_words
from forebay.producer.spill.base import LostRange, LostReason, SpillAccount, as_spill_error
from forebay.producer.spill.marks import MarksFile, Settled


class Settlement:
    """An event is settled once, however often that is said: acknowledged, corrupt or dropped."""

    def __init__(self, directory: Path, settled: Settled, marks: MarksFile) -> None:
        self._directory = directory
        self._settled = settled
        self._marks = marks
        #: Ordinals that are settled in memory and not yet, as far as is known, in the marks.
        self._unmarked: set[int] = set()
        self._lost: list[LostRange] = []
        #: The time of the record that was read last.
        self.seen_ms = 0

    @property
    def base(self) -> int:
        """The first ordinal of the account."""
        return self._settled.base

    @property
    def end(self) -> int:
        """The ordinal of the next event."""
        return self._settled.end

    def extend(self, end: int) -> None:
        """Count the events up to `end`: they are on the disk."""
        self._settled.end = end

    @property
    def marked(self) -> bool:
        """Whether all that is settled is known to be in the marks."""
        return not self._unmarked

    def has(self, ordinal: int) -> bool:
        """Whether an event is settled."""
        return self._settled.spans.around(ordinal) is not None

    def covers(self, start: int, stop: int) -> bool:
        """Whether the events [start, stop) are all settled."""
        return self._settled.spans.covers(start, stop)

    def acknowledge(self, start: int, stop: int) -> int:
        """Settle events, and return how many were not settled before."""
        added = self._settled.spans.add(start, stop)
        if added:
            self._unmarked.add(start)
        return added

    def drop(self, start: int, stop: int) -> int:
        """Settle events as dropped, and return how many were not settled before."""
        added = self.acknowledge(start, stop)
        self._settled.dropped += added
        return added

    def lose(
        self,
        start: int,
        stop: int,
        at_ms: tuple[int, int] | None = None,
        error: OSError | None = None,
    ) -> None:
        """Settle as corrupt what of [start, stop) is not settled."""
        events = self.acknowledge(start, stop)
        if not events:
            return
        self._settled.corrupt += events
        first_ms, last_ms = at_ms or (self.seen_ms, self.seen_ms)
        said = in_words(error) if error is not None else ""
        if self._lost:
            before = self._lost.pop()
            events += before.events
            first_ms, last_ms = min(first_ms, before.first_ms), max(last_ms, before.last_ms)
            said = said or before.error
        self._lost.append(LostRange(LostReason.CORRUPT, events, first_ms, last_ms, said))

    def take_lost(self) -> list[LostRange]:
        """What was lost since this was called last."""
        lost, self._lost = self._lost, []
        return lost

    def mark(self) -> None:
        """Bring what is settled onto the disk. Raises SpillError."""
        if not self._unmarked:
            return
        around = self._settled.spans.around
        spans = {around(ordinal) or (ordinal, ordinal) for ordinal in self._unmarked}
        try:
            self._marks.write(self._settled, sorted(spans))
        except OSError as error:
            raise as_spill_error(self._directory, error) from error
        self._unmarked.clear()

    def mark_end(self) -> None:
        """Bring onto the disk how many events there are, too. Raises SpillError."""
        self._unmarked.add(0)
        self.mark()

    def account(self, waiting_bytes: int) -> SpillAccount:
        """The account as it is now."""
        settled = self._settled
        appended = settled.end - settled.base
        done = settled.count
        return SpillAccount(
            appended=appended,
            acknowledged=done - settled.corrupt - settled.dropped,
            corrupt=settled.corrupt,
            dropped_oldest=settled.dropped,
            waiting=appended - done,
            waiting_bytes=waiting_bytes,
        )

    def close(self) -> None:
        """Close the marks."""
        self._marks.close()
