"""What a producer keeps on the disk, and how it gets from there into SQS, in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from forebay.errors import BufferFull, ServiceUnreachable, SettingsError
from forebay.producer import Lost, ProducerSettings, SpillFull, WhenFull
from forebay.producer.account_file import AccountFile
from forebay.protocol.actions import SendMessageBatchRequest, SendMessageBatchResult
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from tests.runtime.producer_queue import (
    FIFO,
    STANDARD,
    Answer,
    Sqs,
    account,
    acknowledge,
    after,
    producer,
    raises,
    says_nothing,
    works,
)
from tests.runtime.virtual_time import run

AWAY = raises(ServiceUnreachable("It is away."))
SMALL = ProducerSettings(buffer_size=1_000, when_full=WhenFull.SPILL)


@pytest.mark.parametrize("packed", [(), ("usage_log",)])
@pytest.mark.parametrize("outage", [AWAY, after(3, AWAY), raises(SqsError(QUEUE_DOES_NOT_EXIST))])
def test_an_outage_of_any_length_loses_nothing_and_holds_no_memory(
    tmp_path: Path, outage: Answer, packed: tuple[str, ...]
) -> None:
    async def main() -> None:
        sqs = Sqs(outage)
        sent = 0
        async with producer(sqs, settings=SMALL, packed=packed, spill=tmp_path) as it:
            for _ in range(40):
                for _ in range(80):
                    sent += it.send("usage_log", sent)
                await asyncio.sleep(0.1)
            assert sent == 3_200
            ledger = it.ledger
            assert ledger.buffered <= 1_000
            assert ledger.spilled > 2_000
            assert account(ledger)[0] == sent
            sqs.script(works)
            await asyncio.sleep(60)
            assert account(it.ledger) == (sent, sent, 0, 0, 0)
            assert it.ledger.spilled == 0
        assert set(sqs.events()) == set(range(sent))

    run(main())


def test_what_is_left_at_the_end_is_kept_for_the_next_producer(tmp_path: Path) -> None:
    async def main() -> None:
        sqs = Sqs(says_nothing)
        it = producer(sqs, settings=SMALL, packed=("usage_log",), spill=tmp_path)
        await it.start()
        for n in range(500):
            it.send("usage_log", n)
        ledger = await it.close(drain_timeout_s=1)
        assert (ledger.offered, ledger.spilled, ledger.failed) == (500, 500, 0)
        sqs.script(works)
        async with producer(sqs, settings=SMALL, packed=("usage_log",), spill=tmp_path) as after_it:
            assert after_it.ledger.spilled == 500
            after_it.send("usage_log", 500)
            await asyncio.sleep(5)
            assert account(after_it.ledger) == (501, 501, 0, 0, 0)

    run(main())


def test_the_account_goes_on_after_a_crash(tmp_path: Path) -> None:
    """What was delivered stays so, what was on the disk is sent, what was in memory has failed."""

    async def crash() -> None:
        sqs = Sqs()
        it = producer(sqs, settings=SMALL, spill=tmp_path)
        await it.start()
        for n in range(30):
            it.send("order", n)
        await asyncio.sleep(2)
        sqs.script(AWAY)
        for n in range(20):
            it.send("order", n)
        # No tick comes between here and the crash.
        await asyncio.sleep(2.05)
        assert (it.ledger.delivered, it.ledger.spilled) == (30, 20)
        sqs.script(says_nothing)
        it.settings = ProducerSettings(buffer_size=1_000, flush_ms=10_000)
        for n in range(7):
            it.send("order", n)
        assert it._spiller is not None
        it._spiller.note()
        it._spiller.abandon()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def recover() -> None:
        async with producer(Sqs(), settings=SMALL, spill=tmp_path) as it:
            assert account(it.ledger) == (57, 30, 0, 7, 0)
            assert it.ledger.spilled == 20
            await asyncio.sleep(5)
            assert account(it.ledger) == (57, 50, 0, 7, 0)

    run(crash())
    run(recover())


def test_live_traffic_comes_first_and_what_was_spilled_gets_a_share(tmp_path: Path) -> None:
    async def main() -> None:
        sqs = Sqs(AWAY)
        settings = ProducerSettings(
            buffer_size=1_000, concurrency=4, when_full=WhenFull.SPILL, flush_ms=20
        )
        async with producer(sqs, settings=settings, spill=tmp_path) as it:
            for n in range(900):
                it.send("order", -1 - n)
                await asyncio.sleep(0.001)
            await asyncio.sleep(1)
            sqs.script(after(0.1))
            sqs.requests.clear()
            for n in range(1_000):
                assert it.send("order", n)
                await asyncio.sleep(0.01)
            events = sqs.events()
            live = {n for n in events if isinstance(n, int) and n >= 0}
            assert len(live) > 900
            await asyncio.sleep(20)
            assert it.ledger.spilled == it.ledger.buffered == 0

    run(main())


@pytest.mark.parametrize("policy", SpillFull)
def test_a_full_spill_drops_by_its_policy_and_tells_which_times(
    tmp_path: Path, policy: SpillFull
) -> None:
    async def main() -> None:
        losses: list[Lost] = []
        settings = ProducerSettings(
            buffer_size=400,
            when_full=WhenFull.SPILL,
            spill_bytes=1_048_576,
            spill_segment_bytes=65_536,
            spill_full=policy,
        )
        sqs = Sqs(AWAY)
        async with producer(sqs, settings=settings, spill=tmp_path, on_lost=losses.append) as it:
            for n in range(40):
                for _ in range(100):
                    it.send("order", [n, "x" * 1_000])
                await asyncio.sleep(0.2)
            ledger = it.ledger
            assert ledger.dropped["spill_full"] > 1_000
            assert ledger.dropped["full"] == 0
            told = [lost for lost in losses if lost.reason == "spill_full"]
            assert sum(lost.events for lost in told) == ledger.dropped["spill_full"]
            assert all(0 < lost.first_ms <= lost.last_ms for lost in told)
            sqs.script(works)
            await asyncio.sleep(60)
            delivered = msgspec.convert(sqs.events()[-500:], list[tuple[int, str]])
            assert (min(n for n, _ in delivered) < 5) is (policy is SpillFull.DROP_NEWEST)
            assert account(it.ledger)[0] == 4_000

    run(main())


def test_the_limits_of_the_spill_change_live(tmp_path: Path) -> None:
    async def main() -> None:
        async with producer(Sqs(AWAY), settings=SMALL, spill=tmp_path) as it:
            it.settings = msgspec.structs.replace(SMALL, spill_bytes=1_048_576)
            for _ in range(40):
                for _ in range(100):
                    it.send("order", "x" * 1_000)
                await asyncio.sleep(0.2)
            assert 0 < it.ledger.spilled < 1_100
            assert it.ledger.dropped["spill_full"] > 2_900
            it.settings = SMALL
            it.send("order", "y")
            before = it.ledger.spilled
            await asyncio.sleep(2)
            assert it.ledger.spilled == before + 1

    run(main())


def test_a_disk_that_takes_nothing_is_told_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        losses: list[Lost] = []
        it = producer(Sqs(AWAY), settings=SMALL, spill=tmp_path, on_lost=losses.append)
        await it.start()
        assert it._spiller is not None
        spill = it._spiller._opened()

        def fail(records: object) -> object:
            raise type(spill).append.__globals__["SpillError"]("No room.")

        spill.append = fail  # type: ignore[method-assign, assignment]
        for n in range(10):
            it.send("order", n)
        await asyncio.sleep(1)
        assert it.ledger.dropped["spill_failed"] == 10
        assert account(it.ledger) == (10, 0, 10, 0, 0)
        assert [(lost.reason, lost.events, lost.error) for lost in losses] == [
            ("spill_failed", 10, "No room.")
        ]
        await it.close()

    run(main())
    assert any("The spill in" in record.getMessage() for record in caplog.records)


def test_whoever_awaits_a_message_hears_of_the_outage_and_it_is_not_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with producer(Sqs(AWAY), settings=SMALL, spill=tmp_path) as it:
            with pytest.raises(ServiceUnreachable):
                await it.publish("order", 1)
            assert account(it.ledger) == (1, 0, 0, 1, 0)

    run(main())


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="spill=PATH"):
        producer(Sqs(), settings=SMALL)
    with pytest.raises(SettingsError, match="FIFO"):
        producer(Sqs(), FIFO, spill=tmp_path)
    with pytest.raises(SettingsError, match="must be one of drop, block, spill"):
        ProducerSettings(when_full="wait")  # type: ignore[arg-type]


def test_a_full_buffer_may_be_waited_for_by_publish() -> None:
    async def main() -> None:
        settings = ProducerSettings(buffer_size=1, when_full=WhenFull.BLOCK, block_ms=1_000)
        sqs = Sqs(after(0.5))
        async with producer(sqs, settings=settings) as it:
            await asyncio.gather(it.publish("order", 1), it.publish("order", 2))
            sqs.script(says_nothing)
            first = asyncio.create_task(it.publish("order", 3))
            await asyncio.sleep(0)
            with pytest.raises(BufferFull):
                await it.publish("order", 4)
            first.cancel()
            # The loop's own thread makes the room: it is never kept waiting.
            assert not it.send("order", 5)
            assert (it.ledger.dropped["blocked"], it.ledger.dropped["full"]) == (1, 1)
            await it.close(drain_timeout_s=0)

    run(main())


def test_producers_for_two_queues_with_one_directory_send_their_own(tmp_path: Path) -> None:
    async def main() -> None:
        async with producer(Sqs(AWAY), settings=SMALL, spill=tmp_path) as it:
            it.send("usage_log", 1)
        assert it.ledger.spilled == 1
        other = Sqs()
        async with producer(other, STANDARD + "-of-others", spill=tmp_path, settings=SMALL) as its:
            its.send("usage_log", 2)
            await asyncio.sleep(5)
        assert other.events() == [2]
        mine = Sqs()
        async with producer(mine, spill=tmp_path, settings=SMALL):
            await asyncio.sleep(5)
        assert mine.events() == [1]

    run(main())


def test_a_directory_is_where_it_was_when_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    it = producer(Sqs(raises(SqsError(QUEUE_DOES_NOT_EXIST))), settings=SMALL, spill=Path("spool"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")

    async def main() -> None:
        async with it:
            it.send("usage_log", 1)

    run(main())
    assert (tmp_path / "spool" / "0").is_dir()
    assert "what is sent to it waits. Create it with `forebay create" in caplog.text


def test_what_leaves_was_offered_in_the_account_that_a_kill_would_leave(tmp_path: Path) -> None:
    """Also what leaves between two ticks, because a call ended: nobody wrote that down."""

    async def main() -> None:
        sqs = Sqs()
        handed = 0
        known: list[tuple[int, int]] = []

        async def answer(request: SendMessageBatchRequest) -> SendMessageBatchResult:
            nonlocal handed
            handed += len(request.entries)
            file = AccountFile(tmp_path / "0")
            kept = max(map(_read_account, file.read()), key=lambda each: each["sequence"])
            file.close()
            known.append((handed, kept["delivered"] + kept["buffered"]))
            if len(known) == 1:
                # These come right behind what is written down of this call, and leave at its end.
                asyncio.get_running_loop().call_soon(send_ten)
            return acknowledge(request)

        def send_ten() -> None:
            assert all(it.send("order", number) for number in range(10))

        sqs.script(answer)
        settings = ProducerSettings(concurrency=1, flush_ms=1_000)
        async with producer(sqs, settings=settings, spill=tmp_path) as it:
            send_ten()
            await asyncio.sleep(1.5)
            assert len(known) == 2
        assert all(offered >= handed for handed, offered in known), known

    run(main())


def _read_account(data: bytes) -> dict[str, int]:
    account: dict[str, int] = msgspec.json.decode(data)
    return account
