"""One contract, held by every idempotency store: messages, effects outside, and versions."""

from __future__ import annotations

import asyncio
import random
from itertools import permutations

import pytest

from forebay.idempotency import (
    AlreadyDone,
    Applied,
    Attempt,
    Guard,
    MessageStatus,
    PayloadDiffers,
    Performed,
    SideEffect,
    Status,
    Versions,
)
from tests.contract.conftest import AnyStore

NOW = 1_700_000_000_000


async def test_each_receive_of_a_message_counts_an_attempt(store: AnyStore) -> None:
    assert await store.find_message("m") is None
    assert await store.start_message("m", NOW, b"d") == MessageStatus(
        Status.STARTED, 1, NOW, b"d", None
    )
    assert await store.start_message("m", NOW + 1) == MessageStatus(
        Status.STARTED, 2, NOW + 1, b"d", None
    )
    assert await store.find_message("m") == MessageStatus(Status.STARTED, 2, NOW + 1, b"d", None)


async def test_a_completed_message_stays_completed_and_its_receives_still_count(
    store: AnyStore,
) -> None:
    await store.start_message("m", NOW)
    assert await store.complete_message("m", NOW + 1)
    assert await store.complete_message("m", NOW + 2)
    assert not await store.fail_message("m", "late", NOW + 3)
    assert await store.start_message("m", NOW + 4) == MessageStatus(
        Status.COMPLETED, 2, NOW + 4, None, None
    )


async def test_a_failed_message_keeps_its_reason_until_it_is_completed(store: AnyStore) -> None:
    await store.start_message("m", NOW)
    assert await store.fail_message("m", "CardDeclined: \0no", NOW + 1)
    failed = await store.find_message("m")
    assert failed is not None
    assert (failed.status, failed.attempts, failed.last_updated_ms) == (Status.FAILED, 1, NOW + 1)
    assert (failed.error_reason or "").startswith("CardDeclined: ")
    again = await store.start_message("m", NOW + 2)
    assert (again.status, again.error_reason) == (Status.STARTED, failed.error_reason)
    await store.complete_message("m", NOW + 3)
    assert await store.find_message("m") == MessageStatus(Status.COMPLETED, 2, NOW + 3, None, None)


async def test_a_message_that_comes_with_another_payload_is_an_error_and_changes_nothing(
    store: AnyStore,
) -> None:
    started = await store.start_message("m", NOW, b"one")
    with pytest.raises(PayloadDiffers, match="'m'"):
        await store.start_message("m", NOW + 1, b"two")
    assert await store.find_message("m") == started


async def test_nobody_completes_or_fails_a_message_that_was_never_started(store: AnyStore) -> None:
    assert not await store.complete_message("m", NOW)
    assert not await store.fail_message("m", "reason", NOW)
    assert await store.find_message("m") is None


async def test_receives_at_the_same_time_are_all_counted(store: AnyStore) -> None:
    started = await asyncio.gather(*(store.start_message("m", NOW) for _ in range(20)))
    assert sorted(each.attempts for each in started) == list(range(1, 21))


async def test_an_effect_is_recorded_by_the_first_and_read_by_all(store: AnyStore) -> None:
    first = SideEffect(NOW, b"d", "message 1", b"charge 7")
    assert await store.find_effect("order 7") is None
    assert await store.record_effect("order 7", first)
    assert not await store.record_effect("order 7", SideEffect(NOW + 1, b"d", "message 2", b"x"))
    assert await store.find_effect("order 7") == first
    assert await store.record_effect("order 8", first)


async def test_an_effect_with_another_payload_is_an_error_and_changes_nothing(
    store: AnyStore,
) -> None:
    first = SideEffect(NOW, b"one", "m")
    await store.record_effect("k", first)
    with pytest.raises(PayloadDiffers, match="'k'"):
        await store.record_effect("k", SideEffect(NOW, b"two", "m"))
    assert await store.find_effect("k") == first


async def test_of_many_who_record_at_once_one_does(store: AnyStore) -> None:
    recorded = await asyncio.gather(
        *(store.record_effect("k", SideEffect(NOW, None, f"m{number}")) for number in range(20))
    )
    assert recorded.count(True) == 1


async def test_only_a_newer_version_is_begun(store: AnyStore) -> None:
    assert await store.newest_version("acct-1") is None
    assert await store.begin_version("acct-1", 5, NOW)
    assert await store.newest_version("acct-1") is None
    assert await store.finish_version("acct-1", 5, NOW)
    assert await store.newest_version("acct-1") == 5
    for version in (5, 4, -(2**63)):
        assert not await store.begin_version("acct-1", version, NOW)
    assert await store.begin_version("acct-1", 2**63 - 1, NOW)
    assert await store.begin_version("acct-2", 4, NOW)


async def test_a_version_that_was_begun_and_not_finished_may_be_begun_again_but_no_older_one(
    store: AnyStore,
) -> None:
    assert await store.begin_version("acct-1", 3, NOW)
    assert await store.finish_version("acct-1", 3, NOW)
    assert await store.begin_version("acct-1", 5, NOW)
    assert not await store.begin_version("acct-1", 4, NOW)
    assert await store.newest_version("acct-1") == 3
    assert await store.begin_version("acct-1", 5, NOW)
    assert await store.begin_version("acct-1", 6, NOW)
    assert not await store.finish_version("acct-1", 5, NOW)
    assert await store.finish_version("acct-1", 6, NOW)


@pytest.mark.parametrize("order", list(permutations((1, 2, 3, 4))))
async def test_whatever_the_order_the_newest_version_stays(
    store: AnyStore, order: tuple[int, ...]
) -> None:
    applied = []
    for version in (*order, *order):
        if await store.begin_version("acct-1", version, NOW):
            applied.append(version)
            assert await store.finish_version("acct-1", version, NOW)
    assert applied == sorted(set(applied))
    assert await store.newest_version("acct-1") == 4


async def test_a_purge_takes_each_kind_of_record_when_its_time_has_come(store: AnyStore) -> None:
    for number in range(2):
        at_ms = NOW + number * 1_000
        await store.start_message(f"m{number}", at_ms)
        await store.record_effect(f"e{number}", SideEffect(at_ms, None, "m"))
        await store.begin_version(f"v{number}", 1, at_ms)
        await store.finish_version(f"v{number}", 1, at_ms)
        await store.begin((f"k{number}",), 0, at_ms)
    assert await store.purge(1_000, NOW + 999, 10) == 0
    assert await store.purge(1_000, NOW + 1_000, 3) == 3
    assert await store.purge(1_000, NOW + 1_000, 10) == 1
    left = [
        await store.find_message("m0"),
        await store.find_effect("e0"),
        await store.newest_version("v0"),
        await store.find("k0"),
    ]
    assert left == [None] * 4
    kept = [
        await store.find_message("m1"),
        await store.find_effect("e1"),
        await store.newest_version("v1"),
        await store.find("k1"),
    ]
    assert None not in kept


async def test_of_many_at_once_the_guard_lets_one_do_it_and_gives_all_its_result(
    store: AnyStore,
) -> None:
    guard = Guard(store, wait_ms=30_000)
    performed: list[str] = []

    async def effect(attempt: Attempt) -> bytes:
        await asyncio.sleep(0)
        performed.append(attempt.key)
        return b"r"

    outcomes = await asyncio.gather(
        *(guard.run((f"delivery {number}", "order 7"), effect) for number in range(20))
    )
    assert performed == ["order 7"]
    assert outcomes.count(Performed(b"r")) == 1
    assert outcomes.count(AlreadyDone(b"r")) == 19


async def test_of_many_versions_at_once_those_that_are_applied_rise(store: AnyStore) -> None:
    versions = Versions(store, wait_ms=30_000)
    applied: list[int] = []

    async def take(version: int) -> object:
        async def apply(attempt: Attempt) -> None:
            await asyncio.sleep(0)
            applied.append(version)

        return await versions.apply_if_newer("acct-1", version, apply)

    order = [*range(1, 16), *range(1, 16)]
    random.Random(1).shuffle(order)
    outcomes = await asyncio.gather(*(take(version) for version in order))
    assert applied == sorted(set(applied))
    assert applied[-1] == 15
    assert outcomes.count(Applied()) == len(applied)
    assert await store.newest_version("acct-1") == 15


@pytest.mark.parametrize(
    ("returned", "result"),
    [
        (None, None),
        (b"receipt", b"receipt"),
        ({"receipt": 1}, b'{"receipt":1}'),
        ("receipt", b'"receipt"'),
        # It has happened, so what cannot be stored must not let it happen again.
        (object(), None),
    ],
)
@pytest.mark.parametrize("plain", [False, True])
async def test_whatever_an_effect_returns_it_is_done_once(
    store: AnyStore, returned: object, result: bytes | None, plain: bool
) -> None:
    done = []

    async def effect(attempt: Attempt) -> object:
        done.append(attempt.number)
        return returned

    def plain_effect(attempt: Attempt) -> object:
        done.append(attempt.number)
        return returned

    guard = Guard(store)
    for expected in (Performed(result), AlreadyDone(result)):
        assert await guard.run("key", plain_effect if plain else effect) == expected
    assert done == [1]
