"""Sealing any number of records into packs that AWS bills as one request each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from msgspec import Struct

from forebay.messages.packing import (
    PACK_BYTES_MAX,
    PACK_EVENTS_MAX,
    UNPACKED_BYTES_MAX,
    SealedPack,
    seal,
)
from forebay.protocol.limits import MESSAGE_BYTES_MAX

#: Most that several records in one pack unpack to, in bytes: a reader decodes a pack in one go, and
#: records that pack this tightly cost next to nothing anyway.
_RECORDS_BYTES_MAX = 2 * 1024 * 1024

#: How full a pack is meant to be: the records of the next one may pack a little worse.
_FILL = 0.97

#: Below this part of PACK_BYTES_MAX a pack is tried again with more records, so many times.
_FILL_LEAST = 0.85
_MORE_TIMES = 3

#: So many bytes of records tell how the next ones will pack, however small these got.
_TELLING_BYTES = 256 * 1024

#: What records are taken to shrink to before anything is known of them. Usage logs come to 0.08.
_RATIO_FIRST = 0.15


class PackRatio:
    """How much smaller records of one type get by packing, learned from pack to pack.

    Keep one for each type, and give the same one to every call of seal_all.
    """

    def __init__(self) -> None:
        self._ratio = _RATIO_FIRST

    @property
    def records_bytes(self) -> int:
        """How many bytes of records about fill a pack."""
        return min(int(PACK_BYTES_MAX * _FILL / self._ratio), _RECORDS_BYTES_MAX)

    def learn(self, pack: SealedPack) -> None:
        """Expect the next records to pack as these did, if these are enough to tell."""
        if pack.size_bytes > PACK_BYTES_MAX:
            return
        if pack.size_bytes > PACK_BYTES_MAX // 2 or pack.header.bytes > _TELLING_BYTES:
            self._ratio = pack.size_bytes / _records_bytes(pack)


class Sealed(Struct, frozen=True):
    """Records in packs. Every record is in one of the packs or among those that are too large."""

    packs: list[SealedPack]
    #: Records that no message can hold, packed or not, or that no reader would unpack.
    too_large: list[bytes]


def seal_all(
    records: Sequence[bytes],
    *,
    identifier: Callable[[], str],
    type: str,  # noqa: A002
    node: str,
    ratio: PackRatio,
) -> Sealed:
    """Seal records, in order, into about as few packs of at most PACK_BYTES_MAX as they fit in.

    A record is `[at_ms, payload]` or `[at_ms, payload, key]` as JSON. `identifier` is asked
    for the id of each pack. A record that is too large for PACK_BYTES_MAX goes alone into a pack of
    up to MESSAGE_BYTES_MAX.
    """
    ends = list(accumulate(map(len, records)))
    packs: list[SealedPack] = []
    too_large: list[bytes] = []
    start = 0
    while start < len(records):
        if len(records[start]) > UNPACKED_BYTES_MAX:
            too_large.append(records[start])
            start += 1
            continue
        pack_id = identifier()

        def seal_next(count: int, start: int = start, pack_id: str = pack_id) -> SealedPack:
            return _seal(records[start : start + count], pack_id, type, node)

        pack = _fullest(seal_next, ends, start, ratio.records_bytes)
        ratio.learn(pack)
        if pack.size_bytes > MESSAGE_BYTES_MAX:
            too_large.append(records[start])
        else:
            packs.append(pack)
        start += pack.header.events
    return Sealed(packs, too_large)


def _fullest(
    seal_next: Callable[[int], SealedPack], ends: list[int], start: int, records_bytes: int
) -> SealedPack:
    """A pack that is about as full as it may be; of one record when even that does not fit.

    `ends` has the bytes of all records up to the end of each, and `records_bytes` is a guess of how
    many of them fit.
    """
    before_bytes = ends[start - 1] if start else 0

    def count_in(size_bytes: int) -> int:
        return bisect_right(ends, before_bytes + size_bytes, start) - start

    most = min(max(count_in(_RECORDS_BYTES_MAX), 1), PACK_EVENTS_MAX)
    #: The fewest that are too many.
    too_many = most + 1
    fullest: SealedPack | None = None
    attempts_left = _MORE_TIMES
    count = count_in(records_bytes)
    while True:
        count = max(1, min(count, too_many - 1))
        pack = seal_next(count)
        if pack.size_bytes <= PACK_BYTES_MAX:
            fullest = pack
            if pack.size_bytes >= PACK_BYTES_MAX * _FILL_LEAST:
                return pack
        elif count == 1:
            return pack
        else:
            too_many = count
        if fullest is not None:
            fewest = fullest.header.events + 1
            if fewest == too_many or not attempts_left:
                return fullest
            attempts_left -= 1
        wanted = count_in(int(_records_bytes(pack) * PACK_BYTES_MAX * _FILL / pack.size_bytes))
        if fullest is not None and not fewest <= wanted < too_many:
            wanted = most if too_many > most else (fewest + too_many) // 2
        count = wanted


def _seal(records: Sequence[bytes], identifier: str, type: str, node: str) -> SealedPack:  # noqa: A002
    return seal(
        records,
        identifier=identifier,
        type=type,
        node=node,
        first_ms=_at_ms(records[0]),
        last_ms=_at_ms(records[-1]),
    )


def _records_bytes(pack: SealedPack) -> int:
    """The records' bytes, without the line breaks between them."""
    return pack.header.bytes - pack.header.events + 1


def _at_ms(record: bytes) -> int:
    return int(record[1 : record.index(b",")])
