"""What users of other buffered producers have seen, one test for each, none of it to be seen here.

Bugs of files on the disk have tests with the spill; those of forks and of ends of processes are in
tests/acceptance/test_producer_processes.py (open-telemetry/opentelemetry-python#1567, #4005).
"""

from __future__ import annotations

import asyncio
import logging
import tracemalloc
from pathlib import Path

import pytest

from forebay.client.retry import RetryPolicy
from forebay.errors import ServiceUnreachable
from forebay.producer.ledger import Lost
from forebay.producer.producer import Producer
from forebay.producer.settings import ProducerSettings, WhenFull
from forebay.protocol import limits
from forebay.protocol.actions import SendMessageBatchRequest, SendMessageBatchResult
from forebay.protocol.errors import ACCESS_DENIED, SqsError
from tests.runtime.producer_queue import (
    STANDARD,
    Sqs,
    account,
    acknowledge,
    after,
    first,
    producer,
    raises,
    says_nothing,
)
from tests.runtime.virtual_time import run


async def away(request: SendMessageBatchRequest) -> SendMessageBatchResult:
    raise ServiceUnreachable


@pytest.mark.parametrize("packed", [(), ("usage_log",)])
def test_memory_grows_without_bound_while_the_service_is_away(packed: tuple[str, ...]) -> None:
    """awslabs/amazon-kinesis-producer#21: the process is killed for want of memory."""
    settings = ProducerSettings(buffer_size=5_000, buffer_bytes=1_000_000)

    async def main() -> None:
        sqs = Sqs(away)
        it = producer(sqs, settings=settings, packed=packed)
        await it.start()
        grown = []
        tracemalloc.start()
        for _ in range(3):
            for n in range(6_000):
                it.send("usage_log", {"n": n, "text": "x" * 100})
            await asyncio.sleep(30)
            sqs.requests.clear()
            sqs.retries.clear()
            grown.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        ledger = it.ledger
        assert ledger.buffered <= 5_000
        assert ledger.offered == 18_000 == ledger.buffered + ledger.dropped["full"]
        assert grown[-1] < 6_000_000
        assert grown[-1] < grown[0] + 1_000_000
        await it.close(0)

    run(main())


def test_drops_at_the_limit_are_counted_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """fluent/fluent-bit#7887, open-telemetry/opentelemetry-python#3152, -go#3264, -java#7103."""
    told: list[Lost] = []
    settings = ProducerSettings(buffer_size=100)

    async def main() -> None:
        it = producer(Sqs(says_nothing), settings=settings, on_lost=told.append)
        await it.start()
        for _ in range(10):
            for n in range(50):
                it.send("usage_log", n)
            await asyncio.sleep(1)
        assert it.ledger.dropped["full"] == 400
        assert sum(lost.events for lost in told if lost.reason == "full") == 400
        await it.close(0)

    run(main())
    warnings = [r for r in caplog.records if "lost" in r.getMessage() and r.levelname == "WARNING"]
    # One at once, none in the minute after it, and the ledger at the end.
    assert len(warnings) == 2
    assert "(full)" in warnings[0].getMessage()
    assert "offered 500, delivered 0" in warnings[-1].getMessage()


def test_the_first_hours_of_a_long_outage_are_lost() -> None:
    """open-telemetry/opentelemetry-collector#15324: the oldest is thrown away, and most is lost."""
    sqs = Sqs(away)

    async def main() -> None:
        settings = ProducerSettings(buffer_size=100, flush_ms=60_000)
        async with producer(sqs, settings=settings, retry=RetryPolicy(max_delay_ms=600_000)) as it:
            for hour in range(24):
                for n in range(10):
                    it.send("usage_log", f"{hour}:{n}")
                await asyncio.sleep(3_600)
            sqs.script(first())
            del sqs.requests[:]
            await it.flush()
        assert sorted(map(str, sqs.events())) == sorted(
            f"{hour}:{n}" for hour in range(10) for n in range(10)
        )
        assert account(it.ledger) == (240, 100, 140, 0, 0)

    run(main())


@pytest.mark.parametrize("error", [KeyError("bug"), SqsError(ACCESS_DENIED)])
def test_it_is_alive_and_sends_nothing_any_more_after_one_failure(error: Exception) -> None:
    """fluent/fluent-bit#11847: what comes after something broken waits for ever."""

    async def main() -> None:
        sqs = Sqs(first(raises(error)))
        async with producer(sqs) as it:
            it.send("usage_log", "broken")
            await it.flush()
            for n in range(100):
                it.send("usage_log", n)
            await it.flush()
            assert account(it.ledger) == (101, 100, 0, 1, 0)

    run(main())


def test_one_message_that_is_refused_holds_up_all_others() -> None:
    """vectordotdev/vector#17644: the same record is read and refused again and again."""

    async def refuses_the_first(request: SendMessageBatchRequest) -> SendMessageBatchResult:
        bad = {
            place: True
            for place, entry in enumerate(request.entries)
            if '"payload":"bad"' in entry.message_body
        }
        return acknowledge(request, failed=bad)

    async def main() -> None:
        sqs = Sqs(refuses_the_first)
        async with producer(sqs) as it:
            for n in range(30):
                it.send("usage_log", "bad" if n == 3 else n)
            await it.flush()
            assert account(it.ledger) == (30, 29, 0, 1, 0)
        assert sqs.events().count("bad") == 1

    run(main())


def test_a_sender_is_blocked_for_good() -> None:
    """vectordotdev/vector#18336: whoever waits for room waits though there is room again."""

    async def main() -> None:
        sqs = Sqs(away)
        settings = ProducerSettings(buffer_size=2, when_full=WhenFull.BLOCK, block_ms=50)
        retry = RetryPolicy(base_delay_ms=1, max_delay_ms=10)
        async with Producer(sqs, STANDARD, settings=settings, retry=retry) as it:
            assert it.send("usage_log", 1)
            assert it.send("usage_log", 2)
            assert not await asyncio.to_thread(it.send, "usage_log", 3)
            assert it.ledger.dropped["blocked"] == 1
            sqs.script(first())
            await it.flush()
            assert await asyncio.to_thread(it.send, "usage_log", 4)
        assert account(it.ledger) == (4, 3, 1, 0, 0)

    asyncio.run(main())


def test_closing_sends_what_is_under_way_again() -> None:
    """aws/aws-sdk-java-v2#7301: messages are there two and three times after close()."""

    async def main() -> None:
        sqs = Sqs(after(2.0))
        it = producer(sqs)
        await it.start()
        for n in range(25):
            it.send("usage_log", n)
        await asyncio.sleep(0.2)
        await asyncio.gather(it.close(), it.close(), it.flush())
        assert sorted(map(str, sqs.events())) == sorted(map(str, range(25)))
        assert account(it.ledger) == (25, 25, 0, 0, 0)

    run(main())


def test_closing_cancels_what_is_under_way_and_its_publisher_hears_of_no_success() -> None:
    """aws/aws-sdk-java-v2#7301: a send that has arrived ends with CancellationException."""

    async def main() -> None:
        sqs = Sqs(after(2.0))
        it = producer(sqs)
        await it.start()
        publishing = asyncio.create_task(it.publish("order", 1))
        await asyncio.sleep(0.2)
        await it.close()
        assert (await publishing).message_id

    run(main())


def test_what_does_not_fill_a_batch_is_left_behind_at_the_end() -> None:
    """awspring/spring-cloud-aws#1661: below the threshold nothing is flushed at shutdown."""

    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, settings=ProducerSettings(flush_ms=60_000)) as it:
            it.send("usage_log", 1)
        assert sqs.events() == [1]
        assert account(it.ledger) == (1, 1, 0, 0, 0)

    run(main())


def test_a_future_is_successful_before_anything_was_sent() -> None:
    """The documentation of Spring Cloud AWS's automatic batching warns of false positives."""

    async def main() -> None:
        sqs = Sqs(after(5.0))
        async with producer(sqs, settings=ProducerSettings(timeout_ms=10_000)) as it:
            publishing = asyncio.create_task(it.publish("order", 1))
            await asyncio.sleep(4.9)
            assert not publishing.done()
            assert it.ledger.delivered == 0
            await publishing
            assert it.ledger.delivered == 1

    run(main())


def test_batches_are_tiny_under_load() -> None:
    """aws/aws-sdk-java-v2#6374: every call carries one or two messages, and is billed."""

    async def main() -> None:
        sqs = Sqs(after(0.05))
        async with producer(sqs) as it:
            for n in range(2_000):
                it.send("usage_log", n)
                if n % 10 == 0:
                    await asyncio.sleep(0.001)
            await it.flush()
        sizes = [len(batch) for batch in sqs.batches]
        assert sum(sizes) == 2_000
        assert len(sizes) <= 220

    run(main())


def test_a_batch_that_fails_is_thrown_away() -> None:
    """useautumn/autumn#2476: a call that fails loses its ten messages."""

    async def fails_in_part(request: SendMessageBatchRequest) -> SendMessageBatchResult:
        return acknowledge(request, failed={0: False, 5: False})

    async def main() -> None:
        sqs = Sqs(first(away, fails_in_part))
        async with producer(sqs) as it:
            for n in range(10):
                it.send("usage_log", n)
            await it.flush()
            assert account(it.ledger) == (10, 10, 0, 0, 0)
        assert [len(batch) for batch in sqs.batches] == [10, 10, 2]

    run(main())


def test_messages_above_256_kilobytes_are_refused() -> None:
    """awslabs/amazon-sqs-java-extended-client-lib#172: SQS has taken 1 MiB since 2025."""

    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs) as it:
            assert it.send("report", "x" * 900_000)
            assert it.send("report", "y" * 900_000)
            assert not it.send("report", "z" * limits.MESSAGE_BYTES_MAX)
        # Together they are more than SQS takes in one call.
        assert [len(batch) for batch in sqs.batches] == [1, 1]
        assert account(it.ledger) == (3, 2, 1, 0, 0)

    run(main())


def test_a_callback_that_fails_ends_the_producer(caplog: pytest.LogCaptureFixture) -> None:
    """Seen of callbacks everywhere: the user's bug stops the thread or the loop that calls it."""

    def on_lost(lost: Lost) -> None:
        raise ValueError("a bug of the user's")

    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, on_lost=on_lost) as it:
            it.send("usage_log", object())
            await asyncio.sleep(1)
            it.send("usage_log", 1)
            await it.flush()
        assert sqs.events() == [1]

    with caplog.at_level(logging.ERROR):
        run(main())
    assert "on_lost failed" in caplog.text


def test_memory_is_held_after_everything_was_delivered(tmp_path: Path) -> None:
    """awslabs/amazon-kinesis-producer#626: acknowledged records are never let go."""

    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs, packed=("usage_log",), spill=tmp_path) as it:
            tracemalloc.start()
            held = []
            for _ in range(4):
                for n in range(5_000):
                    it.send("usage_log", {"n": n, "text": "x" * 100})
                await it.flush()
                sqs.requests.clear()
                held.append(tracemalloc.get_traced_memory()[0])
            tracemalloc.stop()
            assert it.ledger.delivered == 20_000
        assert held[-1] < held[0] + 250_000

    run(main())
