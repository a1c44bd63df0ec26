"""What every store of parameters promises."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise

import pytest

from forebay.errors import SettingsError
from forebay.parameters import BadValue, UnknownParameter, Value
from tests.parameters.conftest import Place

ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_an_empty_store_has_nothing(place: Place) -> None:
    assert await place.store.values() == {}
    assert await place.store.history() == []


async def test_a_value_is_kept_with_who_and_when(place: Place) -> None:
    [change] = await place.store.set({"sqs_flush_ms": "50"}, by="ada", note="a sale")
    values = await place.store.values()
    row = values.pop("sqs_flush_ms")
    assert values == {}
    assert (row.value, row.updated_by) == ("50", "ada")
    assert ISO_8601.fullmatch(row.updated_at)
    assert (change.old, change.new, change.by, change.note) == (None, "50", "ada", "a sale")
    assert ISO_8601.fullmatch(change.at)


async def test_every_change_is_kept_and_the_newest_is_last(place: Place) -> None:
    store = place.store
    await store.set({"sqs_flush_ms": 50}, by="ada", note="one")
    await store.set({"sqs_batch_size": 5, "sqs_flush_ms": 60}, by="bob", note="two")
    await store.set({"sqs_flush_ms": None}, by="cyd")
    found = [(each.name, each.old, each.new, each.by, each.note) for each in await store.history()]
    assert found == [
        ("sqs_flush_ms", None, "50", "ada", "one"),
        ("sqs_batch_size", None, "5", "bob", "two"),
        ("sqs_flush_ms", "50", "60", "bob", "two"),
        ("sqs_flush_ms", "60", None, "cyd", ""),
    ]
    numbers = [each.number for each in await store.history()]
    assert numbers == sorted(set(numbers))
    of_one = await store.history("sqs_batch_size")
    assert [each.new for each in of_one] == ["5"]
    assert [each.by for each in await store.history(limit=2)] == ["bob", "cyd"]
    assert [each.by for each in await store.history(after=numbers[2])] == ["cyd"]
    assert list(await store.values()) == ["sqs_batch_size"]


async def test_what_changes_nothing_is_no_change(place: Place) -> None:
    await place.store.set({"sqs_flush_ms": 50}, by="ada")
    assert await place.store.set({"sqs_flush_ms": "50", "sqs_batch_size": None}, by="bob") == []
    assert len(await place.store.history()) == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sqs_batch_size": 5, "sqs_flush_ms": 0}, "sqs_flush_ms is 0; it must be 1 to 60,000 ms"),
        ({"sqs_batch_size": 5, "sqs_flushms": 9}, "Did you mean sqs_flush_ms?"),
        ({"sqs_batch_size": 5, "sqs_flushms": None}, "Did you mean sqs_flush_ms?"),
        (
            {"sqs_batch_size": 5, "worker_concurrency_min": 100},
            "worker_concurrency_min is 100; it must be at most worker_concurrency, which is 64 by",
        ),
        (
            {"sqs_batch_size": 5, "worker_pollers": 4, "worker_pollers_min": 5},
            "worker_pollers_min is 5; it must be at most worker_pollers, which is 4.",
        ),
    ],
)
async def test_one_bad_value_refuses_all_and_changes_nothing(
    place: Place, values: dict[str, Value | None], said: str
) -> None:
    await place.store.set({"sqs_batch_size": 7}, by="ada")
    with pytest.raises((BadValue, UnknownParameter)) as refused:
        await place.store.set(values, by="bob")
    assert said in f"{refused.value}"
    assert {name: row.value for name, row in (await place.store.values()).items()} == {
        "sqs_batch_size": "7"
    }
    assert len(await place.store.history()) == 1


async def test_rules_hold_with_what_is_stored(place: Place) -> None:
    store = place.store
    await store.set({"worker_concurrency": 200, "worker_concurrency_min": 100}, by="ada")
    for values in ({"worker_concurrency": 99}, {"worker_concurrency_min": 201}):
        with pytest.raises(BadValue, match=r"worker_concurrency_min is .* at most"):
            await store.set(values, by="bob")
    # Without the row there is the default, 64.
    with pytest.raises(BadValue, match="which is 64 by default"):
        await store.set({"worker_concurrency": None}, by="bob")
    await store.set({"worker_concurrency": 50, "worker_concurrency_min": 50}, by="bob")


async def test_what_sql_has_broken_can_be_put_right(place: Place) -> None:
    store = place.store
    await store.set({"worker_concurrency": 10}, by="ada")
    await place.write("worker_concurrency_min", "11")
    await place.write("sqs_flush_ms", "never")
    await place.write("not_ours", "x")
    assert (await store.values())["sqs_flush_ms"].value == "never"
    # What has nothing to do with it is not held up.
    await store.set({"sqs_batch_size": 5}, by="ada")
    [change] = await store.set({"sqs_flush_ms": 70}, by="ada")
    assert (change.old, change.new) == ("never", "70")
    await store.set({"worker_concurrency_min": 9}, by="ada")
    assert (await store.history("worker_concurrency_min"))[-1].old == "11"


async def test_setters_at_the_same_time_lose_no_history(place: Place) -> None:
    await place.store.set({"sqs_flush_ms": 1}, by="ada")
    await asyncio.gather(
        *(place.store.set({"sqs_flush_ms": number}, by=f"{number}") for number in range(2, 30))
    )
    history = await place.store.history("sqs_flush_ms")
    assert sorted(int(each.new or 0) for each in history) == list(range(1, 30))
    for before, after in pairwise(history):
        assert after.old == before.new
    assert (await place.store.values())["sqs_flush_ms"].value == history[-1].new


@pytest.mark.parametrize(
    ("by", "note", "said"),
    [
        ("", "", "by is empty"),
        (" ", "", "by is empty"),
        ("a" * 201, "", "at most 200"),
        ("a\nb", "", "one line"),
        ("ada", "x" * 1_001, "at most 1,000"),
        ("ada", "\0", "one line"),
        ("ada", "\udc80", "one line"),
    ],
)
async def test_who_and_why_are_one_line(place: Place, by: str, note: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        await place.store.set({"sqs_flush_ms": 50}, by=by, note=note)
    assert await place.store.values() == {}


async def test_who_and_why_may_hold_quotes_and_all_of_unicode(place: Place) -> None:
    who, why = "O'Neill; DROP TABLE x", "Größe → %s :name 漢字"
    [change] = await place.store.set({"sqs_flush_ms": 50}, by=who, note=why)
    assert (change.by, change.note) == (who, why)
    assert (await place.store.values())["sqs_flush_ms"].updated_by == who


async def test_the_history_of_an_unknown_parameter_is_refused(place: Place) -> None:
    with pytest.raises(UnknownParameter, match="Did you mean sqs_flush_ms"):
        await place.store.history("sqs_flushms")


@pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
async def test_what_is_written_with_sql_is_in_the_history_too(place: Place) -> None:
    store = place.store
    await store.set({"sqs_flush_ms": 50}, by="ada", note="a sale")
    before = await store.values()
    for statement in (
        "UPDATE application_parameters SET value = '60'",
        # What changes nothing is no change.
        "UPDATE application_parameters SET value = '60'",
        "DELETE FROM application_parameters",
        "INSERT INTO application_parameters (name, value) VALUES ('sqs_batch_size', '5')",
        "INSERT INTO application_parameters (name, value) VALUES ('sqs_batch_size', '6')"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    ):
        await place.execute(statement)
    await store.set({"sqs_batch_size": 7}, by="bob")
    found = [(each.name, each.old, each.new, each.note) for each in await store.history()]
    assert found == [
        ("sqs_flush_ms", None, "50", "a sale"),
        ("sqs_flush_ms", "50", "60", ""),
        ("sqs_flush_ms", "60", None, ""),
        ("sqs_batch_size", None, "5", ""),
        ("sqs_batch_size", "5", "6", ""),
        ("sqs_batch_size", "6", "7", ""),
    ]
    who = "SQL" if place.url.startswith("sqlite") else "postgres"
    assert [each.by for each in await store.history()] == ["ada", *[who] * 4, "bob"]
    assert before["sqs_flush_ms"].updated_by == "ada"
    assert (await store.values())["sqs_batch_size"].updated_by == "bob"
    await place.execute("UPDATE application_parameters SET value = '8'")
    assert (await store.values())["sqs_batch_size"].updated_by == who


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_what_is_replaced_with_sql_is_known(place: Place) -> None:
    await place.store.set({"sqs_flush_ms": 50}, by="ada")
    await place.execute(
        "REPLACE INTO application_parameters (name, value, updated_by)"
        " VALUES ('sqs_flush_ms', '60', 'bob')"
    )
    change = (await place.store.history())[-1]
    assert (change.old, change.new, change.by) == ("50", "60", "bob")
