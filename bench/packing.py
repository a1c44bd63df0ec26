"""What codecs make of packs, and what packing and unpacking cost for each record."""

from __future__ import annotations

import random
import sys
import time
import zlib
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, TypeAlias

import msgspec
import pydantic
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.usage_logs import make_logs
from forebay.messages.packing import PACK_ATTRIBUTE, PACK_BYTES_MAX, SealedPack, open_pack
from forebay.messages.sealing import PackRatio, seal_all
from forebay.protocol.actions import Message, MessageAttributeValue
from forebay.worker.codecs import ENVELOPE_OR_RAW, Parcel
from forebay.worker.packs import PackReader

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: A codec: what it packs with, and what it unpacks with.
_Codec: TypeAlias = tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]

#: The levels that are measured.
_ZLIB = (1, 6, 9)
_ZSTD = (-1, 1, 3)

#: Records that are compressed at a time: about what fits into a pack.
RECORDS = 5_000

#: Each figure is the best of so many rounds.
ROUNDS = 20

#: Without a package of its own there is no lz4.
CODECS: dict[str, _Codec] = {
    **{f"zlib {level}": (partial(zlib.compress, level=level), zlib.decompress) for level in _ZLIB},
    **{f"zstd {level}": (partial(zstd.compress, level=level), zstd.decompress) for level in _ZSTD},
}

_START_MS = 1_795_854_360_000


class Compressed(Struct):
    """One codec with one kind of records."""

    records: str
    codec: str
    size_bytes: int
    packed_bytes: int
    #: Of records, in 65,536 bytes as AWS counts, had the pack as many as fit.
    records_a_message: int
    pack_mb_s: float
    unpack_mb_s: float


class Cost(Struct):
    """What one record costs in one step."""

    step: str
    record_us: float


class Report(Struct):
    """The benchmark as it is written to JSON."""

    zstd: str
    compressed: list[Compressed]
    costs: list[Cost]


class _Log(Struct, gc=False):
    api_key_id: str
    asset: str
    source: str
    response_time_us: int
    cache_tier: str
    http_status: int | None = None


class _TrackedLog(Struct):
    api_key_id: str
    asset: str
    source: str
    response_time_us: int
    cache_tier: str
    http_status: int | None = None


class _ModelLog(pydantic.BaseModel):
    api_key_id: str
    asset: str
    source: str
    response_time_us: int
    cache_tier: str
    http_status: int | None = None


def kinds() -> dict[str, list[bytes]]:
    """Records to pack, encoded, from what packs well to what does not."""
    chance = random.Random(1)
    events = [
        {
            "event": chance.choice(("page_view", "click", "purchase")),
            "path": f"/assets/{chance.randrange(300)}?ref={chance.randrange(10**9):x}",
            "user_id": f"user-{chance.getrandbits(64):016x}",
            "user_agent": f"Mozilla/5.0 (X11; Linux x86_64) Chrome/{chance.randrange(90, 140)}.0",
        }
        for _ in range(RECORDS)
    ]
    noise = [chance.randbytes(96) for _ in range(RECORDS)]
    return {
        "usage logs": _encoded(make_logs(RECORDS)),
        "events": _encoded(events),
        "noise": _encoded(noise),
    }


def run() -> Report:
    """Compress every kind with every codec, and time the steps of usage logs in a pack."""
    compressed = [
        _compress(name, records, codec) for name, records in kinds().items() for codec in CODECS
    ]
    return Report(zstd.zstd_version, compressed, _costs(_encoded(make_logs(50_000, seed=2))))


def print_table(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(title=f"{RECORDS:,} records in one piece, zstd {report.zstd}")
    table.add_column("records", no_wrap=True)
    for column in ("codec", "bytes", "packed", "ratio", "a message", "pack MB/s", "unpack MB/s"):
        table.add_column(column, justify="right")
    for number, each in enumerate(report.compressed, 1):
        table.add_row(
            each.records,
            each.codec,
            f"{each.size_bytes:,}",
            f"{each.packed_bytes:,}",
            f"{each.packed_bytes / each.size_bytes:.3f}",
            f"{each.records_a_message:,}",
            f"{each.pack_mb_s:,.0f}",
            f"{each.unpack_mb_s:,.0f}",
            end_section=number % len(CODECS) == 0,
        )
    console.print(table)
    table = Table(title="Usage logs in packs of 65,536 bytes")
    table.add_column("step")
    table.add_column("µs a record", justify="right")
    for cost in report.costs:
        table.add_row(cost.step, f"{cost.record_us:.3f}")
    console.print(table)


def _encoded(payloads: list[Any]) -> list[bytes]:
    """As many were made in a millisecond as a busy process makes."""
    encode = msgspec.json.Encoder().encode
    return [encode((_START_MS + number // 250, each)) for number, each in enumerate(payloads)]


def _compress(name: str, records: list[bytes], codec: str) -> Compressed:
    pack, unpack = CODECS[codec]
    data = b"\n".join(records)
    packed = pack(data)
    assert unpack(packed) == data
    return Compressed(
        records=name,
        codec=codec,
        size_bytes=len(data),
        packed_bytes=len(packed),
        records_a_message=len(records) * PACK_BYTES_MAX // len(packed),
        pack_mb_s=len(data) / _best_s(lambda: pack(data)) / 1e6,
        unpack_mb_s=len(data) / _best_s(lambda: unpack(packed)) / 1e6,
    )


def _costs(records: list[bytes]) -> list[Cost]:
    ratio = PackRatio()

    def seal() -> list[SealedPack]:
        numbers = count()
        return seal_all(
            records,
            identifier=lambda: f"5f0c8a1de2b34477-{next(numbers)}",
            type="usage_log",
            node="host-42",
            ratio=ratio,
        ).packs

    seal()
    steps: dict[str, Callable[[], Any]] = {"seal": seal}
    packs = seal()
    messages = [_message(pack) for pack in packs]
    parcels = [ENVELOPE_OR_RAW(message) for message in messages]
    steps["open, when it comes in"] = partial(_open, packs)
    for type_name, payload_type in (
        ("a struct with gc=False", _Log),
        ("a struct", _TrackedLog),
        ("a dict", dict),
        ("a pydantic model", _ModelLog),
    ):
        steps[f"read as {type_name}"] = partial(_read, PackReader(payload_type), parcels)
    return [Cost(step, _best_s(call) / len(records) * 1e6) for step, call in steps.items()]


def _open(packs: list[SealedPack]) -> None:
    for pack in packs:
        open_pack(pack.body.decode(), pack.content)


def _read(reader: PackReader, parcels: list[Parcel]) -> None:
    for parcel in parcels:
        records, bad = reader.read(parcel).read()
        assert records
        assert not bad


def _message(pack: SealedPack) -> Message:
    return Message(
        message_id="",
        receipt_handle="",
        md5_of_body="",
        body=pack.body.decode(),
        message_attributes={
            PACK_ATTRIBUTE: MessageAttributeValue(data_type="Binary", binary_value=pack.content)
        },
    )


def _best_s(call: Callable[[], object]) -> float:
    """Processor time of the best round.

    Each result lives until the next is there, so that not every round asks the kernel for memory.
    """
    best_s = float("inf")
    kept = None
    for _ in range(ROUNDS):
        begun_s = time.process_time()
        result = call()
        best_s = min(best_s, time.process_time() - begun_s)
        kept, result = result, None
    del kept
    return best_s
