"""What the consumer does with messages, variable by variable."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from forebay.errors import SettingsError
from forebay.idempotency import Status
from forebay.lab.consumer import StepKind
from forebay.lab.consumer.consumer import Unanswered
from forebay.lab.consumer.handling import RecentIds
from forebay.lab.consumer.tables import Tables
from forebay.messages.envelope import encode_envelope
from forebay.protocol.actions import (
    ChangeMessageVisibilityBatchRequest,
    DeleteQueueRequest,
    ReceiveMessageRequest,
)
from tests.lab.consuming import Bench, elapsed_s, on_bench


def test_messages_are_done_once_completed_and_deleted() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a"}, {"id": "b"})
        consumed = await bench.consume()
        assert consumed.processed == consumed.ledger.acked == 2
        assert sorted(bench.performed) == ["a", "b"]
        assert (await bench.status("a")).status is Status.COMPLETED
        assert (await bench.status("a")).attempts == 1
        assert await bench.left() == (0, 0)

    on_bench(scenario)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"id": "own"}, "own"),
        ({"id": 7}, "7"),
        ({"id": None}, None),
        ({"id": ""}, None),
        ({"id": True}, None),
        ({"work": 3}, None),
        ("[1, 2]", None),
        ("no JSON", None),
        (encode_envelope("envelope-1", "order", "2026-11-22T08:00:00.000Z", "n", {}), "envelope-1"),
    ],
)
def test_a_message_has_the_id_of_its_payload_or_else_of_sqs(
    body: dict[str, object] | str, expected: str | None
) -> None:
    async def scenario(bench: Bench) -> None:
        message_id = await bench.client.send(bench.url, body)
        await bench.consume()
        assert bench.performed == [expected or message_id]

    on_bench(scenario)


def test_a_message_that_was_completed_is_deleted_and_counts_another_attempt() -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(2):
            await bench.send({"id": "a"})
            consumed = await bench.consume(MESSAGE_LIMIT=1)
            assert consumed.processed == 1
        assert bench.performed == ["a"]
        assert bench.texts(StepKind.SKIPPED) == ["it was completed"]
        assert (await bench.status("a")).attempts == 2

    on_bench(scenario)


def test_another_payload_under_the_same_id_is_rejected_with_the_reason() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a", "work": 1})
        await bench.consume(MESSAGE_LIMIT=1)
        await bench.send({"id": "a", "work": 2})
        await bench.consume()
        assert bench.performed == ["a"]
        assert await bench.left() == (0, 1)
        assert "came with another payload than before" in bench.texts(StepKind.FAILED)[0]
        assert (await bench.status("a")).status is Status.COMPLETED

    on_bench(scenario)


@pytest.mark.parametrize(
    ("size", "order", "skipped"),
    [(0, "aa", ""), (1, "aa", "a"), (1, "aba", ""), (2, "aba", "a"), (2, "abacab", "aa")],
)
def test_the_cache_in_memory_keeps_what_was_used_last(size: int, order: str, skipped: str) -> None:
    async def scenario(bench: Bench) -> None:
        for name in order:
            await bench.send({"id": name})
            await asyncio.sleep(0)
        await bench.consume(tables=Tables(), IDEMPOTENCY_CACHE_SIZE=size)
        assert "".join(bench.ids(StepKind.SKIPPED)) == skipped

    on_bench(scenario)


def test_asking_for_an_id_keeps_it() -> None:
    ids = RecentIds(2)
    ids.add("a")
    ids.add("b")
    assert "a" in ids
    ids.add("c")
    assert [name in ids for name in "abc"] == [True, False, True]


def test_poison_is_failed_and_dead_lettered_and_the_others_are_done() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "good"}, {"id": "bad", "work": "POISON"})
        consumed = await bench.consume(REJECT_PAYLOAD_MARKER="POISON", MAX_MESSAGES=10)
        assert bench.performed == ["good"]
        assert bench.ids(StepKind.FAILED) == ["bad"] * 2
        assert await bench.left() == (0, 1)
        assert consumed.processed == 1
        status = await bench.status("bad")
        assert (status.status, status.attempts) == (Status.FAILED, 2)
        assert "contains 'POISON', which REJECT_PAYLOAD_MARKER rejects" in str(status.error_reason)

    on_bench(scenario, max_receive_count=2)


def test_without_partial_batch_one_bad_message_takes_the_good_ones_along() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "good"}, {"id": "bad", "work": "POISON"})
        await bench.consume(
            REJECT_PAYLOAD_MARKER="POISON", MAX_MESSAGES=10, without=["partial-batch"]
        )
        assert await bench.left() == (0, 2)

    on_bench(scenario, max_receive_count=2)


@pytest.mark.parametrize(("most", "receives"), [(1, [1, 1, 1]), (2, [2, 1]), (10, [3])])
def test_a_receive_asks_for_so_many_and_the_next_waits_until_they_are_done(
    most: int, receives: list[int]
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a"}, {"id": "b"}, {"id": "c"})
        in_flight: list[int] = []

        async def watch() -> None:
            while True:
                in_flight.append((await bench.client.counts(bench.url))[1])
                await asyncio.sleep(0.05)

        watching = asyncio.ensure_future(watch())
        await bench.consume(MAX_MESSAGES=most, SIDE_EFFECT_DELAY_SECONDS=1, WAIT_TIME_SECONDS=3)
        watching.cancel()
        asked = [
            request
            for request in bench.client.requests
            if isinstance(request, ReceiveMessageRequest)
        ]
        assert max(request.max_number_of_messages or 0 for request in asked) == most
        assert {request.wait_time_seconds for request in asked} == {3}
        assert max(in_flight) == receives[0]
        assert len(bench.performed) == 3

    on_bench(scenario)


@pytest.mark.parametrize("most", [1, 10])
def test_a_limit_counts_messages_that_were_processed_and_no_more_are_received(most: int) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "bad", "x": "POISON"}, *({"id": f"{n}"} for n in range(5)))
        consumed = await bench.consume(
            MESSAGE_LIMIT=2, REJECT_PAYLOAD_MARKER="POISON", MAX_MESSAGES=most
        )
        assert (consumed.processed, len(bench.performed)) == (2, 2)
        assert await bench.left() == (4, 0)
        assert (consumed.ledger.released, consumed.ledger.lost) == (0, 0)

    on_bench(scenario)


@pytest.mark.parametrize("came", [False, True])
def test_it_ends_when_nothing_has_come_for_so_long(came: bool) -> None:
    async def scenario(bench: Bench) -> None:
        if came:
            await bench.send({"id": "a"})
        consumed = await bench.consume(
            IDLE_TIMEOUT_SECONDS=30, WAIT_TIME_SECONDS=5, SIDE_EFFECT_DELAY_SECONDS=100
        )
        assert consumed.processed == came
        begun_s = 100 if came else 0
        assert begun_s + 30 <= elapsed_s() <= begun_s + 36

    on_bench(scenario)


def test_it_does_not_wait_long_for_a_message_when_it_is_soon_to_end() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.consume(IDLE_TIMEOUT_SECONDS=2.5, WAIT_TIME_SECONDS=20)
        assert 2.5 <= elapsed_s() <= 6.1

    on_bench(scenario)


def test_nothing_came_is_no_good_end_when_no_receive_was_answered() -> None:
    async def scenario(bench: Bench) -> None:
        consuming = asyncio.ensure_future(bench.consume(IDLE_TIMEOUT_SECONDS=30))
        await asyncio.sleep(5)
        await bench.client.call(DeleteQueueRequest(queue_url=bench.url))
        with pytest.raises(Unanswered, match=r"are not answered any more\. .*NonExistentQueue"):
            await consuming

    on_bench(scenario)


def test_a_message_that_comes_meanwhile_begins_the_time_anew() -> None:
    async def scenario(bench: Bench) -> None:
        consuming = asyncio.ensure_future(bench.consume(IDLE_TIMEOUT_SECONDS=30))
        await asyncio.sleep(25)
        await bench.send({"id": "a"})
        assert (await consuming).processed == 1
        assert 55 <= elapsed_s() <= 66

    on_bench(scenario)


def test_a_heartbeat_keeps_a_message_hidden_for_as_long_as_it_takes() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a"})
        slow = asyncio.ensure_future(bench.consume(SIDE_EFFECT_DELAY_SECONDS=35))
        await asyncio.sleep(1)
        other = await bench.consume(IDLE_TIMEOUT_SECONDS=25)
        assert other.ledger.received == 0
        assert (await slow).processed == 1
        assert bench.performed == ["a"]

    on_bench(scenario)


def test_without_a_heartbeat_another_gets_it_and_its_effect_is_done_once_nevertheless() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a"})
        slow: dict[str, Any] = {"SIDE_EFFECT_DELAY_SECONDS": 15, "without": ["heartbeat"]}
        first = asyncio.ensure_future(bench.consume(**slow))
        await asyncio.sleep(1)
        await bench.consume(**slow)
        await first
        assert bench.performed == ["a"]
        assert (await bench.status("a")).attempts >= 2
        extended = [
            entry
            for request in bench.client.requests
            if isinstance(request, ChangeMessageVisibilityBatchRequest)
            for entry in request.entries
            if (entry.visibility_timeout or 0) >= 10
        ]
        assert extended == []

    on_bench(scenario)


def test_a_message_that_can_no_longer_be_deleted_is_logged_and_the_next_one_is_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On a FIFO queue a receipt handle is stale once the visibility timeout is over."""

    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a"}, group_id="g")
        await bench.consume(SIDE_EFFECT_DELAY_SECONDS=15, MESSAGE_LIMIT=1, without=["heartbeat"])
        assert "Done but not deleted, and will be delivered again" in caplog.text
        await bench.consume(MESSAGE_LIMIT=1)
        assert bench.performed == ["a"]
        assert await bench.left() == (0, 0)

    on_bench(scenario, fifo=True)


def test_without_delete_a_message_comes_until_it_is_dead_lettered() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a"})
        await bench.consume(without=["delete"])
        assert bench.performed == ["a"]
        assert (await bench.status("a")).attempts == 2
        assert await bench.left() == (0, 1)

    on_bench(scenario, max_receive_count=2)


ORDERS = (
    {"id": "1", "order_id": "o-1", "work": 5},
    {"id": "2", "order_id": "o-1", "work": 900},
    {"id": "3", "order_id": "o-1", "action": "refund"},
    {"id": "4", "order_id": "o-2"},
    {"id": "5"},
)


def test_a_business_fact_has_one_effect_for_each_action() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send(*ORDERS)
        await bench.consume(BUSINESS_IDEMPOTENCY_FIELD="order_id")
        assert len(bench.performed) == 4
        assert len({*bench.performed} & {"1", "2"}) == 1
        for message_id in "12345":
            assert (await bench.status(message_id)).status is Status.COMPLETED
        assert await bench.left() == (0, 0)

    on_bench(scenario)


def test_without_a_business_key_each_message_has_its_own() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send(*ORDERS)
        await bench.consume(BUSINESS_IDEMPOTENCY_FIELD="order_id", without=["business-key"])
        assert sorted(bench.performed) == list("12345")

    on_bench(scenario)


@pytest.mark.parametrize("table", ["status", "effects", "neither"])
def test_either_table_works_without_the_other(table: str) -> None:
    async def scenario(bench: Bench) -> None:
        store = bench.store
        tables = {
            "status": Tables(status=store, keys=store),
            "effects": Tables(effects=store, keys=store),
            "neither": Tables(),
        }[table]
        for _ in range(2):
            await bench.send({"id": "a"})
            begun_s = elapsed_s()
            await bench.consume(tables=tables, MESSAGE_LIMIT=1, SIDE_EFFECT_DELAY_SECONDS=7)
            if len(bench.steps) == 1:
                assert elapsed_s() - begun_s >= 7
        assert bench.performed == (["a", "a"] if table == "neither" else ["a"])
        status = await store.find_message("a")
        assert (status is not None) == (table == "status")
        assert ((await store.find_effect("delivery/a")) is not None) == (table == "effects")

    on_bench(scenario)


def test_each_effect_appends_a_line_in_the_order_of_its_group(tmp_path: Path) -> None:
    log = tmp_path / "order.log"

    async def scenario(bench: Bench) -> None:
        await bench.send(*({"id": f"{n}", "place": n} for n in range(1, 11)), group_id="tenant-1")
        await asyncio.gather(
            *(
                bench.consume(
                    SIDE_EFFECT_LOG_PATH=log, SIDE_EFFECT_LOG_FIELD="place", MAX_MESSAGES=10
                )
                for _ in range(5)
            )
        )
        assert {(step.subject, step.value) for step in bench.steps} == {
            ("tenant-1", float(n)) for n in range(1, 11)
        }

    on_bench(scenario, fifo=True)
    assert log.read_text().split() == [f"{n}" for n in range(1, 11)]


def test_a_payload_without_the_field_of_the_log_fails_and_says_so(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a"})
        await bench.consume(SIDE_EFFECT_LOG_PATH=tmp_path / "order.log")
        assert await bench.left() == (0, 1)
        assert "has no field 'sequence', which SIDE_EFFECT_LOG_FIELD" in bench.steps[0].text

    on_bench(scenario, max_receive_count=2)


def test_a_full_disk_fails_a_message_and_says_so() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a", "sequence": 1})
        await bench.consume(SIDE_EFFECT_LOG_PATH="/dev/full")
        assert await bench.left() == (0, 1)
        assert bench.steps[0].text == (
            "LineNotWritten: /dev/full cannot be appended to: No space left on device."
        )

    on_bench(scenario, max_receive_count=2)


def test_a_protection_that_is_none_is_refused() -> None:
    async def scenario(bench: Bench) -> None:
        with pytest.raises(SettingsError, match="'luck' is no protection of the consumer"):
            await bench.consume(without=["luck"])

    on_bench(scenario)


def test_it_says_why_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="forebay")

    async def scenario(bench: Bench) -> None:
        await bench.send({"id": "a"})
        await bench.consume(MESSAGE_LIMIT=1)
        await bench.consume(IDLE_TIMEOUT_SECONDS=4)

    on_bench(scenario)
    assert "1 message was processed, as MESSAGE_LIMIT says" in caplog.text
    assert "No message has come for 4 s, as IDLE_TIMEOUT_SECONDS says" in caplog.text
