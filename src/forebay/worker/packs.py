"""A pack as its handler sees it: the records that fit their type, and those that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeAlias, TypeVar, get_args, get_origin

from msgspec import Meta, MsgspecError, Raw, Struct
from msgspec.json import Decoder

from forebay.messages.envelope import Envelope, EnvelopeError, envelope_at_ms
from forebay.messages.packing import AtMs, PackHeader, unpack
from forebay.worker.codecs import Parcel
from forebay.worker.payloads import payload_reader, reads_natively, type_name, why_not

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Record(Struct, Generic[T_co], frozen=True, gc=False):
    """An envelope of a pack."""

    #: Its place in the pack.
    index: int
    #: When it was made, in milliseconds since the Unix epoch.
    at_ms: int
    payload: T_co
    #: The business key, if there is one.
    key: str | None = None
    #: The id of the pack.
    pack_id: str = ""

    @property
    def id(self) -> str:
        """The envelope's id: that of the pack, a hyphen and the index."""
        return f"{self.pack_id}-{self.index}"


class _Alone(Record[T_co], Generic[T_co], frozen=True, gc=False):
    """An envelope that came as a message of its own."""

    @property
    def id(self) -> str:
        return self.pack_id


class BadRecord(Struct, frozen=True):
    """A record whose payload, time or key is not what it must be."""

    #: Its place in the pack.
    index: int
    #: When it was made, in milliseconds since the Unix epoch; None when that cannot be read.
    at_ms: int | None
    #: The record as it came: `[at_ms, payload]` or `[at_ms, payload, key]`, or a plain envelope.
    json: bytes
    #: What is wrong with it.
    reason: str


#: The records that fit, and those that do not.
Rows: TypeAlias = tuple[list[Record[T]], list[BadRecord]]


class Pack(Generic[T_co]):
    """Many envelopes of one type and one node that came in one message.

    A plain envelope is a pack of one that is not `sealed`, and its id is the pack's. `records` and
    `bad` are made when they are first asked for, and kept. A handler of many packs may `read` one
    after another instead, so that it has the records of one at a time.
    """

    __slots__ = ("_kept", "events", "id", "node", "read", "sealed", "type")

    def __init__(
        self,
        id: str,  # noqa: A002
        type: str,  # noqa: A002
        node: str,
        sealed: bool,
        records: list[Record[T_co]],
        bad: Sequence[BadRecord] = (),
    ) -> None:
        """A pack of these records, as a test of a handler needs it."""
        self.id = id
        self.type = type
        self.node = node
        #: Whether it came as a pack; False for a plain envelope.
        self.sealed = sealed
        #: How many records there are, the bad ones included.
        self.events = len(records) + len(bad)
        #: Makes the records that fit and those that do not, each in order, and keeps neither.
        self.read: Callable[[], Rows[T_co]] = lambda: (records, list(bad))
        self._kept: Rows[T_co] | None = None

    @classmethod
    def unread(cls, header: PackHeader, read: Callable[[], Rows[T_co]]) -> Pack[T_co]:
        """A sealed pack whose records `read` gets when they are asked for."""
        pack = cls(header.pack, header.type, header.node, True, [])
        pack.events = header.events
        pack.read = read
        return pack

    @property
    def records(self) -> list[Record[T_co]]:
        """The records that fit, in order."""
        return self._all()[0]

    @property
    def bad(self) -> list[BadRecord]:
        """The records that do not fit, in order. Nobody but the handler is told of them."""
        return self._all()[1]

    def _all(self) -> Rows[T_co]:
        if self._kept is None:
            self._kept = self.read()
        return self._kept

    def __repr__(self) -> str:
        return f"<Pack {self.id!r} of {self.events} {self.type!r} from {self.node!r}>"


class _Row(Struct, Generic[T], array_like=True, forbid_unknown_fields=True, gc=False):
    """A record as a line of the pack."""

    at_ms: AtMs
    payload: T
    key: Annotated[str, Meta(min_length=1)] | None = None


class _RowStart(Struct, array_like=True, gc=False):
    at_ms: AtMs


_decode_row = Decoder(_Row[Raw]).decode
_decode_start = Decoder(_RowStart).decode


def packed_type(payload_type: Any) -> Any | None:
    """T of Pack[T]; None for anything else."""
    if payload_type is Pack:
        return Any
    return get_args(payload_type)[0] if get_origin(payload_type) is Pack else None


class PackReader:
    """Reads packs, and plain envelopes as packs of one, whose payloads are of one type.

    Raises SettingsError when no JSON could ever be read as the type.
    """

    def __init__(self, payload_type: Any) -> None:
        self.type_name = f"Pack[{type_name(payload_type)}]"
        self._read_payload = payload_reader(payload_type)
        self._decode_lines: Callable[[bytes], list[_Row[Any]]] | None = None
        if reads_natively(payload_type):
            self._decode_lines = Decoder(_Row[payload_type]).decode_lines

    def read(self, parcel: Parcel) -> Pack[Any]:
        """The pack or the envelope in a message. A payload that does not fit is one of `bad`."""
        if parcel.pack is None:
            assert parcel.envelope is not None
            return self._alone(parcel.envelope, parcel.text)
        header, content = parcel.pack, parcel.content
        return Pack.unread(header, lambda: self._rows(header, unpack(header, content)))

    def _alone(self, envelope: Envelope, text: str) -> Pack[Any]:
        records: list[Record[Any]] = []
        bad: list[BadRecord] = []
        at_ms = None
        try:
            at_ms = envelope_at_ms(envelope.timestamp)
            payload = self._read_payload(envelope.payload)
        except Exception as error:
            reason = str(error) if isinstance(error, EnvelopeError) else why_not(error)
            bad.append(BadRecord(0, at_ms, text.encode(), reason))
        else:
            records.append(_Alone(0, at_ms, payload, envelope.key, envelope.id))
        return Pack(envelope.id, envelope.type, envelope.node, False, records, bad)

    def _rows(self, header: PackHeader, lines: bytes) -> Rows[Any]:
        """All rows in one call, and one by one only when one of them does not fit."""
        pack_id = header.pack
        if self._decode_lines is not None:
            try:
                rows = self._decode_lines(lines)
            except Exception:
                rows = []
            if len(rows) == header.events:
                return [
                    Record(index, row.at_ms, row.payload, row.key, pack_id)
                    for index, row in enumerate(rows)
                ], []
        records: list[Record[Any]] = []
        bad: list[BadRecord] = []
        for index, line in enumerate(lines.split(b"\n")):
            try:
                row = _decode_row(line)
                payload = self._read_payload(row.payload)
            except Exception as error:
                bad.append(BadRecord(index, _at_ms(line), line, why_not(error)))
            else:
                records.append(Record(index, row.at_ms, payload, row.key, pack_id))
        return records, bad


def _at_ms(line: bytes) -> int | None:
    try:
        return _decode_start(line).at_ms
    except (MsgspecError, RecursionError):
        return None
