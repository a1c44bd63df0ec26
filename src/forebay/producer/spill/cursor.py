"""Where a spill is read: the segments that are not read to their end, oldest first."""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Iterable

from forebay.errors import in_words
from forebay.producer.spill.base import SpillRecord
from forebay.producer.spill.files import Files
from forebay.producer.spill.segments import Segment, SegmentReader, Step

#: How often in a row a segment may fail to be read before it is given up.
_ATTEMPTS = 3

#: Errors that say nothing of the file: the process or the system is short of something.
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_log = logging.getLogger(__name__)


class GivenUp(Exception):
    """A segment cannot be read, however often it is tried."""

    def __init__(self, cause: OSError) -> None:
        super().__init__()
        self.cause = cause


class Cursor:
    """Reads segments one after another, with one file open at a time.

    What reads raises OSError, and GivenUp when it is the last in a row of them.
    """

    def __init__(self, files: Files, segments: Iterable[Segment]) -> None:
        self._files = files
        self._unread = deque(segments)
        self._reader: SegmentReader | None = None
        #: How often in a row reading failed.
        self._failures = 0

    @property
    def segment(self) -> Segment | None:
        """The one that is read now."""
        return self._unread[0] if self._unread else None

    @property
    def expected(self) -> int:
        """The first ordinal of that segment which was not come to."""
        if self._reader is not None:
            return self._reader.expected
        return self._unread[0].first if self._unread else 0

    def add(self, segment: Segment) -> None:
        """Read one more, after the others."""
        self._unread.append(segment)

    def step(self) -> Step | None:
        """What comes next in the segment; None at its end."""
        try:
            step = self._open().step()
        except OSError as error:
            self._fail(self._unread[0], error)
            raise
        self._failures = 0
        return step

    def _fail(self, segment: Segment, error: OSError) -> None:
        """Raise GivenUp, or let the caller try again."""
        if isinstance(error, FileNotFoundError):
            raise GivenUp(error) from error
        if error.errno in _PASSING:
            return
        self._failures += 1
        if self._failures == _ATTEMPTS:
            self._failures = 0
            _log.error("%s cannot be read, and is given up: %s", segment.path, in_words(error))
            raise GivenUp(error) from error

    def raw(self, step: Step) -> bytes:
        """The bytes that a step is about, as they are. Raises OSError."""
        return self._open().raw(step.offset, step.size_bytes)

    def _open(self) -> SegmentReader:
        if self._reader is None:
            self._reader = SegmentReader(self._files, self._unread[0])
        return self._reader

    def leave(self) -> None:
        """Go on with the next segment."""
        self.close()
        self._unread.popleft()

    def forget(self, segment: Segment) -> None:
        """Do not read a segment that is removed."""
        if self._unread and self._unread[0] is segment:
            self.leave()
        elif segment in self._unread:
            self._unread.remove(segment)

    def read_again(self, segment: Segment, offset: int, size_bytes: int) -> SpillRecord | None:
        """A record that was read before; None when it is damaged since."""
        try:
            if self._reader is not None and self._reader.segment is segment:
                record = self._reader.read_again(offset, size_bytes)
            else:
                record = self._read_closed(segment, offset, size_bytes)
        except OSError as error:
            self._fail(segment, error)
            raise
        self._failures = 0
        return record

    def _read_closed(self, segment: Segment, offset: int, size_bytes: int) -> SpillRecord | None:
        reader = SegmentReader(self._files, segment)
        try:
            return reader.read_again(offset, size_bytes)
        finally:
            reader.close()

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
