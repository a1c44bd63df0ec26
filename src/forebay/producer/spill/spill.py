"""The spill: records on the disk until somebody acknowledges them."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Self

from forebay.errors import in_words
from forebay.producer.settings import SpillFull
from forebay.producer.spill.base import (
    LostRange,
    LostReason,
    SpillAccount,
    SpillError,
    SpillInUse,
    SpillLimits,
    SpillRecord,
    SpillToken,
)
from forebay.producer.spill.checkpoint import write_checkpoint
from forebay.producer.spill.cursor import Cursor
from forebay.producer.spill.files import Files, SystemFiles
from forebay.producer.spill.format import (
    HEADER_BYTES,
    encode_mark,
    encode_record,
    record_bytes,
    times,
)
from forebay.producer.spill.quarantine import Quarantine
from forebay.producer.spill.recovery import recover
from forebay.producer.spill.segments import Segment, SegmentReader, Step
from forebay.producer.spill.writer import SegmentWriter

#: The file that is locked while a process has the directory. It holds the process's id.
LOCK_FILE = "lock"

#: The part of `bytes_max` that what is set aside may take on top of it.
_QUARANTINE_PART = 4

#: Most processes that share one directory by slots.
_SLOTS_MAX = 1_000

#: How often in a row a segment may fail to be read before what is left of it is given up.
_ATTEMPTS = 3

#: Errors that say nothing of the file: the process or the system is short of something.
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

#: The part of a segment that is written before it is worth removing while it is still written.
_QUARTER = 4

_log = logging.getLogger(__name__)


class Spill:
    """One process's spill directory. Made by `open` or `open_slot`.

    Records come out in the order in which they went in, except those that were handed back. Each
    comes out once or more: what was acknowledged comes back only when the process or the disk
    failed before `acknowledge` returned.

    Every method may block on the disk, and only one may run at a time; `account` can be read from
    any thread. They raise SpillError and nothing else, and the spill stays usable after it.
    """

    def __init__(self, directory: Path, limits: SpillLimits, *, files: Files, lock: int) -> None:
        self.directory = directory
        #: May be replaced; counts from the next append on.
        self.limits = limits
        self._files = files
        self._lock: int | None = lock
        self._quarantine = Quarantine(files, directory, limits.bytes_max // _QUARANTINE_PART)
        found = recover(files, directory, self._quarantine)
        self._checkpoint = found.checkpoint
        self._settled = found.settled
        self._marks = found.marks
        self._segments = {segment.name: segment for segment in found.segments}
        self._writer = SegmentWriter(files, directory)
        self._cursor = Cursor(files, found.segments)
        self._returned: list[tuple[int, SpillToken]] = []
        self._handed_out: dict[int, SpillToken] = {}
        #: Ordinals that are settled in memory and not yet, as far as is known, in the marks.
        self._unmarked: set[int] = set()
        #: Segments in which something was settled since it was last seen which are finished.
        self._touched = set(self._segments)
        self._lost: list[LostRange] = []
        #: The time of the record that was read last.
        self._seen_ms = 0
        #: How often in a row reading failed.
        self._failures = 0
        self._account = SpillAccount()
        first = found.segments[0].first if found.segments else self._settled.end
        self._lose(self._settled.base, first)
        with suppress(SpillError):
            self._mark()
            self._remove_finished()
        self._count()

    @classmethod
    def open(cls, directory: Path, limits: SpillLimits, *, files: Files | None = None) -> Self:
        """Lock a directory, which is made when it is not there, and take up what it holds.

        Raises SpillInUse when another process has it, SpillTooNew when a newer Forebay wrote it,
        and SpillError when it cannot be used. No damage in it is an error.
        """
        files = files or SystemFiles()
        try:
            files.make_directory(directory)
            lock = files.lock(directory / LOCK_FILE)
        except BlockingIOError as error:
            raise SpillInUse(
                f"Another process uses the spill directory {directory}. Choose another."
            ) from error
        except OSError as error:
            raise _unusable(directory, error) from error
        try:
            return cls(directory, limits, files=files, lock=lock)
        except OSError as error:
            files.close(lock)
            raise _unusable(directory, error) from error
        except SpillError:
            files.close(lock)
            raise

    @classmethod
    def open_slot(cls, directory: Path, limits: SpillLimits, *, files: Files | None = None) -> Self:
        """Open the first numbered subdirectory that no process has.

        So that processes with one configuration each have their own, and a new process takes over
        what one that ended left. What more processes left than there are now waits for them.
        """
        for number in range(_SLOTS_MAX):
            with suppress(SpillInUse):
                return cls.open(directory / str(number), limits, files=files)
        raise SpillInUse(f"All {_SLOTS_MAX} slots of the spill directory {directory} are in use.")

    @property
    def account(self) -> SpillAccount:
        """What became of all events so far, as of the end of the latest call."""
        return self._account

    @property
    def checkpoint_data(self) -> bytes | None:
        """What `checkpoint` kept last, before a restart too; None when there is nothing."""
        return self._checkpoint

    def take_lost(self) -> list[LostRange]:
        """The corrupt events that were come upon since this was called last."""
        lost, self._lost = self._lost, []
        return lost

    def append(self, records: Sequence[SpillRecord]) -> list[LostRange]:
        """Write records: one write and one fsync, and more only where a new segment begins.

        They are on the disk when it returns, except those in the ranges returned: dropped because
        the spill is full, of these records or of older ones, or not written although some before
        them were (LostReason.FAILED). Raises SpillError when nothing was appended or dropped.
        """
        self._require_open()
        lost: list[LostRange] = []
        done = 0
        try:
            while done < len(records):
                count = self._fitting(records, done)
                if count:
                    self._write(records[done : done + count])
                elif self._fits_an_empty_spill(records[done]):
                    if self._make_room(lost):
                        continue
                    count = len(records) - done
                    lost.append(_range(LostReason.DROP_NEWEST, records[done:]))
                else:
                    count = 1
                    lost.append(_range(LostReason.DROP_NEWEST, records[done : done + 1]))
                done += count
        except (OSError, SpillError) as error:
            said = error if isinstance(error, SpillError) else _failed(self.directory, error)
            if not done and not lost:
                raise said from error
            lost.append(_range(LostReason.FAILED, records[done:], str(said)))
        finally:
            self._count()
        return lost

    def _fitting(self, records: Sequence[SpillRecord], start: int) -> int:
        """How many records from `start` on go into one segment, after ending one that is full."""
        segment_bytes = self.limits.segment_bytes_used
        active = self._writer.active
        if active is not None:
            after = active.size_bytes + record_bytes(records[start]) + HEADER_BYTES
            if after > segment_bytes:
                self._end_segment()
                active = None
        size = HEADER_BYTES if active is None else active.size_bytes
        room = self.limits.bytes_max - self._bytes() - HEADER_BYTES
        if active is None:
            room -= HEADER_BYTES
        count = 0
        for index in range(start, len(records)):
            wanted = record_bytes(records[index])
            # A segment takes one record at least, however large.
            if wanted > room or (count and size + wanted + HEADER_BYTES > segment_bytes):
                break
            room -= wanted
            size += wanted
            count += 1
        return count

    def _fits_an_empty_spill(self, record: SpillRecord) -> bool:
        return record_bytes(record) + 2 * HEADER_BYTES <= self.limits.bytes_max

    def _write(self, records: Sequence[SpillRecord]) -> None:
        start = stop = self._settled.end
        parts = []
        for record in records:
            parts.append(encode_record(record, stop))
            stop += record.events
        parts.append(encode_mark(stop))
        segment = self._writer.write(start, b"".join(parts), stop)
        self._settled.end = stop
        if segment.name not in self._segments:
            self._segments[segment.name] = segment
            self._cursor.add(segment)

    def _end_segment(self) -> None:
        if self._writer.active is not None:
            self._touched.add(self._writer.active.name)
            self._writer.end()

    def _make_room(self, lost: list[LostRange]) -> bool:
        """Let the oldest segment give way, if that is what is wanted and it can be removed."""
        self._remove_finished()
        if self.limits.full is not SpillFull.DROP_OLDEST:
            return False
        for segment in self._segments.values():
            # What is being sent may arrive, so it is not dropped.
            if not segment.handed_out:
                break
        else:
            return False
        if segment is self._writer.active:
            self._end_segment()
        self._returned = [held for held in self._returned if held[1].segment != segment.name]
        heapify(self._returned)
        dropped = self._dropped_of(segment)
        if dropped.events:
            lost.append(dropped)
        self._mark()
        self._remove_finished()
        return segment.name not in self._segments

    def _dropped_of(self, segment: Segment) -> LostRange:
        """Settle all of a segment as dropped, or as corrupt where it is."""
        events = first_ms = last_ms = 0
        with suppress(OSError):
            for record, ordinal in self._records_of(segment):
                added = self._settle(ordinal, ordinal + record.events)
                self._settled.dropped += added
                first_ms = min(first_ms, record.first_ms) if events else record.first_ms
                last_ms = max(last_ms, record.last_ms)
                events += added
        self._lose(segment.first, segment.stop)
        self._touched.add(segment.name)
        return LostRange(LostReason.DROP_OLDEST, events, first_ms, last_ms)

    def _records_of(self, segment: Segment) -> Iterator[tuple[SpillRecord, int]]:
        """The records of a segment that are not settled. Raises OSError."""
        reader = SegmentReader(self._files, segment)
        try:
            while (step := reader.step()) is not None:
                if step.record is None or step.header is None:
                    continue
                ordinal = step.header.ordinal
                if self._settled.spans.around(ordinal) is None:
                    yield step.record, ordinal
        finally:
            reader.close()

    def read(self, bytes_max: int) -> list[tuple[SpillToken, SpillRecord]]:
        """The oldest records not handed out yet, up to `bytes_max` bytes, but one at least.

        What is damaged on the way is set aside and counted, once. Raises SpillError when the disk
        fails; after a few failures in a row what cannot be read counts as corrupt, so that
        nothing waits behind it for good.
        """
        self._require_open()
        found: list[tuple[SpillToken, SpillRecord]] = []
        try:
            room = bytes_max
            while (taken := self._next(room if found else None)) is not None:
                found.append(taken)
                room -= taken[0].size_bytes
                if room <= 0:
                    break
        except OSError as error:
            if not found:
                raise _failed(self.directory, error) from error
        finally:
            if self._unmarked:
                with suppress(SpillError):
                    self._mark()
                    self._remove_finished()
            self._count()
        return found

    def _next(self, room: int | None) -> tuple[SpillToken, SpillRecord] | None:
        """The next record, if it has at most `room` bytes. Raises OSError."""
        while self._returned:
            token = self._returned[0][1]
            if room is not None and token.size_bytes > room:
                return None
            record = self._read_again(token)
            heappop(self._returned)
            if record is not None:
                return self._hand_out(token), record
            self._lose(token.ordinal, token.ordinal + token.events)
            self._touched.add(token.segment)
        while (segment := self._cursor.segment) is not None:
            step = self._step(segment)
            if step is None:
                if segment is self._writer.active:
                    return None
                self._cursor.leave()
                continue
            if step.damaged:
                self._set_aside(segment, step)
            if step.lost is not None:
                at_ms = (step.header.first_ms, step.header.last_ms) if step.header else None
                self._lose(*step.lost, at_ms)
                self._touched.add(segment.name)
            if step.record is None or step.header is None:
                continue
            self._seen_ms = step.header.last_ms
            ordinal = step.header.ordinal
            if self._settled.spans.around(ordinal) is not None:
                continue
            token = SpillToken(
                ordinal, step.header.events, segment.name, step.offset, step.size_bytes
            )
            if room is not None and token.size_bytes > room:
                heappush(self._returned, (ordinal, token))
                return None
            return self._hand_out(token), step.record
        return None

    def _step(self, segment: Segment) -> Step | None:
        """The next step in a segment. Raises OSError until it is given up."""
        try:
            step = self._cursor.step()
        except OSError as error:
            if not self._given_up(segment, error):
                raise
            # The end, with all that was not come to as lost.
            expected = self._cursor.expected
            if segment is self._writer.active:
                self._end_segment()
            self._lose(expected, segment.stop, error=error)
            self._touched.add(segment.name)
            self._cursor.leave()
            return Step()
        self._failures = 0
        return step

    def _given_up(self, segment: Segment, error: OSError) -> bool:
        """Whether to try to read no more, after an error."""
        if isinstance(error, FileNotFoundError):
            return True
        if error.errno in _PASSING:
            return False
        self._failures += 1
        if self._failures < _ATTEMPTS:
            return False
        self._failures = 0
        _log.error("%s cannot be read, and is given up: %s", segment.path, in_words(error))
        return True

    def _read_again(self, token: SpillToken) -> SpillRecord | None:
        segment = self._segments.get(token.segment)
        if segment is None:
            return None
        try:
            record = self._cursor.read_again(segment, token.offset, token.size_bytes)
        except OSError as error:
            if not self._given_up(segment, error):
                raise
            return None
        self._failures = 0
        return record

    def _set_aside(self, segment: Segment, step: Step) -> None:
        _log.warning(
            "%d bytes at %d of %s are damaged and set aside.",
            step.size_bytes,
            step.offset,
            segment.path,
        )
        with suppress(OSError):
            self._quarantine.keep(f"{segment.path.stem}.{step.offset}", self._cursor.raw(step))

    def _hand_out(self, token: SpillToken) -> SpillToken:
        self._handed_out[token.ordinal] = token
        self._segments[token.segment].handed_out += 1
        return token

    def _take_back(self, token: SpillToken) -> bool:
        """Whether the token was out; it is no more."""
        if self._handed_out.pop(token.ordinal, None) is None:
            return False
        self._segments[token.segment].handed_out -= 1
        return True

    def acknowledge(self, tokens: Iterable[SpillToken]) -> None:
        """Settle records that arrived; those that are not handed out are left alone.

        Marks first, and waits for the disk; only then are finished segments removed. Raises
        SpillError when the marks cannot be written: the records do not come back in this process,
        may come back after a restart, and are marked with the next ones.
        """
        self._require_open()
        for token in tokens:
            if self._take_back(token):
                self._settle(token.ordinal, token.ordinal + token.events)
                self._touched.add(token.segment)
        self._count()
        self._mark()
        self._remove_finished()
        self._count()

    def hand_back(self, tokens: Iterable[SpillToken]) -> None:
        """Let records that were not sent be read again, before what was not read yet."""
        for token in tokens:
            if self._take_back(token):
                heappush(self._returned, (token.ordinal, token))

    def checkpoint(self, data: bytes) -> None:
        """Keep a few bytes in the place of those kept before: a crash leaves either whole.

        Raises SpillError, and then it is one of them.
        """
        self._require_open()
        try:
            write_checkpoint(self._files, self.directory, data)
        except OSError as error:
            raise _failed(self.directory, error) from error
        self._checkpoint = data

    def close(self) -> None:
        """Let another process have the directory. What is handed out waits. A second call does
        nothing. No error of the disk is raised: what it would say is said by the next `open`."""
        if self._lock is None:
            return
        self._end_segment()
        with suppress(SpillError):
            # Also when nothing is new: the mark says how many events there are.
            self._unmarked.add(0)
            self._mark()
            self._remove_finished()
        self._count()
        with suppress(OSError):
            self._files.unlock(self._lock)
        self.abandon()

    def abandon(self) -> None:
        """Close the files and do nothing else: for a forked child, whose parent goes on."""
        self._cursor.close()
        self._writer.end()
        self._marks.close()
        if self._lock is not None:
            lock, self._lock = self._lock, None
            with suppress(OSError):
                self._files.close(lock)

    def _settle(self, start: int, stop: int) -> int:
        """Note that events are settled, and return how many were not before."""
        added = self._settled.spans.add(start, stop)
        if added:
            self._unmarked.add(start)
        return added

    def _lose(
        self,
        start: int,
        stop: int,
        at_ms: tuple[int, int] | None = None,
        error: OSError | None = None,
    ) -> None:
        """Count as corrupt what of [start, stop) is not settled."""
        events = self._settle(start, stop)
        if not events:
            return
        self._settled.corrupt += events
        first_ms, last_ms = at_ms or (self._seen_ms, self._seen_ms)
        said = in_words(error) if error is not None else ""
        if self._lost:
            before = self._lost.pop()
            events += before.events
            first_ms, last_ms = min(first_ms, before.first_ms), max(last_ms, before.last_ms)
            said = said or before.error
        self._lost.append(LostRange(LostReason.CORRUPT, events, first_ms, last_ms, said))

    def _mark(self) -> None:
        """Bring what is settled onto the disk. Raises SpillError."""
        if not self._unmarked:
            return
        around = self._settled.spans.around
        spans = {around(ordinal) or (ordinal, ordinal) for ordinal in self._unmarked}
        try:
            self._marks.write(self._settled, sorted(spans))
        except OSError as error:
            raise _failed(self.directory, error) from error
        self._unmarked.clear()

    def _remove_finished(self) -> None:
        """Remove segments whose events are all settled, and known to be on the disk as such."""
        if self._unmarked:
            return
        removed = False
        for name in sorted(self._touched):
            segment = self._segments.get(name)
            if segment is None:
                self._touched.discard(name)
            elif self._finished(segment):
                removed = self._remove(segment) or removed
            else:
                self._touched.discard(name)
        if removed:
            with suppress(OSError):
                # One that comes back after a power cut is settled and removed again.
                self._files.sync_directory(self.directory)

    def _finished(self, segment: Segment) -> bool:
        if not self._settled.spans.covers(segment.first, segment.stop):
            return False
        if segment is not self._writer.active:
            return True
        if segment.size_bytes < self.limits.segment_bytes_used // _QUARTER:
            return False
        self._writer.end()
        return True

    def _remove(self, segment: Segment) -> bool:
        self._cursor.forget(segment)
        try:
            self._files.remove(segment.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("%s is done with and cannot be removed: %s", segment.path, error)
            return False
        del self._segments[segment.name]
        self._touched.discard(segment.name)
        return True

    def _bytes(self) -> int:
        return sum(segment.size_bytes for segment in self._segments.values())

    def _count(self) -> None:
        settled = self._settled
        appended = settled.end - settled.base
        done = settled.count
        self._account = SpillAccount(
            appended=appended,
            acknowledged=done - settled.corrupt - settled.dropped,
            corrupt=settled.corrupt,
            dropped_oldest=settled.dropped,
            waiting=appended - done,
            waiting_bytes=self._bytes(),
        )

    def _require_open(self) -> None:
        if self._lock is None:
            raise SpillError(f"The spill directory {self.directory} was closed; open it again.")


def _range(reason: LostReason, records: Sequence[SpillRecord], error: str = "") -> LostRange:
    return LostRange(reason, sum(record.events for record in records), *times(records), error)


def _failed(directory: Path, error: OSError) -> SpillError:
    return SpillError(
        f"The spill directory {directory} cannot be read or written: {in_words(error)}."
        " See that its disk works and has room."
    )


def _unusable(directory: Path, error: OSError) -> SpillError:
    return SpillError(
        f"The spill directory {directory} cannot be used: {in_words(error)}."
        " Make it readable and writable, or choose another."
    )
