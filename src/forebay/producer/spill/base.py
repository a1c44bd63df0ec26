"""What goes into a spill, what comes out, and how it is counted."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from forebay.errors import ForebayError, SettingsError, in_words
from forebay.producer.settings import SpillFull


class SpillError(ForebayError):
    """The spill directory could not be read or written. See that its disk works and has room."""


class SpillInUse(SpillError):
    """Another process has this spill directory. Choose another, or let each take a slot."""


class SpillTooNew(SpillError):
    """The spill directory was written by a newer Forebay. Upgrade, or choose another directory."""


def as_spill_error(directory: Path, error: OSError | SpillError) -> SpillError:
    """What to say when the disk fails a spill that is open."""
    if isinstance(error, SpillError):
        return error
    return SpillError(
        f"The spill directory {directory} cannot be read or written: {in_words(error)}."
        " See that its disk works and has room."
    )


def unusable(directory: Path, error: OSError) -> SpillError:
    """What to say when a spill cannot be opened."""
    return SpillError(
        f"The spill directory {directory} cannot be used: {in_words(error)}."
        " Make it readable and writable, or choose another."
    )


class SpillRecord(Struct, frozen=True):
    """What is spilled as a whole: bytes that the spill does not look into, and what it counts."""

    #: At most 65,535 bytes in UTF-8.
    id: str
    #: How many envelopes it holds, 1 or more.
    events: int
    #: When the first and the last of them were made, in milliseconds since the Unix epoch.
    first_ms: int
    last_ms: int
    data: bytes


class SpillLimits(Struct, frozen=True, kw_only=True):
    """How much a spill may take, and what gives way at the limit.

    Raises SettingsError when a number is not positive.
    """

    #: Most bytes of segment files. What is set aside takes up to a quarter of it on top.
    bytes_max: int
    #: Size of one segment file. A quarter of `bytes_max` when that is less, so that dropping the
    #: oldest segment drops a quarter at most.
    segment_bytes: int
    full: SpillFull = SpillFull.DROP_NEWEST

    def __post_init__(self) -> None:
        for name in ("bytes_max", "segment_bytes"):
            if getattr(self, name) < 1:
                raise SettingsError(f"SpillLimits.{name} is {getattr(self, name)}; the least is 1.")

    @property
    def segment_bytes_used(self) -> int:
        """The size at which a segment is ended."""
        return max(1, min(self.segment_bytes, self.bytes_max // 4))


class LostReason(StrEnum):
    """Why spilled events will not be read."""

    #: The spill was full, and they came last. They were never in it.
    DROP_NEWEST = "drop_newest"
    #: The spill was full, and they were its oldest.
    DROP_OLDEST = "drop_oldest"
    #: They could not be written. They were never in it.
    FAILED = "failed"
    #: They were in it, and are damaged or gone.
    CORRUPT = "corrupt"


class LostRange(Struct, frozen=True):
    """Events that will not be read, and from which time they are.

    The times are those of the events where these can still be told. Of corrupt ones they are those
    of the records around them, and 0 when there are none.
    """

    reason: LostReason
    events: int
    #: In milliseconds since the Unix epoch.
    first_ms: int
    last_ms: int
    #: What the disk said, where it said something.
    error: str = ""


class SpillToken(Struct, frozen=True):
    """A record that was read, to acknowledge it or to hand it back."""

    #: The number of its first event, counted from the first that the directory ever held.
    ordinal: int
    events: int
    #: The name of its segment file, and where in it the record is.
    segment: str
    offset: int
    size_bytes: int


class SpillAccount(Struct, frozen=True, kw_only=True):
    """What became of the events of a directory, over its life.

    Always `appended == acknowledged + corrupt + dropped_oldest + waiting`. What was never in the
    spill (LostReason.DROP_NEWEST and FAILED) is not in it.
    """

    #: Events whose `append` returned.
    appended: int = 0
    #: Events whose acknowledgement was asked for.
    acknowledged: int = 0
    #: Events that could not be read any more.
    corrupt: int = 0
    #: Events that gave way to younger ones.
    dropped_oldest: int = 0
    #: Events that are to be read or are handed out.
    waiting: int = 0
    #: Bytes of segment files.
    waiting_bytes: int = 0
