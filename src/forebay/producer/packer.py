"""From the records of one type to sealed packs."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from forebay.messages.packing import PACK_BYTES_MAX, SealedPack
from forebay.messages.sealing import PackRatio, seal_all
from forebay.producer.buffer import Incoming
from forebay.producer.entry import Entry

#: How many records are taken to fill a pack before any was sealed.
RECORDS_FIRST = 2_000


class Packed(Struct, frozen=True):
    """What records came to."""

    entries: list[Entry]
    #: Records that no message can hold.
    too_large: list[bytes]
    #: Records that would not have filled the last pack.
    left: list[bytes]


class Packer:
    """Packs the envelopes of one type. The records come in on any thread, and are sealed on one."""

    def __init__(
        self,
        type: str,  # noqa: A002
        node: str,
        identifier: Callable[[], str],
        incoming: Incoming[bytes],
    ) -> None:
        self.incoming = incoming
        self._type = type
        self._node = node
        self._identifier = identifier
        self._ratio = PackRatio()

    def seal(self, records: list[bytes], *, due: bool) -> Packed:
        """Seal records that were taken from `incoming`: into full packs, or all if they are due."""
        size_bytes = sum(map(len, records))
        sealed = seal_all(
            records,
            identifier=self._identifier,
            type=self._type,
            node=self._node,
            ratio=self._ratio,
        )
        self.incoming.wake_at = max(1, self._ratio.records_bytes * len(records) // size_bytes)
        packs = sealed.packs
        left: list[bytes] = []
        if not due and len(packs) > 1 and packs[-1].size_bytes < PACK_BYTES_MAX // 2:
            left = records[-packs.pop().header.events :]
        return Packed([_entry(pack) for pack in packs], sealed.too_large, left)


def _entry(pack: SealedPack) -> Entry:
    header = pack.header
    return Entry(
        header.pack,
        pack.body,
        events=header.events,
        pack=pack.content,
        first_ms=header.first_ms,
        last_ms=header.last_ms,
    )
