"""From the usage queue into the store: a handler of batches for each type of event."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Protocol, TypeAlias

from msgspec import Meta, MsgspecError, Raw, Struct, field
from msgspec.json import Decoder, Encoder

from forebay.apps.usage.event_table import EVENT_TABLES, EventTable
from forebay.apps.usage.settings import WriterSettings
from forebay.apps.usage.store import PackRefused, Written
from forebay.errors import in_words
from forebay.messages.envelope import Envelope
from forebay.protocol.actions import Message
from forebay.worker import Received, Retry, Router
from forebay.worker.codecs import ENVELOPE_OR_RAW, Parcel, Unreadable
from forebay.worker.packs import BadRecord, Pack, Record
from forebay.worker.snapshot import Count

_log = logging.getLogger(__name__)

#: How long a message waits whose events the database refuses even as rejects, in seconds.
_REFUSED_RETRY_S = 300.0

#: What types without a table count as: a metric has no room for all that senders think of.
_UNKNOWN = "(unknown)"

_NotEmpty = Annotated[str, Meta(min_length=1)]


class _WithoutId(Struct, gc=False):
    """The envelope of document 000."""

    type: _NotEmpty
    timestamp: str
    node: _NotEmpty
    payload: Raw
    key: _NotEmpty | None = None


_read_without_id = Decoder(_WithoutId).decode
_encode = Encoder().encode

_Batch: TypeAlias = Sequence[Received[Pack[Any]]]
_Failures: TypeAlias = dict[Received[Any], Exception | None]


class PackWriter(Protocol):
    """Writes packs in one transaction."""

    async def write(self, packs: Sequence[Pack[Any]]) -> Written:
        """See UsageStore.write. Raises PackRefused."""
        ...


class _Tally(Struct):
    """What was written of one type."""

    rows: int = 0
    packs: int = 0
    repeated: int = 0
    #: Rejects by the kind of their reason.
    rejects: Counter[str] = field(default_factory=Counter)

    def add(self, written: Written) -> None:
        self.rows += written.rows
        self.packs += written.packs
        self.repeated += written.repeated
        self.rejects.update(written.reasons)


class UsageWriter:
    """Writes batches of packs, and counts what became of them."""

    def __init__(self, store: PackWriter, settings: WriterSettings | None = None) -> None:
        self._store = store
        self.settings = settings or WriterSettings()
        self._rows_max = self.settings.rows_per_transaction
        self._tallies: dict[str, _Tally] = {}
        self._transactions = 0
        self._refused = 0

    async def write(self, batch: _Batch) -> _Failures | None:
        """Write a batch, in one transaction unless it has too many events for one.

        A pack that the database refuses keeps none of the others from being written: what it holds
        goes to `usage_rejects`.
        """
        failures: _Failures = {}
        for part in parts(batch, self._rows_max):
            packs = [received.payload for received in part]
            failures |= await self._write(part, packs, packs[0].type)
        return failures or None

    async def write_unknown(self, batch: _Batch) -> _Failures | None:
        """Keep events of a type that has no table in `usage_rejects`, as they came."""
        failures: _Failures = {}
        for part in parts(batch, self._rows_max):
            packs = [
                as_rejects(pack, f"unknown type: no table for {pack.type!r}")
                for pack in (received.payload for received in part)
            ]
            failures |= await self._write(part, packs, _UNKNOWN)
        return failures or None

    def counts(self) -> list[Count]:
        """What was done so far, for the metrics."""
        return [
            *(
                Count(f"usage_{name}", text, getattr(tally, field), {"type": type_name})
                for name, text, field in _COUNTED
                for type_name, tally in self._tallies.items()
            ),
            *(
                Count(
                    "usage_rejects",
                    "Events written to usage_rejects",
                    number,
                    {"type": type_name, "reason": reason},
                )
                for type_name, tally in self._tallies.items()
                for reason, number in tally.rejects.items()
            ),
            Count("usage_transactions", "Transactions that were committed", self._transactions),
            Count(
                "usage_refused_packs",
                "Packs that the database refused and that were tried as rejects",
                self._refused,
            ),
        ]

    async def _write(self, part: _Batch, packs: Sequence[Pack[Any]], counted: str) -> _Failures:
        """Write the packs of these messages; when one is refused, each half by itself."""
        try:
            await self._commit(packs, counted)
        except PackRefused as refusal:
            if len(part) == 1:
                return await self._reject(part[0], packs[0], counted, refusal)
            middle = len(part) // 2
            first = await self._write(part[:middle], packs[:middle], counted)
            return first | await self._write(part[middle:], packs[middle:], counted)
        return {}

    async def _reject(
        self, received: Received[Pack[Any]], pack: Pack[Any], counted: str, refusal: PackRefused
    ) -> _Failures:
        """Keep what the database refuses where it takes any text."""
        self._refused += 1
        _log.error(
            "The database refuses the pack %s, whose %d events of type %s go to usage_rejects: %s",
            pack.id,
            pack.events,
            pack.type,
            in_words(refusal),
        )
        try:
            await self._commit([as_rejects(pack, f"refused: {in_words(refusal)}")], counted)
        except PackRefused as again:
            _log.error("It refuses these rejects, too; they come again: %s", in_words(again))
            return {received: Retry(_REFUSED_RETRY_S, in_words(again))}
        return {}

    async def _commit(self, packs: Sequence[Pack[Any]], counted: str) -> None:
        written = await self._store.write(packs)
        self._transactions += 1
        self._tallies.setdefault(counted, _Tally()).add(written)


#: What is counted of each type: name, text and field of _Tally.
_COUNTED = (
    ("rows", "Events written to their tables", "rows"),
    ("packs", "Packs and plain envelopes that were new", "packs"),
    ("repeated_packs", "Packs and plain envelopes that were there already", "repeated"),
)


def usage_router(
    writer: UsageWriter,
    *,
    tables: Iterable[EventTable] = EVENT_TABLES,
) -> Router:
    """The handlers of the usage writer, one for each type of event that has a table.

    Events of another type go to `usage_rejects`. What is no event at all the worker rejects, and
    with it what cannot be unpacked.
    """
    router = Router(codec=EVENT)
    batch, within_ms = writer.settings.batch, writer.settings.within_ms
    for table in tables:
        handles = router.handler(
            table.type_name,
            Pack[table.struct],  # type: ignore[name-defined]
            batch=batch,
            within_ms=within_ms,
        )
        handles(writer.write)
    router.every(Pack[Any], batch=batch, within_ms=within_ms)(writer.write_unknown)
    return router


def EVENT(message: Message) -> Parcel:  # noqa: N802 - used as a constant, as the worker's codecs
    """A pack or an envelope and nothing else.

    The envelope of document 000 has no id, so the message's takes its place: that stays when the
    message is received again, but not when its sender sends it again.
    """
    parcel = ENVELOPE_OR_RAW(message)
    if parcel.pack is not None or parcel.envelope is not None:
        return parcel
    try:
        envelope = _read_without_id(parcel.text)
    except (MsgspecError, UnicodeEncodeError, RecursionError) as error:
        raise Unreadable(f"The body is no event: {error}.") from error
    return Parcel(
        text=parcel.text,
        json=envelope.payload,
        envelope=Envelope(
            message.message_id,
            envelope.type,
            envelope.timestamp,
            envelope.node,
            envelope.payload,
            envelope.key,
        ),
        attributes=parcel.attributes,
    )


def parts(batch: _Batch, rows_max: int) -> Iterator[_Batch]:
    """The batch in parts, each of at most so many events or of one pack."""
    part: list[Received[Pack[Any]]] = []
    rows = 0
    for received in batch:
        events = received.payload.events
        if part and rows + events > rows_max:
            yield part
            part, rows = [], 0
        part.append(received)
        rows += events
    if part:
        yield part


def as_rejects(pack: Pack[Any], reason: str) -> Pack[Any]:
    """The pack with every event of it as a bad one."""
    records, bad = pack.read()
    bad += [BadRecord(each.index, each.at_ms, _json(each), reason) for each in records]
    return Pack(pack.id, pack.type, pack.node, pack.sealed, [], sorted(bad, key=_index))


def _json(record: Record[Any]) -> bytes:
    """A record as a pack holds it."""
    members = (record.at_ms, record.payload)
    return _encode(members if record.key is None else (*members, record.key))


def _index(bad: BadRecord) -> int:
    return bad.index
