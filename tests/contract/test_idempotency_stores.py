"""One contract, held by every idempotency store."""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.idempotency import (
    Done,
    IdempotencyStore,
    IdempotencyStoreError,
    InProgress,
    MemoryIdempotencyStore,
    SqliteIdempotencyStore,
    Started,
)
from forebay.idempotency.sqlite import (
    IdempotencyStoreTooNew,
    begin_within,
    complete_within,
    create_tables,
)

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

NOW, LEASE = 1_700_000_000_000, 30_000


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[IdempotencyStore]:
    opened: IdempotencyStore
    if request.param == "memory":
        opened = MemoryIdempotencyStore()
    else:
        opened = await SqliteIdempotencyStore.open(tmp_path / "keys.db", durable=False)
    yield opened
    await opened.close()
    await opened.close()


async def started(store: IdempotencyStore, key: str, now_ms: int = NOW) -> int:
    """The token of a key that must be free."""
    beginning = await store.begin(key, LEASE, now_ms)
    assert isinstance(beginning, Started)
    return beginning.token


async def test_a_key_is_begun_once_and_then_done_with_its_result(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    assert await store.begin("k", LEASE, NOW) == InProgress(NOW + LEASE)
    assert await store.complete("k", token, b"ticket 7", NOW + 10)
    assert await store.begin("k", LEASE, NOW + 20) == Done(b"ticket 7")
    assert await store.begin("k", LEASE, NOW + 10**12) == Done(b"ticket 7")


@pytest.mark.parametrize("result", [None, b"", b"\x00\xff", b"x" * 100_000])
async def test_a_result_comes_back_as_it_was(store: IdempotencyStore, result: bytes | None) -> None:
    assert await store.complete("k", await started(store, "k"), result, NOW)
    assert await store.begin("k", LEASE, NOW) == Done(result)


@pytest.mark.parametrize("key", ["", "order:ü#1", "x" * 5_000, "a'; DROP TABLE record; --"])
async def test_any_text_is_a_key(store: IdempotencyStore, key: str) -> None:
    await started(store, key)
    await started(store, key + "!")
    assert await store.begin(key, LEASE, NOW) == InProgress(NOW + LEASE)


@pytest.mark.parametrize(
    ("later_ms", "free"), [(0, False), (LEASE - 1, False), (LEASE, True), (LEASE + 1, True)]
)
async def test_a_lease_is_over_at_exactly_its_end(
    store: IdempotencyStore, later_ms: int, free: bool
) -> None:
    await started(store, "k")
    beginning = await store.begin("k", LEASE, NOW + later_ms)
    assert isinstance(beginning, Started if free else InProgress)


async def test_extending_moves_the_end_and_never_brings_it_forward(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    assert await store.extend("k", token, LEASE, NOW + 10_000)
    assert await store.begin("k", LEASE, NOW) == InProgress(NOW + 10_000 + LEASE)
    assert await store.extend("k", token, 1, NOW)
    assert await store.begin("k", LEASE, NOW) == InProgress(NOW + 10_000 + LEASE)


async def test_abandoning_frees_the_key_at_once(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    assert await store.abandon("k", token)
    assert not await store.abandon("k", token)
    assert await started(store, "k") > token


async def test_whoever_was_taken_over_can_change_nothing_any_more(store: IdempotencyStore) -> None:
    old = await started(store, "k")
    new = await started(store, "k", NOW + LEASE)
    assert new > old
    assert not await store.extend("k", old, LEASE, NOW + LEASE)
    assert not await store.complete("k", old, b"late", NOW + LEASE)
    assert not await store.abandon("k", old)
    assert await store.begin("k", LEASE, NOW + LEASE) == InProgress(NOW + 2 * LEASE)
    assert await store.complete("k", new, b"mine", NOW + LEASE)
    assert await store.begin("k", LEASE, NOW + LEASE) == Done(b"mine")


async def test_the_token_decides_and_not_the_clock(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    long_after = NOW + 100 * LEASE
    assert await store.extend("k", token, LEASE, long_after)
    assert await store.begin("k", LEASE, long_after) == InProgress(long_after + LEASE)
    assert await store.complete("k", token, None, long_after + 100 * LEASE)


async def test_completing_is_final_and_may_be_repeated(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    assert await store.complete("k", token, b"first", NOW)
    assert await store.complete("k", token, b"second", NOW)
    assert not await store.abandon("k", token)
    assert not await store.extend("k", token, LEASE, NOW)
    assert await store.begin("k", LEASE, NOW) == Done(b"first")


async def test_an_unknown_key_has_nobody_s_token(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    assert not await store.complete("other", token, None, NOW)
    assert not await store.extend("other", token, LEASE, NOW)
    assert not await store.abandon("other", token)


async def test_tokens_rise_over_abandoned_and_purged_records(store: IdempotencyStore) -> None:
    tokens = [await started(store, "k")]
    await store.abandon("k", tokens[-1])
    tokens.append(await started(store, "k"))
    await store.purge(0, NOW + LEASE, 10)
    tokens.append(await started(store, "k"))
    await store.complete("k", tokens[-1], None, NOW)
    await store.purge(0, NOW, 10)
    tokens.append(await started(store, "k"))
    tokens.append(await started(store, "k", NOW + LEASE))
    assert tokens == sorted(set(tokens))


async def test_a_purge_forgets_what_ended_long_enough_ago_oldest_first_and_no_more_than_asked(
    store: IdempotencyStore,
) -> None:
    for minute in range(5):
        at_ms = NOW + minute * 60_000
        await store.complete(f"done {minute}", await started(store, f"done {minute}"), None, at_ms)
    await started(store, "lease over", NOW + 60_001 - LEASE)
    await started(store, "lease goes on", NOW + 10**9)
    now_ms, hour_ms = NOW + 3_600_000, 3_600_000
    assert await store.purge(hour_ms, now_ms - 1, 10) == 0
    assert await store.purge(hour_ms, now_ms, 10) == 1
    assert await store.purge(0, now_ms, 2) == 2
    left = [
        key
        for key in ("done 0", "done 1", "lease over", "done 2", "done 3", "done 4", "lease goes on")
        if not isinstance(await store.begin(key, LEASE, NOW), Started)
    ]
    assert left == ["done 2", "done 3", "done 4", "lease goes on"]


async def test_of_many_at_once_one_begins(store: IdempotencyStore) -> None:
    beginnings = await asyncio.gather(*(store.begin("k", LEASE, NOW) for _ in range(50)))
    assert [isinstance(each, Started) for each in beginnings].count(True) == 1
    assert [each == InProgress(NOW + LEASE) for each in beginnings].count(True) == 49


KEYS, TOKENS = st.sampled_from(["a", "b", "c"]), st.sampled_from(["latest", "older", "unknown"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([1, 1_000, LEASE - 1, LEASE, 3 * LEASE])),
        st.tuples(st.just("begin"), KEYS),
        st.tuples(st.sampled_from(["extend", "complete", "abandon"]), KEYS, TOKENS),
        st.tuples(st.just("purge"), st.sampled_from([0, LEASE, 5 * LEASE]), st.integers(1, 3)),
    ),
    max_size=40,
)


async def replay(store: IdempotencyStore, steps: list[tuple[str, ...]]) -> list[object]:
    """Take the steps, and return everything that the store answered."""
    now_ms, answers = NOW, list[object]()
    tokens: dict[str, list[int]] = defaultdict(lambda: [-2, -1])
    for name, *details in steps:
        if name == "wait":
            now_ms += int(details[0])
        elif name == "purge":
            answers.append(await store.purge(int(details[0]), now_ms, int(details[1])))
        elif name == "begin":
            answers.append(await store.begin(details[0], LEASE, now_ms))
            if isinstance(answers[-1], Started):
                tokens[details[0]].append(answers[-1].token)
        else:
            key, whose = details
            token = {"latest": tokens[key][-1], "older": tokens[key][-2], "unknown": 10**9}[whose]
            if name == "extend":
                answers.append(await store.extend(key, token, LEASE, now_ms))
            elif name == "complete":
                answers.append(await store.complete(key, token, str(now_ms).encode(), now_ms))
            else:
                answers.append(await store.abandon(key, token))
    return answers


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_the_steps_every_store_gives_the_same_answers(
    steps: list[tuple[str, ...]],
) -> None:
    async def scenario(path: Path) -> None:
        sqlite = await SqliteIdempotencyStore.open(path, durable=False)
        try:
            assert await replay(MemoryIdempotencyStore(), steps) == await replay(sqlite, steps)
        finally:
            await sqlite.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(scenario(Path(directory) / "keys.db"))


class TestSqlite:
    """What only a store on disk can promise."""

    async def test_everything_is_still_there_after_opening_it_again(self, tmp_path: Path) -> None:
        first = await SqliteIdempotencyStore.open(tmp_path / "keys.db")
        done, leased = await started(first, "done"), await started(first, "leased")
        await first.complete("done", done, b"r", NOW)
        await first.close()
        again = await SqliteIdempotencyStore.open(tmp_path / "keys.db")
        assert await again.begin("done", LEASE, NOW) == Done(b"r")
        assert await again.begin("leased", LEASE, NOW) == InProgress(NOW + LEASE)
        assert await started(again, "new") > leased
        assert await again.complete("leased", leased, None, NOW)
        await again.close()

    async def test_an_effect_in_the_same_database_commits_with_its_mark_or_not_at_all(
        self, tmp_path: Path
    ) -> None:
        connection = apsw.Connection(str(tmp_path / "app.db"))
        create_tables(connection)
        connection.execute("CREATE TABLE ticket (owner TEXT)")
        old = begin_within(connection, "k", LEASE, NOW)
        new = begin_within(connection, "k", LEASE, NOW + LEASE)
        assert isinstance(old, Started)
        assert isinstance(new, Started)
        for token, owner in ((old.token, "taken over"), (new.token, "rightful")):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO ticket VALUES (?)", (owner,))
            mine = complete_within(connection, "k", token, None, NOW + LEASE)
            connection.execute("COMMIT" if mine else "ROLLBACK")
        assert connection.execute("SELECT owner FROM ticket").fetchall() == [("rightful",)]
        connection.close()

    async def test_a_step_that_breaks_in_the_middle_leaves_nothing_behind(
        self, tmp_path: Path
    ) -> None:
        store = await SqliteIdempotencyStore.open(tmp_path / "keys.db")

        def breaks(connection: apsw.Connection) -> None:
            begin_within(connection, "k", LEASE, NOW)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await store._run(breaks)
        await started(store, "k")
        await store.close()

    async def test_a_file_that_cannot_be_a_store_is_named_with_what_to_do(
        self, tmp_path: Path
    ) -> None:
        with pytest.raises(IdempotencyStoreError, match=r"nowhere.*Check that its directory"):
            await SqliteIdempotencyStore.open(tmp_path / "nowhere" / "keys.db")
        text = tmp_path / "text.db"
        text.write_text("not a database, but long enough to look like a header" * 50)
        with pytest.raises(IdempotencyStoreError, match=r"text\.db.*is an SQLite database"):
            await SqliteIdempotencyStore.open(text)

    async def test_a_store_of_a_newer_version_is_left_alone(self, tmp_path: Path) -> None:
        connection = apsw.Connection(str(tmp_path / "keys.db"))
        create_tables(connection)
        connection.execute("UPDATE idempotency_meta SET value = 2 WHERE name = 'format'")
        connection.close()
        with pytest.raises(IdempotencyStoreTooNew, match="Upgrade"):
            await SqliteIdempotencyStore.open(tmp_path / "keys.db")

    async def test_a_store_that_was_closed_says_so(self, tmp_path: Path) -> None:
        store = await SqliteIdempotencyStore.open(tmp_path / "keys.db")
        await store.close()
        with pytest.raises(IdempotencyStoreError, match="was closed"):
            await store.begin("k", LEASE, NOW)

    def test_of_several_processes_one_begins_each_key(self, tmp_path: Path) -> None:
        keys = [f"key {number}" for number in range(60)]
        context = multiprocessing.get_context("spawn")
        line_up = context.Barrier(3)
        results: Queue[dict[str, int]] = context.Queue()
        processes = [
            context.Process(target=_begin_all, args=(tmp_path / "keys.db", keys, line_up, results))
            for _ in range(3)
        ]
        for process in processes:
            process.start()
        begun = [results.get(timeout=60) for _ in processes]
        for process in processes:
            process.join()
        assert sorted(key for mine in begun for key in mine) == sorted(keys)
        tokens = [token for mine in begun for token in mine.values()]
        assert sorted(tokens) == list(range(1, len(keys) + 1))


def _begin_all(
    path: Path,
    keys: list[str],
    line_up: Barrier,
    results: Queue[dict[str, int]],
) -> None:
    """Begin every key, at the same time as the other processes; report the tokens gained."""

    async def begin_all() -> dict[str, int]:
        line_up.wait()
        store = await SqliteIdempotencyStore.open(path, durable=False)
        found = await asyncio.gather(*(store.begin(key, LEASE, NOW) for key in keys))
        await store.close()
        return {
            key: beginning.token
            for key, beginning in zip(keys, found, strict=True)
            if isinstance(beginning, Started)
        }

    results.put(asyncio.run(begin_all()))
