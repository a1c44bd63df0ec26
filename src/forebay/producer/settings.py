"""What can be set on a producer, and within which limits."""

from __future__ import annotations

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.number_settings import require_numbers
from forebay.protocol import limits


class ProducerSettings(Struct, frozen=True, kw_only=True):
    """The parameters of a producer. Raises SettingsError for a value out of range."""

    #: Most messages in one SendMessageBatch: 1 to 10.
    batch_size: int = limits.BATCH_ENTRIES_MAX
    #: How long a message of `send` may wait for its batch to fill, in milliseconds.
    flush_ms: int = 100
    #: Most messages that are accepted and not yet settled; more are dropped.
    buffer_size: int = 50_000
    #: How long one attempt of a SendMessageBatch may take, in milliseconds.
    timeout_ms: int = 3_000
    #: Most SendMessageBatch calls under way at once.
    concurrency: int = 16

    def __post_init__(self) -> None:
        require_numbers(self, "ProducerSettings.")
        for name in ("batch_size", "flush_ms", "buffer_size", "timeout_ms", "concurrency"):
            value = getattr(self, name)
            if value < 1:
                raise SettingsError(f"ProducerSettings.{name} is {value}; it must be at least 1.")
        if self.batch_size > limits.BATCH_ENTRIES_MAX:
            raise SettingsError(
                f"ProducerSettings.batch_size is {self.batch_size};"
                f" SQS takes at most {limits.BATCH_ENTRIES_MAX} messages in a batch."
            )
