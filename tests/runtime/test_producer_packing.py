"""Envelopes of a packed type leave by the thousand in one message, in virtual time."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from forebay.errors import ServiceUnreachable, SettingsError
from forebay.messages.packing import PACK_ATTRIBUTE, PACK_BYTES_MAX, PackHeader, open_pack
from forebay.producer import ProducerSettings
from forebay.producer.entry import Entry
from tests.runtime.producer_queue import FIFO, Sqs, account, after, first, producer, raises, works
from tests.runtime.virtual_time import run

PACKED = ("usage_log", "analytics_event")

#: Four digits of each payload do not compress.
NOISE = random.Random(7)


def test_what_one_tick_brings_is_one_message() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, packed=PACKED) as it:
            for n in range(1_500):
                assert it.send("usage_log", {"n": n})
            assert account(it.ledger) == (1_500, 0, 0, 0, 1_500)
            await asyncio.sleep(0.15)
            assert account(it.ledger) == (1_500, 1_500, 0, 0, 0)
        [[message]] = sqs.batches
        header = msgspec.json.decode(message.message_body)
        assert header["type"] == "usage_log"
        assert header["node"] == "node-1"
        assert header["events"] == 1_500
        assert message.message_attributes is not None
        assert message.message_attributes[PACK_ATTRIBUTE].data_type == "Binary"
        assert sqs.events() == [{"n": n} for n in range(1_500)]

    run(main())


def test_each_type_has_packs_of_its_own_and_other_types_travel_alone() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, packed=PACKED) as it:
            it.send("usage_log", 1)
            it.send("analytics_event", 2)
            it.send("order", 3)
            it.send("usage_log", 4, group_id="tenant-1")
        assert sorted(sqs.events(), key=str) == [1, 2, 3, 4]
        packs = [
            msgspec.json.decode(entry.message_body, type=PackHeader)
            for batch in sqs.batches
            for entry in batch
            if entry.message_attributes
        ]
        assert sorted(pack.type for pack in packs) == ["analytics_event", "usage_log"]

    run(main())


def test_a_pack_leaves_when_it_is_full_and_not_only_with_the_tick() -> None:
    async def main() -> None:
        sqs = Sqs()
        settings = ProducerSettings(flush_ms=60_000, buffer_size=1_000_000)
        async with producer(sqs, settings=settings, packed=PACKED) as it:
            for n in range(40_000):
                it.send("usage_log", {"n": n, "noise": NOISE.random()})
                if n % 1_000 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(1)
            assert it.ledger.delivered > 20_000
            sizes = [
                Entry(
                    "",
                    entry.message_body.encode(),
                    pack=entry.message_attributes[PACK_ATTRIBUTE].binary_value,
                ).size_bytes
                for batch in sqs.batches
                for entry in batch
                if entry.message_attributes
            ]
            assert max(sizes) <= PACK_BYTES_MAX
            assert sum(sizes[1:-1]) / len(sizes[1:-1]) > 0.7 * PACK_BYTES_MAX
        assert len(sqs.events()) == 40_000

    run(main())


def test_a_pack_that_is_sent_again_is_the_same_pack() -> None:
    async def main() -> None:
        broken = Sqs()
        broken.script(first(raises(ServiceUnreachable("Lost on the way.")), then=works))
        async with producer(broken, packed=PACKED) as it:
            it.send("usage_log", 1)
            await asyncio.sleep(0.11)
            it.send("usage_log", 2)
        assert broken.events() in ([1, 1, 2], [1, 2, 1])
        bodies = [entry.message_body for batch in broken.batches for entry in batch]
        assert bodies[0] in bodies[1:]
        assert len(set(bodies)) == 2

    run(main())


def test_the_business_key_travels_with_its_record() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, packed=PACKED) as it:
            assert it.send("usage_log", 1, "fact-1")
            assert not it.send("usage_log", 2, "")
            assert not it.send("usage_log", 3, 7)  # type: ignore[arg-type]
        assert sqs.events() == [1]
        assert it.ledger.dropped["unencodable"] == 2

    run(main())


@pytest.mark.parametrize("raw", [b'{"n": 1}', b'{\n  "n": 1\n}', b"nonsense", b"1],[2", b'"'])
def test_raw_json_inside_a_payload_is_one_line_and_spoils_no_other(raw: bytes) -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, packed=PACKED) as it:
            it.send("usage_log", "before")
            it.send("usage_log", [msgspec.Raw(raw)])
            it.send("usage_log", "after")
        [[message]] = sqs.batches
        assert message.message_attributes is not None
        content = message.message_attributes[PACK_ATTRIBUTE].binary_value
        assert content is not None
        first, given, last = open_pack(message.message_body, content).lines.splitlines()
        assert (msgspec.json.decode(first)[1], msgspec.json.decode(last)[1]) == ("before", "after")
        assert given.endswith(raw.replace(b"\n", b" ") + b"]]")
        assert account(it.ledger) == (3, 3, 0, 0, 0)

    run(main())


def test_a_payload_that_no_message_holds_is_refused_at_once_or_when_it_is_packed() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, packed=PACKED) as it:
            assert not it.send("usage_log", "x" * 1_048_577)
            assert it.send("usage_log", "x" * 1_000_000)
            incompressible = "".join(map(chr, NOISE.choices(range(0x4E00, 0x9FA5), k=349_000)))
            assert it.send("usage_log", incompressible)
        assert account(it.ledger)[:2] in ((3, 1), (3, 2))
        assert it.ledger.dropped["too_large"] in (1, 2)
        assert it.ledger.buffered == 0

    run(main())


def test_a_fifo_queue_takes_no_packs() -> None:
    with pytest.raises(SettingsError, match="leave `packed` empty"):
        producer(Sqs(), FIFO, packed=PACKED)


def test_records_are_sealed_a_few_packs_at_a_time_and_none_waits_for_the_next_tick() -> None:
    async def main() -> None:
        sqs = Sqs(after(0.01))
        settings = ProducerSettings(flush_ms=200, buffer_size=1_000_000)
        async with producer(sqs, settings=settings, packed=PACKED) as it:
            for n in range(30_000):
                it.send("usage_log", {"n": n})
            await asyncio.sleep(0.3)
            assert account(it.ledger) == (30_000, 30_000, 0, 0, 0)

    run(main())
