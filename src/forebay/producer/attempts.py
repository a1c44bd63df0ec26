"""Calls of SendMessageBatch: what each came to, and what is known of the queue from them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Container

from msgspec import Struct

from forebay.client.base import SqsClient
from forebay.client.retry import NO_RETRY, is_retryable
from forebay.clock import Clock
from forebay.errors import ForebayError
from forebay.producer.delivery import Outcome, batch_request, judge
from forebay.producer.entry import Entry
from forebay.producer.trouble import Trouble
from forebay.protocol.actions import SendMessageBatchResult
from forebay.protocol.errors import (
    BATCH_REQUEST_TOO_LONG,
    INVALID_MESSAGE_CONTENTS,
    INVALID_PARAMETER_VALUE,
    MALFORMED_INPUT,
    SqsError,
)

_log = logging.getLogger(__name__)


#: With these a whole batch is refused for what one of its messages is.
_ABOUT_A_MESSAGE = frozenset(
    fault.query_code
    for fault in (
        INVALID_MESSAGE_CONTENTS,
        INVALID_PARAMETER_VALUE,
        MALFORMED_INPUT,
        BATCH_REQUEST_TOO_LONG,
    )
)


class Counts(Struct):
    """What was sent so far, and what was packed."""

    calls_answered: int = 0
    calls_failed: int = 0
    calls_ms: int = 0
    messages_delivered: int = 0
    packs: int = 0
    packed_bytes: int = 0
    pack_billed_bytes: int = 0


class Attempts:
    """The calls to one queue.

    With `keeps` a batch that is refused whole is one to send again: whoever has a disk keeps it,
    for the queue may be made yet, or opened.
    """

    def __init__(self, client: SqsClient, queue: str, clock: Clock, *, keeps: bool) -> None:
        self.counts = Counts()
        #: What attempts failed for, whole or for single messages.
        self.errors: Counter[str] = Counter()
        #: The latest call failed as a whole, and another may not.
        self.away = False
        self._client = client
        self._queue = queue
        self._queue_url = queue if "://" in queue else None
        self._clock = clock
        self._keeps = keeps
        self._trouble = Trouble(queue)

    async def send(self, batch: list[Entry], timeout_ms: int, awaited: Container[str]) -> Outcome:
        """Send a batch once. Trouble with messages that nobody awaits is logged.

        A batch that is refused whole for what one of its messages is, is sent message by message:
        the others are not to blame.
        """
        outcome = await self._attempt(batch, timeout_ms)
        if outcome is None:
            outcome = await self._one_by_one(batch, timeout_ms)
        self._trouble.tell(outcome, awaited=awaited)
        return outcome

    async def _one_by_one(self, batch: list[Entry], timeout_ms: int) -> Outcome:
        outcome = Outcome()
        for place, entry in enumerate(batch):
            alone = await self._attempt([entry], timeout_ms)
            assert alone is not None, "one message is not parted any more"
            outcome.sent += alone.sent
            outcome.failed += alone.failed
            if alone.again:
                # Those behind it are not to overtake it.
                error = alone.again[0][1]
                outcome.again = [(each, error) for each in batch[place:]]
                break
        return outcome

    async def _attempt(self, batch: list[Entry], timeout_ms: int) -> Outcome | None:
        """Send a batch; None when it was refused for what one of several messages is."""
        began_ms = self._clock.monotonic_ms()
        answer = await self._call(batch, timeout_ms)
        counts = self.counts
        counts.calls_ms += self._clock.monotonic_ms() - began_ms
        outcome = judge(batch, answer)
        if not isinstance(answer, ForebayError):
            counts.calls_answered += 1
            counts.messages_delivered += len(outcome.sent)
            self.errors.update(_code(error) for _, error in (*outcome.again, *outcome.failed))
            self.away = False
            return outcome
        counts.calls_failed += 1
        self.errors[_code(answer)] += 1
        if self._queue_url is not None and _code(answer) in _ABOUT_A_MESSAGE:
            self.away = False
            return outcome if len(batch) == 1 else None
        if self._keeps and outcome.failed:
            outcome = Outcome(again=outcome.failed)
        self.away = self._keeps or is_retryable(answer)
        return outcome

    async def _call(
        self, batch: list[Entry], timeout_ms: int
    ) -> SendMessageBatchResult | ForebayError:
        try:
            if self._queue_url is None:
                self._queue_url = await self._client.queue_url(self._queue, retry=NO_RETRY)
            return await self._client.send_message_batch(
                batch_request(self._queue_url, batch),
                timeout_s=timeout_ms / 1000,
                retry=NO_RETRY,
            )
        except ForebayError as error:
            return error
        except Exception as error:
            _log.exception("A batch of %d messages failed on an unexpected error", len(batch))
            return ForebayError(f"Sending failed on an unexpected error: {error!r}")


def _code(error: ForebayError) -> str:
    return error.code if isinstance(error, SqsError) else type(error).__name__
