"""What a test is told of how messages ended."""

from __future__ import annotations

from msgspec import Struct

from forebay.errors import ForebayError
from forebay.worker.outcomes import Done, Failed, Interrupted, Outcome, Reject, Retry, StillRunning


class NotDrained(ForebayError):
    """The queue does not become empty."""


class Ended(Struct, frozen=True):
    """How a handler ended its message."""

    outcome: Outcome

    @property
    def is_done(self) -> bool:
        return isinstance(self.outcome, Done)

    @property
    def is_retried(self) -> bool:
        return isinstance(self.outcome, Retry)

    @property
    def is_rejected(self) -> bool:
        return isinstance(self.outcome, Reject)

    @property
    def is_failed(self) -> bool:
        """Whether it raised something else than Retry or Reject, or was over its timeout_s."""
        return isinstance(self.outcome, Failed)

    @property
    def is_given_back(self) -> bool:
        """Whether it comes back at once, behind an earlier message of its group in the batch."""
        return isinstance(self.outcome, Interrupted)

    @property
    def is_hanging(self) -> bool:
        """Whether it goes on after its timeout_s."""
        return isinstance(self.outcome, StillRunning)

    @property
    def delay_s(self) -> float | None:
        """After how many seconds it wants its message again; None unless it said so."""
        return self.outcome.delay_s if isinstance(self.outcome, Retry) else None

    @property
    def error(self) -> BaseException | None:
        """What it raised or returned; None when it is done."""
        if isinstance(self.outcome, Failed):
            return self.outcome.error
        return self.outcome if isinstance(self.outcome, Retry | Reject) else None

    @property
    def reason(self) -> str | None:
        """The text of its error; None when it is done."""
        return None if self.error is None else str(self.error)


class Drained(Struct, frozen=True, kw_only=True):
    """What became of the messages of a queue."""

    #: Messages whose handler has done its work.
    done: int = 0
    #: Messages that went to the dead-letter queue because they were received too often.
    failed: int = 0
    #: How often a message came back, because its handler failed or asked for it.
    retried: int = 0
    #: Messages that can never be handled; they went to the dead-letter queue at once.
    rejected: int = 0
    #: Handlers that went on after their timeout_s.
    hanging: int = 0
