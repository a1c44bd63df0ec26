"""What a handler may raise to say how its message ends. Returning means: done, delete it."""

from __future__ import annotations

from forebay.errors import ForebayError


class Reject(ForebayError):
    """The message can never be handled.

    A copy goes to the dead-letter queue with this error's text as its reason, and the original is
    deleted. Without a dead-letter queue the message is treated as failed.
    """


class Retry(ForebayError):
    """The message cannot be handled now; it becomes visible again after `delay_s` seconds.

    On a FIFO queue its message group waits for it.
    """

    def __init__(self, delay_s: float = 0.0, message: str | None = None) -> None:
        self.delay_s = delay_s
        super().__init__(message)
