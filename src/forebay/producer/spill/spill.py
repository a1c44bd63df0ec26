"""The spill: records on the disk until somebody acknowledges them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

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
    as_spill_error,
    unusable,
)
from forebay.producer.spill.checkpoint import write_checkpoint
from forebay.producer.spill.cursor import Cursor
from forebay.producer.spill.files import Files, SystemFiles
from forebay.producer.spill.format import (
    HEADER_BYTES,
    encode_mark,
    encode_record,
    record_bytes,
    segment_key,
    times,
)
from forebay.producer.spill.owner import read_owner, write_owner
from forebay.producer.spill.quarantine import Quarantine
from forebay.producer.spill.reading import Reading
from forebay.producer.spill.recovery import recover
from forebay.producer.spill.segments import Segment, SegmentReader
from forebay.producer.spill.settlement import Settlement
from forebay.producer.spill.shelf import Shelf

#: The file that is locked while a process has the directory. It holds the process's id.
LOCK_FILE = "lock"

#: The part of `bytes_max` that what is set aside may take on top of it.
_QUARANTINE_PART = 4

#: Most processes that share one directory by slots.
_SLOTS_MAX = 1_000

#: The part of a segment that is written before it is worth removing while it is still written.
_QUARTER = 4


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
        self._settlement = Settlement(directory, found.settled, found.marks)
        self._shelf = Shelf(files, directory, found.segments, self._quarantine)
        self._reading = Reading(
            Cursor(files, found.segments), self._shelf, self._settlement, self._quarantine
        )
        self._account = SpillAccount()
        first = found.segments[0].first if found.segments else self._settlement.end
        self._settlement.lose(self._settlement.base, first)
        with suppress(SpillError):
            self._settlement.mark()
            self._remove_finished()
        self._count()

    @classmethod
    def open(
        cls,
        directory: Path,
        limits: SpillLimits,
        *,
        owner: str | None = None,
        files: Files | None = None,
    ) -> Self:
        """Lock a directory, which is made when it is not there, and take up what it holds.

        `owner` names whose events these are, in a word: nobody else has the directory afterwards.

        Raises SpillInUse when another process or owner has it, SpillTooNew when a newer Forebay
        wrote it, and SpillError when it cannot be used. No damage in it is an error.
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
            raise unusable(directory, error) from error
        try:
            _claim(files, directory, owner)
            return cls(directory, limits, files=files, lock=lock)
        except OSError as error:
            files.close(lock)
            raise unusable(directory, error) from error
        except SpillError:
            files.close(lock)
            raise

    @classmethod
    def open_slot(
        cls,
        directory: Path,
        limits: SpillLimits,
        *,
        owner: str | None = None,
        files: Files | None = None,
    ) -> Self:
        """Open a numbered subdirectory that no process and no other owner has: the first in which
        something waits, or else the first of all.

        So processes with one configuration each have their own, and a new process takes over what
        one that ended left. It takes one: what more processes left than there are now waits for
        the next that start.
        """
        files = files or SystemFiles()
        waiting = _slots_with_segments(files, directory)
        for number in (*waiting, *range(_SLOTS_MAX)):
            with suppress(SpillInUse):
                return cls.open(directory / str(number), limits, owner=owner, files=files)
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
        return self._settlement.take_lost()

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
            said = as_spill_error(self.directory, error)
            if not done and not lost:
                raise said from error
            lost.append(_range(LostReason.FAILED, records[done:], str(said)))
        finally:
            self._count()
        return lost

    def _fitting(self, records: Sequence[SpillRecord], start: int) -> int:
        """How many records from `start` on go into one segment, after ending one that is full."""
        segment_bytes = self.limits.segment_bytes_used
        active = self._shelf.active
        if active is not None:
            after = active.size_bytes + record_bytes(records[start]) + HEADER_BYTES
            if after > segment_bytes:
                self._shelf.end()
                active = None
        size = HEADER_BYTES if active is None else active.size_bytes
        room = self.limits.bytes_max - self._shelf.size_bytes - HEADER_BYTES
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
        start = stop = self._settlement.end
        parts = []
        for record in records:
            parts.append(encode_record(record, stop))
            stop += record.events
        parts.append(encode_mark(stop))
        begun = self._shelf.write(start, b"".join(parts), stop)
        self._settlement.extend(stop)
        if begun is not None:
            self._reading.add(begun)

    def _make_room(self, lost: list[LostRange]) -> bool:
        """Let the oldest segment give way, if that is what is wanted and it can be removed."""
        self._remove_finished()
        if self.limits.full is not SpillFull.DROP_OLDEST:
            return False
        # What is being sent may arrive, so it is not dropped.
        segment = next((one for one in self._shelf if not one.handed_out), None)
        if segment is None:
            return False
        if segment is self._shelf.active:
            self._shelf.end()
        self._reading.forget(segment)
        dropped = self._dropped_of(segment)
        if dropped.events:
            lost.append(dropped)
        self._settlement.mark()
        self._remove_finished()
        return segment not in self._shelf

    def _dropped_of(self, segment: Segment) -> LostRange:
        """Settle all of a segment as dropped, or as corrupt where it is."""
        events = first_ms = last_ms = 0
        with suppress(OSError):
            for record, ordinal in self._records_of(segment):
                added = self._settlement.drop(ordinal, ordinal + record.events)
                first_ms = min(first_ms, record.first_ms) if events else record.first_ms
                last_ms = max(last_ms, record.last_ms)
                events += added
        self._settlement.lose(segment.first, segment.stop)
        self._shelf.touch(segment.name)
        return LostRange(LostReason.DROP_OLDEST, events, first_ms, last_ms)

    def _records_of(self, segment: Segment) -> Iterator[tuple[SpillRecord, int]]:
        """The records of a segment that are not settled. Raises OSError."""
        reader = SegmentReader(self._files, segment)
        try:
            while (step := reader.step()) is not None:
                if step.record is None or step.header is None:
                    continue
                ordinal = step.header.ordinal
                if not self._settlement.has(ordinal):
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
            while (taken := self._reading.next(room if found else None)) is not None:
                found.append(taken)
                room -= taken[0].size_bytes
                if room <= 0:
                    break
        except (OSError, SpillError) as error:
            # With something found, it is said at the next call, when nothing is.
            if not found:
                raise as_spill_error(self.directory, error) from error
        finally:
            if not self._settlement.marked:
                with suppress(SpillError):
                    self._settlement.mark()
                    self._remove_finished()
            self._count()
        return found

    def acknowledge(self, tokens: Iterable[SpillToken]) -> None:
        """Settle records that arrived; those that are not handed out are left alone.

        Marks first, and waits for the disk; only then are finished segments removed. Raises
        SpillError when the marks cannot be written: the records do not come back in this process,
        may come back after a restart, and are marked with the next ones.
        """
        self._require_open()
        for token in tokens:
            if self._reading.take_back(token):
                self._settlement.acknowledge(token.ordinal, token.ordinal + token.events)
                self._shelf.touch(token.segment)
        self._count()
        self._settlement.mark()
        self._remove_finished()
        self._count()

    def hand_back(self, tokens: Iterable[SpillToken]) -> None:
        """Let records that were not sent be read again, before what was not read yet."""
        for token in tokens:
            self._reading.hand_back(token)

    def checkpoint(self, data: bytes) -> None:
        """Keep a few bytes in the place of those kept before: a crash leaves either whole.

        Raises SpillError, and then it is one of them.
        """
        self._require_open()
        try:
            write_checkpoint(self._files, self.directory, data)
        except OSError as error:
            raise as_spill_error(self.directory, error) from error
        self._checkpoint = data

    def close(self) -> None:
        """Let another process have the directory. What is handed out waits. A second call does
        nothing. No error of the disk is raised: what it would say is said by the next `open`."""
        if self._lock is None:
            return
        self._shelf.end()
        with suppress(SpillError):
            self._settlement.mark_end()
            self._remove_finished(0)
        self._count()
        with suppress(OSError):
            self._files.unlock(self._lock)
        self.abandon()

    def abandon(self) -> None:
        """Close the files and do nothing else: for a forked child, whose parent goes on."""
        self._reading.close()
        self._shelf.end()
        self._settlement.close()
        if self._lock is not None:
            lock, self._lock = self._lock, None
            with suppress(OSError):
                self._files.close(lock)

    def _remove_finished(self, ended_bytes: int | None = None) -> None:
        if ended_bytes is None:
            ended_bytes = self.limits.segment_bytes_used // _QUARTER
        for segment in self._shelf.remove_finished(self._settlement, ended_bytes):
            self._reading.forget(segment)

    def _count(self) -> None:
        self._account = self._settlement.account(self._shelf.size_bytes)

    def _require_open(self) -> None:
        if self._lock is None:
            raise SpillError(f"The spill directory {self.directory} was closed; open it again.")


def _claim(files: Files, directory: Path, owner: str | None) -> None:
    if owner is None:
        return
    known = read_owner(files, directory)
    if known is None:
        write_owner(files, directory, owner)
    elif known != owner:
        raise SpillInUse(
            f"The spill directory {directory} is for {known} and not for {owner}. Choose another."
        )


def _slots_with_segments(files: Files, directory: Path) -> list[int]:
    found = []
    with suppress(OSError):
        for name in files.names(directory):
            # The number's only spelling: a slot is found by it again.
            if not name.isdecimal() or str(int(name)) != name or int(name) >= _SLOTS_MAX:
                continue
            with suppress(OSError):
                if any(map(segment_key, files.names(directory / name))):
                    found.append(int(name))
    return sorted(found)


def _range(reason: LostReason, records: Sequence[SpillRecord], error: str = "") -> LostRange:
    return LostRange(reason, sum(record.events for record in records), *times(records), error)
