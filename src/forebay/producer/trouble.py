"""Says in the log what nobody awaits: messages that are lost, and outages."""

from __future__ import annotations

import logging
from collections.abc import Container

from forebay.errors import ForebayError
from forebay.producer.delivery import Outcome
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError

_log = logging.getLogger(__name__)


class Trouble:
    """What goes wrong with one queue. A trouble is told once, not for every batch, also when it
    takes turns with another."""

    def __init__(self, queue_url: str) -> None:
        self._queue_url = queue_url
        self._told: set[type[ForebayError] | str] = set()

    def tell(self, outcome: Outcome, *, awaited: Container[str]) -> None:
        """Log what an attempt came to. Refusals of messages that are `awaited` are heard there."""
        lost = [error for entry, error in outcome.failed if entry.envelope_id not in awaited]
        error = next(iter(lost), None) or next((error for _, error in outcome.again), None)
        if error is None:
            if self._told and outcome.sent:
                self._told.clear()
                _log.info("Sending to %s works again.", self._queue_url)
            return
        trouble = error.code if isinstance(error, SqsError) else type(error)
        if trouble in self._told:
            return
        self._told.add(trouble)
        if trouble == QUEUE_DOES_NOT_EXIST.query_code:
            _log.error(
                "There is no queue %s: what is sent to it %s. Create it with"
                " `forebay create %s`, or correct the queue's URL.",
                self._queue_url,
                "is lost" if lost else "waits",
                self._queue_url.rpartition("/")[2],
            )
        elif not lost:
            _log.warning("Sending to %s fails, will go on trying: %s", self._queue_url, error)
        else:
            _log.error("Messages to %s are refused and lost: %s", self._queue_url, error)
