"""Segment files: finding them, and reading one from end to end whatever it holds."""

from __future__ import annotations

from errno import EIO
from itertools import pairwise
from pathlib import Path

from msgspec import Struct

from forebay.producer.spill.base import SpillRecord, SpillTooNew
from forebay.producer.spill.files import Files, read_whole
from forebay.producer.spill.format import (
    HEADER_BYTES,
    MAGIC,
    VERSION,
    Header,
    decode_body,
    decode_header,
    segment_key,
)

#: How much is read from a file at a time, in bytes. A larger record is read alone.
_CHUNK_BYTES = 128 * 1024


class Segment:
    """One segment file. It answers for the events [first, stop), be they readable or not."""

    def __init__(self, path: Path, first: int, attempt: int, size_bytes: int) -> None:
        self.path = path
        self.first = first
        self.attempt = attempt
        #: As far as it is known to be written and synced.
        self.size_bytes = size_bytes
        #: The first ordinal that it does not answer for.
        self.stop = first
        #: How many of its records are handed out.
        self.handed_out = 0
        #: Whether the disk fails to read it, however often it is tried.
        self.given_up = False

    @property
    def name(self) -> str:
        return self.path.name


class Step(Struct, frozen=True):
    """What a reader came upon."""

    #: A whole record, its header, and where it is.
    record: SpillRecord | None = None
    header: Header | None = None
    offset: int = 0
    size_bytes: int = 0
    #: Events [start, stop) that cannot be read.
    lost: tuple[int, int] | None = None
    #: Bytes at `offset` that are damaged, `size_bytes` of them.
    damaged: bool = False


class SegmentReader:
    """Reads a segment in order. Every step goes on in the file, so it always comes to an end.

    What cannot be read is told from the ordinals: of a damaged record by its own header where
    that is whole, and else by the next record that is. An `open_ended` segment has nobody who
    knows what should be in it. Raises OSError where the disk does.
    """

    def __init__(self, files: Files, segment: Segment, *, open_ended: bool = False) -> None:
        self.segment = segment
        #: The ordinal that is to come next.
        self.expected = segment.first
        self._files = files
        self._open_ended = open_ended
        self._handle = files.open(segment.path)
        self._position = 0
        self._chunk = b""
        self._chunk_at = 0

    def close(self) -> None:
        self._files.close(self._handle)

    def step(self) -> Step | None:
        """What comes next; None at the end, which may move while the segment is written."""
        segment = self.segment
        while self._position < segment.size_bytes:
            here = self._position
            header = decode_header(self._bytes(here, HEADER_BYTES))
            if header is None:
                return self._damage(here, self._next_header(here + 1))
            refuse_newer(header, segment.path)
            if not self._open_ended and header.stop > segment.stop:
                # An append that failed and could not be cut off: nobody was told that it is here.
                self._position = segment.size_bytes
                break
            if header.ordinal < self.expected:
                self._position = here + HEADER_BYTES + header.length
                continue
            if header.ordinal > self.expected:
                return self._lose(header.ordinal)
            if header.events == 0:
                self._position = here + HEADER_BYTES
                continue
            return self._record(here, header)
        if not self._open_ended and self.expected < segment.stop:
            return self._lose(segment.stop)
        return None

    def _record(self, here: int, header: Header) -> Step:
        size = HEADER_BYTES + header.length
        if here + size > self.segment.size_bytes:
            there = self._next_header(here + HEADER_BYTES)
            lost = self._lose(header.stop).lost
            self._position = there
            return Step(None, header, here, there - here, lost, damaged=True)
        # Read first: a read that fails is then tried again.
        record = decode_body(header, self._bytes(here + HEADER_BYTES, header.length))
        lost = self._lose(header.stop).lost
        self._position = here + size
        if record is None:
            return Step(None, header, here, size, lost, damaged=True)
        return Step(record, header, here, size)

    def _lose(self, stop: int) -> Step:
        start, self.expected = self.expected, stop
        return Step(lost=(start, stop))

    def _damage(self, here: int, there: int) -> Step:
        self._position = there
        return Step(offset=here, size_bytes=there - here, damaged=True)

    def _next_header(self, position: int) -> int:
        """Where the next whole header is, or the end."""
        end = self.segment.size_bytes
        while position < end:
            if not self._holds(position, HEADER_BYTES):
                self._load(position, HEADER_BYTES)
            start = position - self._chunk_at
            found = self._chunk.find(MAGIC, start)
            if found < 0:
                if self._chunk_at + len(self._chunk) >= end or len(self._chunk) - start < len(
                    MAGIC
                ):
                    return end
                position = self._chunk_at + len(self._chunk) - len(MAGIC) + 1
                continue
            position = self._chunk_at + found
            if decode_header(self._bytes(position, HEADER_BYTES)) is not None:
                return position
            position += 1
        return end

    def file_size(self) -> int:
        """Size of the file, in bytes."""
        return self._files.size(self._handle)

    def holds_a_header(self) -> bool:
        """Whether there is anything of a segment in the file."""
        return self._next_header(0) < self.segment.size_bytes

    def read_again(self, offset: int, size_bytes: int) -> SpillRecord | None:
        """A record that was read before; None when it cannot be read any more."""
        data = read_whole(self._files, self._handle, size_bytes, offset)
        header = decode_header(data)
        return None if header is None else decode_body(header, data[HEADER_BYTES:])

    def raw(self, offset: int, size_bytes: int) -> bytes:
        """Bytes of the file as they are."""
        return read_whole(self._files, self._handle, size_bytes, offset)

    def _holds(self, offset: int, size: int) -> bool:
        at = self._chunk_at
        return at <= offset and offset + size <= at + len(self._chunk)

    def _bytes(self, offset: int, size: int) -> bytes:
        if not self._holds(offset, size):
            self._load(offset, size)
        start = offset - self._chunk_at
        return self._chunk[start : start + size]

    def _load(self, offset: int, size: int) -> None:
        wanted = min(max(size, _CHUNK_BYTES), self.segment.size_bytes - offset)
        self._chunk = b""
        self._chunk = read_whole(self._files, self._handle, wanted, offset)
        self._chunk_at = offset


def refuse_newer(header: Header, path: Path) -> None:
    """Raise SpillTooNew for a record of a format that is not known here."""
    if header.version > VERSION:
        raise SpillTooNew(
            f"{path} has format {header.version}; this Forebay reads up to {VERSION}."
            " Upgrade, or choose another directory."
        )


class Found(Struct, frozen=True):
    """What is in a directory."""

    #: In the order in which they were written, each with its `stop` but the last.
    segments: list[Segment]
    #: Files that are named like segments and hold nothing of one.
    foreign: list[Path]


def find_segments(files: Files, directory: Path) -> Found:
    """The segment files of a directory. Raises OSError, and SpillTooNew.

    A name alone is not believed: a file that holds no header at all answers for nothing.
    """
    segments: list[Segment] = []
    foreign = []
    for name in files.names(directory):
        key = segment_key(name)
        if key is None:
            continue
        segment = _known(files, directory / name, *key)
        if segment is None:
            foreign.append(directory / name)
        else:
            segments.append(segment)
    segments.sort(key=lambda segment: (segment.first, segment.attempt))
    for segment, after in pairwise(segments):
        segment.stop = after.first
    return Found(segments, foreign)


def _known(files: Files, path: Path, first: int, attempt: int) -> Segment | None:
    segment = Segment(path, first, attempt, 0)
    try:
        reader = SegmentReader(files, segment, open_ended=True)
    except FileNotFoundError:
        return None
    try:
        segment.size_bytes = reader.file_size()
        begin = decode_header(reader.raw(0, HEADER_BYTES))
        if begin is not None:
            refuse_newer(begin, path)
            segment.first = segment.stop = begin.ordinal
        elif not reader.holds_a_header():
            return None
    except OSError as error:
        # Read again, and counted, when its turn comes.
        if error.errno != EIO:
            raise
    finally:
        reader.close()
    return segment


def end_of(files: Files, segment: Segment) -> int:
    """The ordinal after the last one that a segment tells of. Raises OSError but for EIO."""
    reader = SegmentReader(files, segment, open_ended=True)
    try:
        while reader.step() is not None:
            pass
    except OSError as error:
        if error.errno != EIO:
            raise
    finally:
        reader.close()
    return reader.expected
