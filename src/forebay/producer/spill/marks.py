"""The marks: which events are settled, written down before anything is removed.

A mark is the whole span of settled ordinals that an acknowledgement became a part of, so a later
mark says again what earlier ones said. Each is written twice: one flipped bit loses none.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from struct import Struct as Layout

from msgspec import Struct

from forebay.producer.spill.files import Files, read_whole, write_whole
from forebay.producer.spill.format import crc32c
from forebay.producer.spill.spans import Spans

#: The file's name.
MARKS_FILE = "marks"

_MAGIC = b"FSPM"

#: Version of the format.
_VERSION = 1

#: magic, version, nothing, start, stop, end, base, corrupt, dropped. The CRC32C of these follows,
#: and four bytes of nothing.
_LAYOUT = Layout("<4sHHQQQQQQ")
_CRC = Layout("<I4x")

#: Size of a mark.
MARK_BYTES = _LAYOUT.size + _CRC.size

#: Room that the file is made with, so that a full disk does not stop acknowledgements, which make
#: room on it.
_ROOM_BYTES = 64 * 1024


class Mark(Struct, frozen=True):
    """One mark."""

    #: These ordinals are settled.
    start: int
    stop: int
    #: The ordinal that the next event gets, when this was written.
    end: int
    #: The first ordinal that the account counts. What was before an account that is lost is not
    #: in its successor.
    base: int
    #: How many of the settled events were corrupt, and dropped to make room. The others were
    #: acknowledged.
    corrupt: int
    dropped: int


def _encode(mark: Mark) -> bytes:
    fields = _LAYOUT.pack(
        _MAGIC, _VERSION, 0, mark.start, mark.stop, mark.end, mark.base, mark.corrupt, mark.dropped
    )
    return (fields + _CRC.pack(crc32c(fields))) * 2


def _decode(data: bytes) -> Mark | None:
    if len(data) < MARK_BYTES or data[:4] != _MAGIC:
        return None
    (crc,) = _CRC.unpack_from(data, _LAYOUT.size)
    if crc != crc32c(data[: _LAYOUT.size]):
        return None
    _, version, _, *fields = _LAYOUT.unpack_from(data)
    return Mark(*fields) if version == _VERSION else None


class Settled:
    """Which events are settled and how. In memory; `marks_of` says it in marks."""

    def __init__(self, base: int = 0) -> None:
        self.base = base
        self.end = base
        self.corrupt = 0
        self.dropped = 0
        #: What was before the account began is settled too, whatever became of it.
        self.spans = Spans()
        self.spans.add(0, base)

    def take(self, mark: Mark) -> None:
        """Add what a mark says."""
        self.end = max(self.end, mark.end)
        self.corrupt = max(self.corrupt, mark.corrupt)
        self.dropped = max(self.dropped, mark.dropped)
        self.spans.add(mark.start, mark.stop)

    @property
    def count(self) -> int:
        """How many events of the account are settled."""
        return self.spans.count() - self.base

    def mark(self, start: int, stop: int) -> Mark:
        return Mark(start, stop, self.end, self.base, self.corrupt, self.dropped)

    def all_marks(self) -> list[Mark]:
        """The marks that say all of it: one at least."""
        spans = list(self.spans) or [(0, 0)]
        return [self.mark(start, stop) for start, stop in spans]


def read_marks(files: Files, directory: Path) -> Settled | None:
    """What the marks of a directory say; None when none can be read. Raises OSError."""
    try:
        handle = files.open(directory / MARKS_FILE)
    except FileNotFoundError:
        return None
    try:
        data = read_whole(files, handle, files.size(handle), 0)
    finally:
        files.close(handle)
    settled: Settled | None = None
    for offset in range(0, len(data), MARK_BYTES):
        mark = _decode(data[offset : offset + MARK_BYTES])
        if mark is not None:
            if settled is None:
                settled = Settled(mark.base)
            settled.take(mark)
    if settled is not None:
        # A mark may be lost whose events the counts of later ones have in them.
        settled.corrupt = min(settled.corrupt, settled.count)
        settled.dropped = min(settled.dropped, settled.count - settled.corrupt)
    return settled


class MarksFile:
    """The file, opened to add marks.

    After any error nothing is added to it any more: what the disk says of it cannot be trusted.
    The next marks go into a fresh file, which says all that the old one did.
    """

    def __init__(self, files: Files, directory: Path) -> None:
        self._files = files
        self._path = directory / MARKS_FILE
        self._handle: int | None = None
        self._position = 0
        self._room_bytes = 0

    def write(self, settled: Settled, changed: list[tuple[int, int]]) -> None:
        """Return when the marks of the changed spans are on the disk. Raises OSError."""
        data = b"".join(_encode(settled.mark(start, stop)) for start, stop in changed)
        after = self._position + len(data)
        if self._handle is None or after > self._room_bytes // 2:
            try:
                self.write_anew(settled)
            except OSError:
                # A full disk has no room for a fresh file; the old one still has its own.
                if self._handle is None:
                    raise
                if after > self._room_bytes:
                    # Over what is oldest: a crash in the middle may forget what was settled, and
                    # that is sent once more.
                    data = b"".join(map(_encode, settled.all_marks()))
                    self._position, after = 0, len(data)
                if after > self._room_bytes:
                    raise
            else:
                return
        handle, self._handle = self._handle, None
        try:
            write_whole(self._files, handle, data, self._position)
            self._files.sync(handle)
        except OSError:
            self._files.close(handle)
            raise
        self._handle = handle
        self._position = after

    def write_anew(self, settled: Settled) -> None:
        """Write a fresh file in the place of the old one. Raises OSError."""
        data = b"".join(map(_encode, settled.all_marks()))
        room = max(_ROOM_BYTES, 4 * len(data))
        fresh = self._path.with_name(f"{MARKS_FILE}.new")
        handle = self._files.create(fresh)
        try:
            write_whole(self._files, handle, data + bytes(room - len(data)), 0)
            self._files.sync(handle)
        except OSError:
            self._files.close(handle)
            with suppress(OSError):
                self._files.remove(fresh)
            raise
        self.close()
        try:
            self._files.rename(fresh, self._path)
            self._files.sync_directory(self._path.parent)
        except OSError:
            self._files.close(handle)
            raise
        self._handle = handle
        self._position = len(data)
        self._room_bytes = room

    def go_on(self) -> None:
        """Add to the file that is there, which a full disk allows. Raises OSError."""
        self._handle = handle = self._files.reopen(self._path)
        self._files.sync(handle)
        self._room_bytes = self._files.size(handle)
        data = read_whole(self._files, handle, self._room_bytes, 0).rstrip(b"\0")
        self._position = -(-len(data) // MARK_BYTES) * MARK_BYTES

    def close(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self._files.close(handle)
