"""One contract, held by every idempotency store: its keys."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections import defaultdict
from pathlib import Path

import apsw
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.idempotency import (
    Done,
    IdempotencyStore,
    IdempotencyStoreError,
    IdempotencyStoreTooNew,
    InProgress,
    KeyRecord,
    KeyState,
    MemoryIdempotencyStore,
    PayloadDiffers,
    SqliteIdempotencyStore,
    Started,
)
from forebay.idempotency.postgres import PostgresIdempotencyStore
from forebay.idempotency.sqlite import create_tables
from forebay.sql.numbered import numbered_sql

NOW, LEASE = 1_700_000_000_000, 30_000


async def started(store: IdempotencyStore, key: str, now_ms: int = NOW) -> int:
    """The token of a key that must be free."""
    beginning = await store.begin((key,), LEASE, now_ms)
    assert isinstance(beginning, Started)
    return beginning.token


async def test_a_key_is_begun_once_and_then_done_with_its_result(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    assert await store.begin(("k",), LEASE, NOW) == InProgress(NOW + LEASE)
    assert await store.complete(("k",), token, b"ticket 7", NOW + 10)
    assert await store.begin(("k",), LEASE, NOW + 20) == Done(b"ticket 7")
    assert await store.begin(("k",), LEASE, NOW + 10**12) == Done(b"ticket 7")


@pytest.mark.parametrize("result", [None, b"", b"\x00\xff", b"x" * 100_000])
async def test_a_result_comes_back_as_it_was(store: IdempotencyStore, result: bytes | None) -> None:
    assert await store.complete(("k",), await started(store, "k"), result, NOW)
    assert await store.begin(("k",), LEASE, NOW) == Done(result)


@pytest.mark.parametrize("key", ["", "order:ü#1", "x" * 5_000, "a'; DROP TABLE record; --"])
async def test_any_text_is_a_key(store: IdempotencyStore, key: str) -> None:
    await started(store, key)
    await started(store, key + "!")
    assert await store.begin((key,), LEASE, NOW) == InProgress(NOW + LEASE)


@pytest.mark.parametrize(
    ("later_ms", "free"), [(0, False), (LEASE - 1, False), (LEASE, True), (LEASE + 1, True)]
)
async def test_a_lease_is_over_at_exactly_its_end(
    store: IdempotencyStore, later_ms: int, free: bool
) -> None:
    await started(store, "k")
    beginning = await store.begin(("k",), LEASE, NOW + later_ms)
    assert isinstance(beginning, Started if free else InProgress)


async def test_extending_moves_the_end_and_never_brings_it_forward(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    assert await store.extend(("k",), token, LEASE, NOW + 10_000)
    assert await store.begin(("k",), LEASE, NOW) == InProgress(NOW + 10_000 + LEASE)
    assert await store.extend(("k",), token, 1, NOW)
    assert await store.begin(("k",), LEASE, NOW) == InProgress(NOW + 10_000 + LEASE)


async def test_abandoning_frees_the_key_at_once(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    assert await store.abandon(("k",), token, NOW)
    assert not await store.abandon(("k",), token, NOW)
    assert await started(store, "k") > token


async def test_whoever_was_taken_over_can_change_nothing_any_more(store: IdempotencyStore) -> None:
    old = await started(store, "k")
    new = await started(store, "k", NOW + LEASE)
    assert new > old
    assert not await store.extend(("k",), old, LEASE, NOW + LEASE)
    assert not await store.complete(("k",), old, b"late", NOW + LEASE)
    assert not await store.abandon(("k",), old, NOW)
    assert await store.begin(("k",), LEASE, NOW + LEASE) == InProgress(NOW + 2 * LEASE)
    assert await store.complete(("k",), new, b"mine", NOW + LEASE)
    assert await store.begin(("k",), LEASE, NOW + LEASE) == Done(b"mine")


async def test_the_token_decides_and_not_the_clock(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    long_after = NOW + 100 * LEASE
    assert await store.extend(("k",), token, LEASE, long_after)
    assert await store.begin(("k",), LEASE, long_after) == InProgress(long_after + LEASE)
    assert await store.complete(("k",), token, None, long_after + 100 * LEASE)


async def test_completing_is_final_and_may_be_repeated(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    assert await store.complete(("k",), token, b"first", NOW)
    assert await store.complete(("k",), token, b"second", NOW)
    assert not await store.abandon(("k",), token, NOW)
    assert not await store.extend(("k",), token, LEASE, NOW)
    assert await store.begin(("k",), LEASE, NOW) == Done(b"first")


async def test_an_unknown_key_has_nobody_s_token(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    assert not await store.complete(("other",), token, None, NOW)
    assert not await store.extend(("other",), token, LEASE, NOW)
    assert not await store.abandon(("other",), token, NOW)


async def test_tokens_rise_over_abandoned_and_purged_records(store: IdempotencyStore) -> None:
    tokens = [await started(store, "k")]
    await store.abandon(("k",), tokens[-1], NOW)
    tokens.append(await started(store, "k"))
    await store.purge(0, NOW + LEASE, 10)
    tokens.append(await started(store, "k"))
    await store.complete(("k",), tokens[-1], None, NOW)
    await store.purge(0, NOW, 10)
    tokens.append(await started(store, "k"))
    tokens.append(await started(store, "k", NOW + LEASE))
    assert tokens == sorted(set(tokens))


async def test_a_purge_forgets_what_ended_long_enough_ago_oldest_first_and_no_more_than_asked(
    store: IdempotencyStore,
) -> None:
    for minute in range(5):
        at_ms = NOW + minute * 60_000
        await store.complete(
            (f"done {minute}",), await started(store, f"done {minute}"), None, at_ms
        )
    await started(store, "lease over", NOW + 60_001 - LEASE)
    await started(store, "lease goes on", NOW + 10**9)
    now_ms, hour_ms = NOW + 3_600_000, 3_600_000
    assert await store.purge(hour_ms, now_ms - 1, 10) == 0
    assert await store.purge(hour_ms, now_ms, 10) == 1
    assert await store.purge(0, now_ms, 2) == 2
    left = [
        key
        for key in ("done 0", "done 1", "lease over", "done 2", "done 3", "done 4", "lease goes on")
        if not isinstance(await store.begin((key,), LEASE, NOW), Started)
    ]
    assert left == ["done 2", "done 3", "done 4", "lease goes on"]


async def test_of_many_at_once_one_begins(store: IdempotencyStore) -> None:
    beginnings = await asyncio.gather(*(store.begin(("k",), LEASE, NOW) for _ in range(50)))
    assert [isinstance(each, Started) for each in beginnings].count(True) == 1
    assert [each == InProgress(NOW + LEASE) for each in beginnings].count(True) == 49


@pytest.mark.parametrize(
    "pair", [("x" * 600, "x" * 601), ("a\0b", "a?b"), ("\ud800", "?"), ("", "#")]
)
async def test_names_that_a_database_cannot_keep_as_they_are_stay_apart(
    store: IdempotencyStore, pair: tuple[str, str]
) -> None:
    one, other = pair
    token = await started(store, one)
    assert await store.complete((one,), token, b"one", NOW)
    await started(store, other)
    assert await store.begin((one,), LEASE, NOW) == Done(b"one")
    forged = one[:100] + "#" + hashlib.sha256(one.encode(errors="surrogatepass")).hexdigest()
    await started(store, forged)


async def test_several_keys_are_begun_and_completed_together(store: IdempotencyStore) -> None:
    beginning = await store.begin(("delivery 1", "order 7"), LEASE, NOW)
    assert isinstance(beginning, Started)
    for key in ("delivery 1", "order 7"):
        assert await store.begin((key,), LEASE, NOW) == InProgress(NOW + LEASE)
    assert await store.extend(("delivery 1", "order 7"), beginning.token, LEASE, NOW + 5)
    assert await store.complete(("delivery 1", "order 7"), beginning.token, b"r", NOW)
    for key in ("delivery 1", "order 7"):
        assert await store.begin((key,), LEASE, NOW) == Done(b"r")


@pytest.mark.parametrize("taken", ["a", "b"])
async def test_a_key_that_is_taken_leaves_the_other_one_free(
    store: IdempotencyStore, taken: str
) -> None:
    token = await started(store, taken)
    free = {"a": "b", "b": "a"}[taken]
    assert await store.begin(("a", "b"), LEASE, NOW + 1) == InProgress(NOW + LEASE)
    assert await store.find(free) is None
    assert await store.complete((taken,), token, b"r", NOW)
    assert await store.begin(("a", "b"), LEASE, NOW) == Done(b"r")
    assert await store.find(free) is None
    await started(store, free)


async def test_of_several_keys_the_one_that_is_done_decides(store: IdempotencyStore) -> None:
    await store.complete(("done",), await started(store, "done"), b"r", NOW)
    await started(store, "leased")
    assert await store.begin(("leased", "done"), LEASE, NOW) == Done(b"r")
    assert await store.begin(("done", "leased"), LEASE, NOW) == Done(b"r")


async def test_several_keys_have_one_token_above_all_their_older_ones(
    store: IdempotencyStore,
) -> None:
    for _ in range(3):
        token = await started(store, "b")
        await store.abandon(("b",), token, NOW)
    both = await store.begin(("b", "a"), LEASE, NOW)
    assert isinstance(both, Started)
    assert both.token > token
    assert both.attempts == 4
    await store.abandon(("b", "a"), both.token, NOW)
    assert await started(store, "a") > both.token


async def test_who_holds_one_of_several_keys_no_longer_changes_none(
    store: IdempotencyStore,
) -> None:
    beginning = await store.begin(("a", "b"), LEASE, NOW)
    assert isinstance(beginning, Started)
    newer = await started(store, "b", NOW + LEASE)
    assert not await store.extend(("a", "b"), beginning.token, LEASE, NOW + LEASE)
    assert not await store.complete(("a", "b"), beginning.token, b"late", NOW + LEASE)
    assert not await store.abandon(("a", "b"), beginning.token, NOW + LEASE)
    found = await store.find("a")
    assert found is not None
    assert (found.state, found.ends_at_ms) == (KeyState.STARTED, NOW + LEASE)
    assert await store.complete(("b",), newer, None, NOW + LEASE)


async def test_a_failure_is_kept_with_its_reason_and_may_be_begun_again(
    store: IdempotencyStore,
) -> None:
    token = await started(store, "k")
    assert await store.abandon(("k",), token, NOW + 5, "CardDeclined: no\0 money \ud800")
    record = await store.find("k")
    assert record is not None
    assert record.state is KeyState.FAILED
    assert (record.attempts, record.ends_at_ms) == (1, NOW + 5)
    assert record.error is not None
    assert record.error.startswith("CardDeclined: no")
    assert not await store.complete(("k",), token, None, NOW + 5)
    assert not await store.extend(("k",), token, LEASE, NOW + 5)
    # By the clock of a process that is a little late, too.
    again = await store.begin(("k",), LEASE, NOW)
    assert isinstance(again, Started)
    assert again.attempts == 2
    assert await store.find("k") == KeyRecord(
        KeyState.STARTED, again.token, NOW + LEASE, 2, None, None, None
    )


@pytest.mark.parametrize("error", [None, "E"])
async def test_a_key_that_was_given_back_is_free(
    store: IdempotencyStore, error: str | None
) -> None:
    await store.abandon(("k",), await started(store, "k"), NOW, error)
    record = await store.find("k")
    assert record is not None
    assert (record.state is KeyState.FREE) == (error is None)
    await started(store, "k")


async def test_a_key_is_bound_to_its_first_digest(store: IdempotencyStore) -> None:
    first = await store.begin(("k", "other"), LEASE, NOW, b"a" * 32)
    assert isinstance(first, Started)
    for state in ("leased", "failed", "lease over", "done"):
        if state == "failed":
            await store.abandon(("k", "other"), first.token, NOW, "E")
        elif state == "lease over":
            first = await store.begin(("k", "other"), LEASE, NOW - LEASE, b"a" * 32)
            assert isinstance(first, Started)
        elif state == "done":
            assert await store.complete(("k", "other"), first.token, b"r", NOW)
        before = await store.find("k")
        for keys in (("k",), ("new", "k"), ("k", "new")):
            with pytest.raises(PayloadDiffers, match=r"'k'.*another payload"):
                await store.begin(keys, LEASE, NOW, b"b" * 32)
        assert await store.find("k") == before, state
        assert await store.find("new") is None
    assert await store.begin(("k",), LEASE, NOW, b"a" * 32) == Done(b"r")
    assert await store.begin(("k",), LEASE, NOW) == Done(b"r")


async def test_a_key_without_a_digest_takes_the_first_that_comes(store: IdempotencyStore) -> None:
    token = await started(store, "k")
    await store.abandon(("k",), token, NOW)
    assert isinstance(await store.begin(("k",), LEASE, NOW, b"a"), Started)
    with pytest.raises(PayloadDiffers):
        await store.begin(("k",), LEASE, NOW, b"b")


KEYS, TOKENS = (
    st.sampled_from(["a", "b", "c", "ab", "ca"]),
    st.sampled_from(["latest", "older", "unknown"]),
)
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
    """Take the steps, and return everything that the store answered, with tokens by their rank."""
    now_ms, answers = NOW, list[object]()
    tokens: dict[str, list[int]] = defaultdict(lambda: [-2, -1])
    for name, *details in steps:
        if name == "wait":
            now_ms += int(details[0])
        elif name == "purge":
            answers.append(await store.purge(int(details[0]), now_ms, int(details[1])))
        elif name == "begin":
            beginning = await store.begin(tuple(details[0]), LEASE, now_ms)
            if isinstance(beginning, Started):
                for key in details[0]:
                    assert beginning.token > tokens[key][-1]
                    tokens[key].append(beginning.token)
                answers.append(("started", beginning.attempts))
            else:
                answers.append(beginning)
        else:
            keys, whose = tuple(details[0]), details[1]
            token = {
                "latest": tokens[keys[0]][-1],
                "older": tokens[keys[0]][-2],
                "unknown": 10**9,
            }[whose]
            if name == "extend":
                answers.append(await store.extend(keys, token, LEASE, now_ms))
            elif name == "complete":
                answers.append(await store.complete(keys, token, str(now_ms).encode(), now_ms))
            else:
                answers.append(await store.abandon(keys, token, now_ms, "E"))
    return answers


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_the_steps_every_store_gives_the_same_answers(
    postgres_conninfo: str, steps: list[tuple[str, ...]]
) -> None:
    async def scenario(path: Path) -> None:
        sqlite = await SqliteIdempotencyStore.open(path, durable=False)
        postgres = await PostgresIdempotencyStore.open(postgres_conninfo, connections_max=1)
        try:
            expected = await replay(MemoryIdempotencyStore(), steps)
            assert await replay(sqlite, steps) == expected
            assert await replay(postgres, steps) == expected
        finally:
            await sqlite.close()
            await postgres.close()

    schema = "CREATE SCHEMA IF NOT EXISTS every_store; SET search_path = every_store"
    with psycopg.connect(postgres_conninfo, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS every_store CASCADE")
        connection.execute(schema.encode())
    postgres_conninfo += " options='-c search_path=every_store'"
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(scenario(Path(directory) / "keys.db"))


class TestSqlite:
    """What only a store in a file can promise."""

    async def test_everything_is_still_there_after_opening_it_again(self, tmp_path: Path) -> None:
        first = await SqliteIdempotencyStore.open(tmp_path / "keys.db")
        done, leased = await started(first, "done"), await started(first, "leased")
        await first.complete(("done",), done, b"r", NOW)
        await first.close()
        again = await SqliteIdempotencyStore.open(tmp_path / "keys.db")
        assert await again.begin(("done",), LEASE, NOW) == Done(b"r")
        assert await again.begin(("leased",), LEASE, NOW) == InProgress(NOW + LEASE)
        assert await started(again, "new") > leased
        assert await again.complete(("leased",), leased, None, NOW)
        await again.close()

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
        connection.execute("UPDATE idempotency_meta SET value = 99 WHERE name = 'format'")
        connection.close()
        with pytest.raises(IdempotencyStoreTooNew, match=r"keys\.db is from .*Upgrade"):
            await SqliteIdempotencyStore.open(tmp_path / "keys.db")

    async def test_a_store_of_the_first_version_is_brought_forward_with_all_its_keys(
        self, tmp_path: Path
    ) -> None:
        connection = apsw.Connection(str(tmp_path / "keys.db"))
        connection.execute(
            "CREATE TABLE idempotency_meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL)"
            " STRICT, WITHOUT ROWID"
        )
        connection.execute("INSERT INTO idempotency_meta VALUES ('format', 1), ('last_token', 7)")
        connection.execute(numbered_sql("forebay.idempotency.sqlite")[0][1])
        connection.executemany(
            "INSERT INTO idempotency_record VALUES (?, ?, ?, ?, ?)",
            [("done", 6, NOW, 1, b"r"), ("leased", 7, NOW + LEASE, 0, None)],
        )
        connection.close()
        store = await SqliteIdempotencyStore.open(tmp_path / "keys.db")
        assert await store.begin(("done",), LEASE, NOW) == Done(b"r")
        assert await store.begin(("leased",), LEASE, NOW) == InProgress(NOW + LEASE)
        assert await started(store, "new") == 8
        await store.close()

    async def test_a_store_that_was_closed_says_so(self, tmp_path: Path) -> None:
        store = await SqliteIdempotencyStore.open(tmp_path / "keys.db")
        await store.close()
        with pytest.raises(IdempotencyStoreError, match="was closed"):
            await store.begin(("k",), LEASE, NOW)
