"""Writes segment files, one at a time."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from forebay.producer.spill.files import Files, write_whole
from forebay.producer.spill.format import encode_mark, segment_key, segment_name
from forebay.producer.spill.segments import Segment


class SegmentWriter:
    """Holds the segment that is written now. It never adds to one of an earlier process."""

    def __init__(self, files: Files, directory: Path) -> None:
        self._files = files
        self._directory = directory
        self._handle: int | None = None
        #: The segment that is written now.
        self.active: Segment | None = None
        #: Files on which may be what a failed write left: the ordinal it had, and the size to cut
        #: the file off at, or None to remove it.
        self._left: dict[Path, tuple[int, int | None]] = {}

    def write(self, ordinal: int, data: bytes, stop: int) -> Segment:
        """Return when records of the events [ordinal, stop) are on the disk, with their segment.

        Raises OSError. Then none of them is in the spill: what may have come onto the disk is cut
        off, and as long as that fails too it is taken for nothing, since the next segment has the
        same ordinals. Nothing is added to a file whose write or fsync failed: what the system says
        of such a file afterwards proves nothing.
        """
        if self.active is None or self._handle is None:
            return self._start(ordinal, data, stop)
        segment = self.active
        try:
            write_whole(self._files, self._handle, data, segment.size_bytes)
            self._files.sync(self._handle)
        except OSError:
            self.end()
            self._left[segment.path] = (ordinal, segment.size_bytes)
            self.clear()
            raise
        segment.size_bytes += len(data)
        segment.stop = stop
        return segment

    def _start(self, ordinal: int, data: bytes, stop: int) -> Segment:
        keys = map(segment_key, self._files.names(self._directory))
        attempts = [key[1] for key in keys if key is not None and key[0] == ordinal]
        attempt = max(attempts, default=-1) + 1
        path = self._directory / segment_name(ordinal, attempt)
        data = encode_mark(ordinal) + data
        handle = self._files.create(path)
        try:
            write_whole(self._files, handle, data, 0)
            self._files.sync(handle)
            self._files.sync_directory(self._directory)
        except OSError:
            self._files.close(handle)
            self._left[path] = (ordinal, None)
            self.clear()
            raise
        self._handle = handle
        self.active = segment = Segment(path, ordinal, attempt, len(data))
        segment.stop = stop
        return segment

    def clear(self) -> None:
        """Take off the disk what failed writes left on it, as far as it allows."""
        for path, (_, size) in list(self._left.items()):
            with suppress(OSError):
                with suppress(FileNotFoundError):
                    self._cut_off(path, size)
                del self._left[path]

    def _cut_off(self, path: Path, size: int | None) -> None:
        if size is None:
            self._files.remove(path)
            self._files.sync_directory(self._directory)
            return
        handle = self._files.reopen(path)
        try:
            self._files.truncate(handle, size)
            self._files.sync(handle)
        finally:
            self._files.close(handle)

    def holds(self, segment: Segment) -> bool:
        """Whether a segment must stay, so that what a failed write left counts for nothing."""
        return any(ordinal == segment.first for ordinal, _ in self._left.values())

    def end(self) -> None:
        """Write no more to the segment that is written now."""
        self.active = None
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self._files.close(handle)
