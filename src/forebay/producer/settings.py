"""What can be set on a producer, and within which limits."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.number_settings import require_numbers
from forebay.protocol import limits

#: What a setting may be: its least and its most value.
RANGES: dict[str, tuple[float, float]] = {
    "batch_size": (1, limits.BATCH_ENTRIES_MAX),
    "flush_ms": (1, 60_000),
    "buffer_size": (1, 100_000_000),
    "buffer_bytes": (1024, 1024**4),
    "timeout_ms": (1, 600_000),
    "concurrency": (1, 1_000),
    "block_ms": (0, 600_000),
    "spill_bytes": (1024 * 1024, 1024**4),
    "spill_segment_bytes": (64 * 1024, 1024**3),
    "replay_share": (0.01, 1),
}


class WhenFull(StrEnum):
    """What `send` does when the buffer is full."""

    #: Drop the message, count it and return False.
    DROP = "drop"
    #: Wait up to `block_ms` for room, then drop. Never on the loop's own thread, which makes room.
    BLOCK = "block"
    #: Write what waits to the spill directory, ahead of time; drop only what the disk is too slow
    #: for.
    SPILL = "spill"


class SpillFull(StrEnum):
    """What becomes of messages when the spill directory has no room either."""

    DROP_NEWEST = "drop_newest"
    DROP_OLDEST = "drop_oldest"


class ProducerSettings(Struct, frozen=True, kw_only=True):
    """The parameters of a producer. Raises SettingsError for a value out of range."""

    #: Most messages in one SendMessageBatch: 1 to 10.
    batch_size: int = limits.BATCH_ENTRIES_MAX
    #: How long a message of `send` may wait for its batch or pack to fill, in milliseconds.
    flush_ms: int = 100
    #: Most envelopes that are accepted and not yet settled.
    buffer_size: int = 50_000
    #: Most bytes of them.
    buffer_bytes: int = 256 * 1024**2
    #: How long one attempt of a SendMessageBatch may take, in milliseconds.
    timeout_ms: int = 3_000
    #: Most SendMessageBatch calls under way at once.
    concurrency: int = 16
    #: What `send` does when the buffer is full.
    when_full: WhenFull = WhenFull.DROP
    #: How long `send` may wait for room, in milliseconds.
    block_ms: int = 1_000
    #: Most that the spill directory holds, in bytes.
    spill_bytes: int = 1024**3
    #: Size of one file of the spill directory, in bytes.
    spill_segment_bytes: int = 16 * 1024**2
    #: What becomes of messages when the spill directory is full.
    spill_full: SpillFull = SpillFull.DROP_NEWEST
    #: The part of the calls that what was spilled gets while there is live traffic.
    replay_share: float = 0.25

    def __post_init__(self) -> None:
        require_numbers(self, "ProducerSettings.")
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise SettingsError(
                    f"ProducerSettings.{name} is {value}; it must be {least} to {most}."
                )
        for name, kind in (("when_full", WhenFull), ("spill_full", SpillFull)):
            value = getattr(self, name)
            if value not in list(kind):
                raise SettingsError(
                    f"ProducerSettings.{name} is {value!r}; it must be one of {', '.join(kind)}."
                )
