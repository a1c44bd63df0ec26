"""The producer's side of its spill: the disk's work on one thread, its account in the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder, Encoder

from forebay.messages.envelope import EnvelopeError
from forebay.producer.account_file import AccountFile
from forebay.producer.buffer import Buffer, SpillState
from forebay.producer.entry import Entry, decode_entry, encode_entry
from forebay.producer.ledger import CORRUPT, FAILED, DropReason, Lost, ProducerLedger
from forebay.producer.settings import ProducerSettings
from forebay.producer.spill import (
    LostRange,
    LostReason,
    Spill,
    SpillError,
    SpillLimits,
    SpillRecord,
    SpillToken,
)

_log = logging.getLogger(__name__)

R = TypeVar("R")


class _Checkpoint(Struct, kw_only=True):
    """The producer's account as it was saved, and how far the spill was then, in envelopes."""

    #: The newest has the highest.
    sequence: int
    delivered: int
    failed: int
    dropped: dict[str, int]
    buffered: int
    appended: int
    acknowledged: int


_encode = Encoder().encode
_decode = Decoder(_Checkpoint).decode


class Spiller:
    """Keeps messages on the disk and hands them back. Its coroutines belong to one loop.

    The disk is never waited for elsewhere: whoever awaits one of these waits alone.
    """

    def __init__(
        self, directory: Path, buffer: Buffer, executor: Executor, *, owner: str | None = None
    ) -> None:
        self._directory = directory
        self._owner = owner
        self._buffer = buffer
        self._executor = executor
        self._spill: Spill | None = None
        self._failing = False
        self._account_file: AccountFile | None = None
        self._sequence = 0
        self._noted: ProducerLedger | None = None
        self._saved: ProducerLedger | None = None
        #: Something is on the disk that nobody has been handed.
        self.waits = False

    async def open(self, settings: ProducerSettings) -> None:
        """Take the directory, and what earlier producers have left there. Raises SpillError."""
        limits = _limits(settings)
        spill = await self._run(lambda: Spill.open_slot(self._directory, limits, owner=self._owner))
        self._spill = spill
        with suppress(OSError):
            self._account_file = AccountFile(spill.directory)
        account = spill.account
        self._restore(account.appended, account.acknowledged)
        self._buffer.from_spill(self._state())
        self.waits = account.waiting > 0
        if self.waits:
            _log.info(
                "%d envelopes wait in %s from an earlier run and will be sent.",
                account.waiting,
                spill.directory,
            )

    def limit(self, settings: ProducerSettings) -> None:
        """Keep to the limits of these settings from the next write on."""
        if self._spill is not None:
            self._spill.limits = _limits(settings)

    @property
    def is_open(self) -> bool:
        """Whether the directory was taken."""
        return self._spill is not None

    @property
    def directory(self) -> Path:
        """The directory of this producer."""
        return self._directory if self._spill is None else self._spill.directory

    @property
    def size_bytes(self) -> int:
        """What lies on the disk."""
        return 0 if self._spill is None else self._spill.account.waiting_bytes

    async def keep(self, entries: Sequence[Entry]) -> None:
        """Write messages that are counted as buffered. They are durable when this returns, or are
        counted as dropped."""
        spill = self._opened()
        records = [
            SpillRecord(
                entry.envelope_id, entry.events, entry.first_ms, entry.last_ms, encode_entry(entry)
            )
            for entry in entries
        ]
        events = sum(entry.events for entry in entries)
        size_bytes = sum(entry.size_bytes for entry in entries)

        def append() -> tuple[list[LostRange], SpillError | None]:
            failure: SpillError | None = None
            try:
                lost = spill.append(records)
            except SpillError as error:
                failure = error
                first_ms = min(entry.first_ms for entry in entries)
                last_ms = max(entry.last_ms for entry in entries)
                lost = [LostRange(LostReason.FAILED, events, first_ms, last_ms, str(error))]
            never_kept = sum(
                each.events for each in lost if each.reason is not LostReason.DROP_OLDEST
            )
            self._buffer.to_spill(events - never_kept, size_bytes, self._state())
            return lost, failure

        lost, failure = await self._run(append)
        if failure is None:
            self.waits = True
        self._tell(failure)
        for each in lost:
            self._drop(each)
        self.note()

    async def read(self, bytes_max: int) -> list[tuple[SpillToken, Entry]]:
        """The oldest messages that nobody holds; none when the disk cannot be read now."""
        spill = self._opened()

        def read_on() -> list[tuple[SpillToken, SpillRecord]]:
            taken = spill.read(bytes_max)
            self._buffer.from_spill(self._state())
            return taken

        try:
            taken = await self._run(read_on)
        except SpillError as error:
            self._tell(error)
            return []
        self.waits = bool(taken)
        for lost in spill.take_lost():
            self._buffer.lose(
                Lost(
                    reason=CORRUPT,
                    events=lost.events,
                    first_ms=lost.first_ms,
                    last_ms=lost.last_ms,
                    error=lost.error,
                )
            )
        read: list[tuple[SpillToken, Entry]] = []
        for token, record in taken:
            try:
                read.append((token, decode_entry(record.data)))
            except EnvelopeError as error:
                await self._give_up(token, record, error)
        return read

    async def acknowledge(
        self, tokens: Sequence[SpillToken], *, delivered: int, failed: int
    ) -> None:
        """Let go of messages that were settled. They count as spilled until this is durable, or
        until the disk has failed at it: then they may be sent again after a restart."""
        spill = self._opened()

        def acknowledge() -> SpillError | None:
            failure: SpillError | None = None
            try:
                spill.acknowledge(tokens)
            except SpillError as error:
                failure = error
            self._buffer.from_spill(self._state(), delivered=delivered, failed=failed)
            return failure

        # A disk that takes this may be full all the same: only what is kept shows that it works.
        if (failure := await self._run(acknowledge)) is not None:
            self._tell(failure)
        self.note()

    async def hand_back(self, tokens: Sequence[SpillToken]) -> None:
        """These were not sent; they will be read again."""
        spill = self._opened()
        await self._run(lambda: spill.hand_back(tokens))
        self.waits = True

    def abandon(self) -> None:
        """Close the files and do nothing else: for a forked child, whose parent goes on."""
        self._close_account()
        if self._spill is not None:
            self._spill.abandon()

    def note(self) -> None:
        """Leave the account where a process that is killed leaves it, if it has changed."""
        if self._account_file is None:
            return
        ledger, state = self._buffer.ledger_and_spill()
        if ledger == self._noted:
            return
        self._noted = ledger
        # Without it a run that is killed counts what it delivered in its last second as failed.
        with suppress(OSError):
            self._account_file.write(self._checkpoint(ledger, state))

    async def save(self) -> None:
        """Save the account for a later run, also beyond a power cut, if it has changed."""
        spill = self._opened()
        ledger, state = self._buffer.ledger_and_spill()
        if ledger == self._saved:
            return
        data = self._checkpoint(ledger, state)
        try:
            await self._run(lambda: spill.checkpoint(data))
        except SpillError as error:
            self._tell(error)
            return
        self._saved = ledger

    def _checkpoint(self, ledger: ProducerLedger, state: SpillState) -> bytes:
        self._sequence += 1
        return _encode(
            _Checkpoint(
                sequence=self._sequence,
                delivered=ledger.delivered,
                failed=ledger.failed,
                dropped={
                    **ledger.dropped,
                    DropReason.SPILL_FULL: ledger.dropped[DropReason.SPILL_FULL] - state.dropped,
                },
                buffered=ledger.buffered,
                appended=state.appended,
                acknowledged=state.acknowledged,
            )
        )

    async def close(self) -> None:
        """Save the account and let go of the directory."""
        if self._spill is not None:
            await self.save()
            self.note()
            await self._run(self._spill.close)
            self._close_account()

    def _close_account(self) -> None:
        if self._account_file is not None:
            self._account_file.close()
            self._account_file = None

    def _restore(self, appended: int, acknowledged: int) -> None:
        """Go on from the account that was saved.

        What has been acknowledged since then was delivered. What was in memory and has not come to
        the disk since is lost: it may have been delivered, and nobody is left who knows.
        """
        saved = self._latest()
        if saved is None:
            self._buffer.restore(acknowledged, 0, {})
            return
        left = max(0, saved.buffered - (appended - saved.appended))
        if left:
            _log.warning(
                "%d envelopes were in the memory of an earlier run that was killed. They count as"
                " failed; some of them may have arrived.",
                left,
            )
        self._buffer.restore(
            saved.delivered + acknowledged - saved.acknowledged, saved.failed + left, saved.dropped
        )

    def _latest(self) -> _Checkpoint | None:
        """The newest account that was saved and can be read."""
        found = [] if self._account_file is None else self._account_file.read()
        if (data := self._opened().checkpoint_data) is not None:
            found.append(data)
        saved: list[_Checkpoint] = []
        for each in found:
            try:
                saved.append(_decode(each))
            except MsgspecError as error:
                _log.error("An account in %s cannot be read: %s", self.directory, error)
        latest = max(saved, key=lambda checkpoint: checkpoint.sequence, default=None)
        self._sequence = 0 if latest is None else latest.sequence
        return latest

    def _state(self) -> SpillState:
        """What the spill says of itself.

        To be asked and counted within a job of the disk: after it the next one may have been done,
        whose envelopes would then be in no place of the account.
        """
        account = self._opened().account
        return SpillState(
            spilled=account.waiting,
            corrupt=account.corrupt,
            dropped=account.dropped_oldest,
            appended=account.appended,
            acknowledged=account.acknowledged,
        )

    def _drop(self, lost: LostRange) -> None:
        reason = DropReason.SPILL_FULL
        if lost.reason is LostReason.DROP_OLDEST:
            self._buffer.lose(
                Lost(
                    reason=reason,
                    events=lost.events,
                    first_ms=lost.first_ms,
                    last_ms=lost.last_ms,
                )
            )
            return
        if lost.reason is LostReason.FAILED:
            reason = DropReason.SPILL_FAILED
        self._buffer.drop_buffered(
            reason, lost.events, 0, (lost.first_ms, lost.last_ms), lost.error
        )

    async def _give_up(self, token: SpillToken, record: SpillRecord, error: EnvelopeError) -> None:
        """A whole record that holds no message: somebody else's, or of another version."""
        self._buffer.lose(
            Lost(
                reason=FAILED,
                events=record.events,
                first_ms=record.first_ms,
                last_ms=record.last_ms,
                error=str(error),
            )
        )
        await self.acknowledge([token], delivered=0, failed=record.events)

    def _opened(self) -> Spill:
        assert self._spill is not None
        return self._spill

    def _tell(self, failure: SpillError | None) -> None:
        """Log when the disk begins to fail, and when it works again."""
        if failure is not None and not self._failing:
            _log.error("The spill in %s fails: %s", self.directory, failure)
        elif failure is None and self._failing:
            _log.info("The spill in %s works again.", self.directory)
        self._failing = failure is not None

    async def _run(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _limits(settings: ProducerSettings) -> SpillLimits:
    return SpillLimits(
        bytes_max=settings.spill_bytes,
        segment_bytes=settings.spill_segment_bytes,
        full=settings.spill_full,
    )
