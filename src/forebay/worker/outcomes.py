"""How a handler's message ends: what the handler may say, and what becomes of it otherwise.

Retry and Reject are raised or returned by a handler. Returning without them means: done, delete it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec import Struct

from forebay.errors import ForebayError, SettingsError
from forebay.number_settings import require_number
from forebay.protocol.limits import VISIBILITY_TIMEOUT_SECONDS_MAX


class Reject(ForebayError):
    """The message can never be handled.

    A copy goes to the dead-letter queue with this error's text as its reason, and the original is
    deleted. Without a dead-letter queue the message is treated as failed. Raises SettingsError
    when the reason is empty.
    """

    def __init__(self, reason: str) -> None:
        said: object = reason
        if not isinstance(said, str) or not said.strip():
            raise SettingsError(f"Reject({reason!r}): say in words why the message is rejected.")
        super().__init__(reason)

    @property
    def reason(self) -> str:
        return str(self)


class Retry(ForebayError):
    """The message cannot be handled now; it becomes visible again after `delay_s` seconds.

    On a FIFO queue its message group waits for it. The delay is from 0 to 43,200 seconds, the 12
    hours that SQS hides a message at most (API ChangeMessageVisibility); another raises
    SettingsError.
    """

    def __init__(self, delay_s: float = 0.0, message: str | None = None) -> None:
        require_number("Retry: delay_s", delay_s)
        if not 0 <= delay_s <= VISIBILITY_TIMEOUT_SECONDS_MAX:
            raise SettingsError(
                f"Retry: delay_s is {delay_s!r}; it must be from 0 to"
                f" {VISIBILITY_TIMEOUT_SECONDS_MAX} seconds."
            )
        self.delay_s = delay_s
        super().__init__(message or f"It is to be tried again in {delay_s:g} s.")


class PartlyFailed(ForebayError):
    """Some messages of a batch are not done.

    `failures` has the exception of each received message that is not.
    """

    def __init__(self, failures: Mapping[Any, Any]) -> None:
        self.failures = failures
        super().__init__(f"{len(failures)} messages of a batch are not done.")


class HandlerReturned(ForebayError):
    """The handler returned what it must not return."""


class HandlerTimedOut(ForebayError):
    """The handler took longer than its timeout_s and was cancelled."""


class HandlerCancelled(ForebayError):
    """The handler was cancelled by something it awaited."""


class Done(Struct, frozen=True):
    """The handler returned: delete the message."""


class Failed(Struct, frozen=True):
    """The handler raised something else than Retry or Reject; whoever ran it has logged it."""

    error: BaseException


class Interrupted(Struct, frozen=True):
    """It did not run to its end and did not fail: it comes back at once, and counts as no failure.

    The drain cancelled it, or an earlier message of its group in the same batch goes back.
    """


class StillRunning(Struct, frozen=True, eq=False):
    """The handler outlived its timeout_s or the drain, and goes on without a place.

    Its message must not be deleted for that.
    """

    #: How it ends after all: Done, Retry, Reject or Failed. Cancelling it stops no handler.
    finished: asyncio.Future[Outcome]
    #: Whether it is over its timeout_s. Otherwise the drain left it.
    timed_out: bool


#: How one message of a handler ends.
Outcome: TypeAlias = Done | Retry | Reject | Failed | Interrupted | StillRunning
