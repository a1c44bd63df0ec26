"""Hands out what is spilled: first what was handed back, then what was not read yet."""

from __future__ import annotations

import logging
from contextlib import suppress
from heapq import heapify, heappop, heappush

from forebay.producer.spill.base import SpillRecord, SpillToken
from forebay.producer.spill.cursor import Cursor, GivenUp
from forebay.producer.spill.quarantine import Quarantine
from forebay.producer.spill.segments import Segment, Step
from forebay.producer.spill.settlement import Settlement
from forebay.producer.spill.shelf import Shelf

_log = logging.getLogger(__name__)


class Reading:
    """The records that are out, and those that come next."""

    def __init__(
        self, cursor: Cursor, shelf: Shelf, settlement: Settlement, quarantine: Quarantine
    ) -> None:
        self._cursor = cursor
        self._shelf = shelf
        self._settlement = settlement
        self._quarantine = quarantine
        self._returned: list[tuple[int, SpillToken]] = []
        self._out: dict[int, SpillToken] = {}

    def next(self, room: int | None) -> tuple[SpillToken, SpillRecord] | None:
        """The next record, if it has at most `room` bytes. Raises OSError."""
        while self._returned:
            token = self._returned[0][1]
            if room is not None and token.size_bytes > room:
                return None
            record = self._read_again(token)
            heappop(self._returned)
            if record is not None:
                return self._hand_out(token), record
            self._settlement.lose(token.ordinal, token.ordinal + token.events)
            self._shelf.touch(token.segment)
        while (segment := self._cursor.segment) is not None:
            step = self._step(segment)
            if step is None:
                if segment is self._shelf.active:
                    return None
                self._cursor.leave()
                continue
            self._note_loss(segment, step)
            if step.record is None or step.header is None:
                continue
            self._settlement.seen_ms = step.header.last_ms
            ordinal = step.header.ordinal
            if self._settlement.has(ordinal):
                continue
            token = SpillToken(
                ordinal, step.header.events, segment.name, step.offset, step.size_bytes
            )
            if room is not None and token.size_bytes > room:
                heappush(self._returned, (ordinal, token))
                return None
            return self._hand_out(token), step.record
        return None

    def _read_again(self, token: SpillToken) -> SpillRecord | None:
        segment = self._shelf.get(token.segment)
        if segment is None:
            return None
        try:
            return self._cursor.read_again(segment, token.offset, token.size_bytes)
        except GivenUp:
            segment.given_up = True
            return None

    def _step(self, segment: Segment) -> Step | None:
        """The next step in a segment. Raises OSError until it is given up."""
        expected = self._cursor.expected
        try:
            return self._cursor.step()
        except GivenUp as error:
            # All that was not come to is lost, and nothing is to be added behind it.
            segment.given_up = True
            if segment is self._shelf.active:
                self._shelf.end()
            self._settlement.lose(expected, segment.stop, error=error.cause)
            self._shelf.touch(segment.name)
            self._cursor.leave()
            return Step()

    def _note_loss(self, segment: Segment, step: Step) -> None:
        if step.damaged:
            _log.warning(
                "%d bytes at %d of %s are damaged and set aside.",
                step.size_bytes,
                step.offset,
                segment.path,
            )
            with suppress(OSError):
                self._quarantine.keep(f"{segment.path.stem}.{step.offset}", self._cursor.raw(step))
        if step.lost is not None:
            at_ms = (step.header.first_ms, step.header.last_ms) if step.header else None
            self._settlement.lose(*step.lost, at_ms)
            self._shelf.touch(segment.name)

    def _hand_out(self, token: SpillToken) -> SpillToken:
        segment = self._shelf.get(token.segment)
        assert segment is not None
        segment.handed_out += 1
        self._out[token.ordinal] = token
        return token

    def take_back(self, token: SpillToken) -> bool:
        """Whether the token was out; it is no more."""
        if self._out.pop(token.ordinal, None) is None:
            return False
        segment = self._shelf.get(token.segment)
        assert segment is not None
        segment.handed_out -= 1
        return True

    def hand_back(self, token: SpillToken) -> None:
        """Let a token's record be read again, if it was out."""
        if self.take_back(token):
            heappush(self._returned, (token.ordinal, token))

    def add(self, segment: Segment) -> None:
        """Read one more segment, after the others."""
        self._cursor.add(segment)

    def forget(self, segment: Segment) -> None:
        """Read nothing of a segment any more."""
        self._returned = [held for held in self._returned if held[1].segment != segment.name]
        heapify(self._returned)
        self._cursor.forget(segment)

    def close(self) -> None:
        """Close the file that is read."""
        self._cursor.close()
