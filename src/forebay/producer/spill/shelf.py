"""The segment files that a spill has, and their removal."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from forebay.producer.spill.files import Files
from forebay.producer.spill.quarantine import Quarantine
from forebay.producer.spill.segments import Segment
from forebay.producer.spill.settlement import Settlement
from forebay.producer.spill.writer import SegmentWriter

_log = logging.getLogger(__name__)


class Shelf:
    """All segments, oldest first, the last of which may be written."""

    def __init__(
        self,
        files: Files,
        directory: Path,
        segments: Iterable[Segment],
        quarantine: Quarantine,
    ) -> None:
        self._files = files
        self._directory = directory
        self._quarantine = quarantine
        self._segments = {segment.name: segment for segment in segments}
        #: Size of all of them.
        self.size_bytes = sum(segment.size_bytes for segment in self)
        self._writer = SegmentWriter(files, directory)
        #: Those in which something was settled since it was last seen which are finished.
        self._touched = set(self._segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments.values())

    def __contains__(self, segment: Segment) -> bool:
        return segment.name in self._segments

    def get(self, name: str) -> Segment | None:
        """The segment of that name, if it is still there."""
        return self._segments.get(name)

    @property
    def active(self) -> Segment | None:
        """The segment that is written now."""
        return self._writer.active

    def write(self, ordinal: int, data: bytes, stop: int) -> Segment | None:
        """Write as SegmentWriter.write does. Returns the segment if it is a new one."""
        before = self.active.size_bytes if self.active is not None else 0
        segment = self._writer.write(ordinal, data, stop)
        self.size_bytes += segment.size_bytes - before
        if segment in self:
            return None
        self._segments[segment.name] = segment
        return segment

    def end(self) -> None:
        """Write no more to the segment that is written now."""
        if self.active is not None:
            self.touch(self.active.name)
        self._writer.end()

    def touch(self, name: str) -> None:
        """Something in this segment was settled."""
        self._touched.add(name)

    def remove_finished(self, settlement: Settlement, ended_bytes: int = 0) -> list[Segment]:
        """Remove segments all of whose events are settled, and marked so; return them.

        The one that is written now stays until it has `ended_bytes`.
        """
        if not settlement.marked:
            return []
        self._writer.clear()
        removed = []
        for name in sorted(self._touched):
            segment = self._segments.get(name)
            finished = segment is not None and settlement.covers(segment.first, segment.stop)
            if segment is None or not finished:
                self._touched.discard(name)
                continue
            if segment is self.active:
                if segment.size_bytes < ended_bytes:
                    continue
                self._writer.end()
            if not self._writer.holds(segment) and self._remove(segment):
                removed.append(segment)
        if removed:
            with suppress(OSError):
                # One that comes back after a power cut is settled, and removed again.
                self._files.sync_directory(self._directory)
        return removed

    def _remove(self, segment: Segment) -> bool:
        try:
            if segment.given_up:
                self._quarantine.take(segment.path)
            else:
                self._files.remove(segment.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("%s is done with and cannot be removed: %s", segment.path, error)
            return False
        del self._segments[segment.name]
        self.size_bytes -= segment.size_bytes
        self._touched.discard(segment.name)
        return True
