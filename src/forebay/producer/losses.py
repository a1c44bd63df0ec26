"""Says what a producer has lost, to a function of the user's and in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from forebay.producer.ledger import FAILED, Lost, ProducerLedger

_log = logging.getLogger(__name__)

#: After a warning the losses of so many milliseconds share the next one.
_WARNING_INTERVAL_MS = 60_000


class LossReport:
    """Losses of one producer: each is told to `on_lost`, and the log hears of them now and then."""

    def __init__(self, queue: str, on_lost: Callable[[Lost], object] | None) -> None:
        self._queue = queue
        self._on_lost = on_lost
        self._warned_ms: int | None = None
        self._unsaid: dict[str, int] = {}
        self._why: dict[str, str] = {}

    def tell(self, losses: Iterable[Lost], now_ms: int) -> None:
        """Tell of what was lost since the last time. `on_lost` may fail: that is logged."""
        for lost in losses:
            # What SQS refuses is in the log already, with its reason.
            if lost.reason != FAILED:
                self._unsaid[lost.reason] = self._unsaid.get(lost.reason, 0) + lost.events
                self._why[lost.reason] = lost.error and f": {lost.error}"
            if self._on_lost is not None:
                try:
                    self._on_lost(lost)
                except Exception:
                    _log.exception("on_lost failed on %r", lost)
        if not self._unsaid:
            return
        if self._warned_ms is None or now_ms - self._warned_ms >= _WARNING_INTERVAL_MS:
            self._warned_ms = now_ms
            said, self._unsaid = self._unsaid, {}
            _log.warning(
                "The producer for %s lost %s. The next such line comes in a minute at the"
                " earliest; the ledger has every one.",
                self._queue,
                ", ".join(
                    f"{events} ({reason}{self._why[reason]})" for reason, events in said.items()
                ),
            )

    def close(self, ledger: ProducerLedger, spill_directory: object = None) -> None:
        """Say how it ended, if something was lost or still waits."""
        dropped = {reason: events for reason, events in ledger.dropped.items() if events}
        if ledger.lost:
            _log.warning(
                "The producer for %s is closed and has lost envelopes: offered %d, delivered %d,"
                " dropped %s, failed %d, corrupt %d, spilled %d.",
                self._queue,
                ledger.offered,
                ledger.delivered,
                dropped or 0,
                ledger.failed,
                ledger.corrupt,
                ledger.spilled,
            )
        if ledger.spilled:
            _log.warning(
                "%d envelopes for %s wait in %s. A producer with this spill directory sends them.",
                ledger.spilled,
                self._queue,
                spill_directory,
            )
