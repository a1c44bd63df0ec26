"""Looks at spill directories and changes nothing, also while a producer uses them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from forebay.errors import in_words
from forebay.producer.spill.base import SpillAccount, SpillError, SpillRecord, unusable
from forebay.producer.spill.checkpoint import CheckpointDamaged, read_checkpoint
from forebay.producer.spill.files import Files, SystemFiles
from forebay.producer.spill.format import segment_key
from forebay.producer.spill.marks import MARKS_FILE, Settled, read_marks
from forebay.producer.spill.owner import read_owner
from forebay.producer.spill.quarantine import QUARANTINE
from forebay.producer.spill.segments import Segment, SegmentReader, end_of, find_segments
from forebay.producer.spill.spill import LOCK_FILE


class SegmentReport(Struct, frozen=True, kw_only=True):
    """What is in a segment file."""

    name: str
    size_bytes: int
    #: Records and events that wait to be acknowledged.
    records: int = 0
    events: int = 0
    #: When the first and the last of these were made, in milliseconds since the Unix epoch; None
    #: when none waits.
    first_ms: int | None = None
    last_ms: int | None = None
    #: Events that cannot be read and that no reader has counted yet.
    corrupt: int = 0


class SpillReport(Struct, frozen=True, kw_only=True):
    """What is in a spill directory."""

    directory: str
    #: The queue that it is for, if that is known.
    owner: str | None
    #: The process that uses it, if there is one.
    process: int | None
    #: With the corrupt events that were found now.
    account: SpillAccount
    segments: list[SegmentReport]
    #: Records that wait, and from when to when their events are.
    records: int
    first_ms: int | None
    last_ms: int | None
    #: What was set aside earlier: files, and their bytes.
    quarantined: int
    quarantined_bytes: int
    #: What is damaged, a line for each.
    damages: list[str]


def spill_directories(path: Path) -> list[Path]:
    """The spill directories at a path: itself, or its slots. Raises SpillError for none."""
    try:
        slots = [each for each in path.iterdir() if each.name.isdecimal() and each.is_dir()]
        found = [
            each
            for each in (path, *sorted(slots, key=lambda slot: int(slot.name)))
            if any(name == MARKS_FILE or segment_key(name) for name in os.listdir(each))  # noqa: PTH208
        ]
    except OSError as error:
        raise SpillError(f"{path} cannot be read: {error.strerror}.") from error
    if not found:
        raise SpillError(
            f"{path} holds no spill. Name the directory that the producer was given as spill=."
        )
    return found


class Look:
    """One look at a directory. `records` goes through it; the other members are for afterwards."""

    def __init__(self, directory: Path, *, files: Files | None = None) -> None:
        self.directory = directory
        self.damages: list[str] = []
        self.segments: list[SegmentReport] = []
        self.corrupt = 0
        self.end = 0
        self._files = files or SystemFiles()
        self.process = _process(directory)
        self.owner: str | None = None
        self._settled = Settled()

    def records(self) -> Iterator[SpillRecord]:
        """What waits, oldest first; what is damaged is left out. Raises SpillError."""
        try:
            yield from self._records()
        except OSError as error:
            raise unusable(self.directory, error) from error

    def _records(self) -> Iterator[SpillRecord]:
        self.owner = read_owner(self._files, self.directory)
        found = find_segments(self._files, self.directory)
        segments = found.segments
        self.damages += [f"{path.name} holds nothing of a segment" for path in found.foreign]
        settled = read_marks(self._files, self.directory)
        if settled is None:
            self.damages.append("the marks are gone, and with them the account")
            settled = Settled(segments[0].first if segments else 0)
        self._settled = settled
        self.end = settled.end
        if segments:
            with suppress(FileNotFoundError):
                self.end = max(settled.end, end_of(self._files, segments[-1]))
            segments[-1].stop = max(self.end, segments[-1].first)
        self._lose(
            settled.base, segments[0].first if segments else self.end, "before the first segment"
        )
        for segment in segments:
            yield from self._segment(segment, last=segment is segments[-1])
        try:
            read_checkpoint(self._files, self.directory)
        except CheckpointDamaged:
            self.damages.append("the checkpoint is damaged")

    def _segment(self, segment: Segment, *, last: bool) -> Iterator[SpillRecord]:
        records = events = 0
        times: list[int] = []
        before = self.corrupt
        try:
            for record in self._steps(segment, last=last):
                records += 1
                events += record.events
                first, latest = (times[0], times[1]) if times else (record.first_ms, record.last_ms)
                times = [min(first, record.first_ms), max(latest, record.last_ms)]
                yield record
        except FileNotFoundError:
            # The producer was done with it meanwhile, unless the marks say otherwise.
            self._settled = read_marks(self._files, self.directory) or self._settled
            self._lose(segment.first, segment.stop, segment.name)
            return
        except OSError as error:
            self.damages.append(f"{segment.name} cannot be read: {in_words(error)}")
            self._lose(segment.first + events, segment.stop, segment.name)
        first_ms, last_ms = times or (None, None)
        self.segments.append(
            SegmentReport(
                name=segment.name,
                size_bytes=segment.size_bytes,
                records=records,
                events=events,
                first_ms=first_ms,
                last_ms=last_ms,
                corrupt=self.corrupt - before,
            )
        )

    def _steps(self, segment: Segment, *, last: bool) -> Iterator[SpillRecord]:
        reader = SegmentReader(self._files, segment)
        try:
            while (step := reader.step()) is not None:
                at_end = step.offset + step.size_bytes >= segment.size_bytes
                if last and self.process is not None and at_end and step.damaged:
                    # An append that is under way.
                    self.end = min(self.end, step.lost[0]) if step.lost else self.end
                    return
                if step.damaged:
                    self.damages.append(
                        f"{segment.name}: damaged bytes at {step.offset}: {step.size_bytes:,}"
                    )
                if step.lost is not None:
                    self._lose(*step.lost, segment.name)
                if step.record is not None and step.header is not None:
                    ordinal = step.header.ordinal
                    if self._settled.spans.around(ordinal) is None:
                        yield step.record
        finally:
            reader.close()

    def _lose(self, start: int, stop: int, where: str) -> None:
        events = sum(b - a for a, b in self._settled.spans.missing(start, stop))
        if events:
            self.corrupt += events
            self.damages.append(f"{where}: events that cannot be read: {events:,}")

    def report(self) -> SpillReport:
        """All of it. Raises SpillError."""
        for _ in self.records():
            pass
        files, size = _held(self.directory / QUARANTINE)
        settled = self._settled
        done = settled.count
        appended = max(self.end, settled.end) - settled.base
        starts = [each.first_ms for each in self.segments if each.first_ms is not None]
        stops = [each.last_ms for each in self.segments if each.last_ms is not None]
        return SpillReport(
            directory=str(self.directory),
            owner=self.owner,
            process=self.process,
            account=SpillAccount(
                appended=appended,
                acknowledged=done - settled.corrupt - settled.dropped,
                corrupt=settled.corrupt + self.corrupt,
                dropped_oldest=settled.dropped,
                waiting=appended - done - self.corrupt,
                waiting_bytes=sum(each.size_bytes for each in self.segments),
            ),
            segments=self.segments,
            records=sum(each.records for each in self.segments),
            first_ms=min(starts, default=None),
            last_ms=max(stops, default=None),
            quarantined=files,
            quarantined_bytes=size,
            damages=self.damages,
        )


def _held(directory: Path) -> tuple[int, int]:
    sizes = []
    with suppress(OSError):
        for path in directory.iterdir():
            with suppress(OSError):
                sizes.append(path.stat().st_size)
    return len(sizes), sum(sizes)


def _process(directory: Path) -> int | None:
    """The process that the lock file names, if it still runs: looking must not take the lock."""
    try:
        process = int((directory / LOCK_FILE).read_text())
    except (OSError, ValueError):
        return None
    if process < 1:
        # To the system 0 and less are groups of processes.
        return None
    try:
        os.kill(process, 0)
    except PermissionError:
        return process
    except (OSError, OverflowError):
        return None
    return process
