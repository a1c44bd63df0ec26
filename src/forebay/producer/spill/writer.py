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

    def write(self, ordinal: int, data: bytes, stop: int) -> Segment:
        """Return when records of the events [ordinal, stop) are on the disk, with their segment.

        Raises OSError. Then none of them is in the spill: what may have come onto the disk is cut
        off or, where that fails too, taken for nothing, since the next segment has the same
        ordinals. Nothing is added to a file whose write or fsync failed: what the system says of
        such a file afterwards proves nothing.
        """
        if self.active is None or self._handle is None:
            return self._start(ordinal, data, stop)
        segment = self.active
        try:
            write_whole(self._files, self._handle, data, segment.size_bytes)
            self._files.sync(self._handle)
        except OSError:
            with suppress(OSError):
                self._files.truncate(self._handle, segment.size_bytes)
                self._files.sync(self._handle)
            self.end()
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
            with suppress(OSError):
                self._files.remove(path)
            raise
        self._handle = handle
        self.active = segment = Segment(path, ordinal, attempt, len(data))
        segment.stop = stop
        return segment

    def end(self) -> None:
        """Write no more to the segment that is written now."""
        self.active = None
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self._files.close(handle)
