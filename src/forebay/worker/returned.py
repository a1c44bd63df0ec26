"""What a handler said, as one outcome for each of its messages."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from forebay.worker.outcomes import (
    Done,
    Failed,
    HandlerReturned,
    Interrupted,
    Outcome,
    PartlyFailed,
    Reject,
    Retry,
)
from forebay.worker.received import Received
from forebay.worker.route import Route

_DONE = Done()
_INTERRUPTED = Interrupted()


def said(route: Route, value: object) -> BaseException | None:
    """The exception that a returned value stands for; None when it says: done.

    None and most values say so. Retry and Reject count as raised. What looks like the opposite of
    done is a failure: an exception, or False.
    """
    if value is None:
        return None
    if isinstance(value, BaseException):
        return value
    if isinstance(value, type) and issubclass(value, BaseException):
        return HandlerReturned(
            f"{route.handler_name} returned the class {value.__name__}. Return one of it, or raise"
            " it."
        )
    if route.batch:
        return _said_of_batch(route, value)
    if value is False:
        return HandlerReturned(
            f"{route.handler_name} returned False. Return None when the message is done; raise or"
            " return Retry or Reject when it is not."
        )
    return None


def outcomes(route: Route, handed: Sequence[Received[Any]], error: BaseException) -> list[Outcome]:
    """One outcome for each message, from what the call of its handler raised.

    A CancelledError means that the drain cancelled it.
    """
    if isinstance(error, PartlyFailed) and route.batch:
        wrong = _wrong_failures(route, handed, error)
        if wrong is None:
            failures = error.failures
            return _in_order(handed, [_outcome(failures.get(each)) for each in handed])
        error = wrong
    return [_outcome(error)] * len(handed)


def _outcome(error: BaseException | None) -> Outcome:
    if error is None:
        return _DONE
    if isinstance(error, Retry | Reject):
        return error
    if isinstance(error, asyncio.CancelledError):
        return _INTERRUPTED
    return Failed(error)


def _in_order(handed: Sequence[Received[Any]], ended: list[Outcome]) -> list[Outcome]:
    """Let the messages of a group go back that come after one that goes back.

    Their handler may have said that they are done; but then they would be done before it. A
    rejected one does not come again, so its group goes on.
    """
    going_back: set[str] = set()
    for index, (received, outcome) in enumerate(zip(handed, ended, strict=True)):
        group_id = received.lease.group_id
        if group_id is None:
            continue
        if group_id in going_back:
            ended[index] = _INTERRUPTED
        elif not isinstance(outcome, Done | Reject):
            going_back.add(group_id)
    return ended


def _said_of_batch(route: Route, value: object) -> BaseException | None:
    if isinstance(value, Mapping):
        return PartlyFailed(value) if value else None
    return HandlerReturned(
        f"{route.handler_name} returned {type(value).__name__}. A handler of a batch returns None"
        " when all is done, or a dict from each received message that is not to its exception."
    )


def _wrong_failures(
    route: Route, handed: Sequence[Received[Any]], error: PartlyFailed
) -> HandlerReturned | None:
    batch = set(handed)
    for received, failure in error.failures.items():
        if received not in batch:
            return HandlerReturned(
                f"{route.handler_name} returned an outcome for a {type(received).__name__} that is"
                " not a message of its batch. The keys are the received messages themselves."
            )
        if not isinstance(failure, BaseException | None):
            return HandlerReturned(
                f"{route.handler_name} returned {failure!r} for a message. Give its exception:"
                " Retry, Reject or any other."
            )
    return None
