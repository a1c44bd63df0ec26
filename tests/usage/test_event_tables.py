"""Which structs can be tables."""

from __future__ import annotations

import pytest
from msgspec import Struct, defstruct

from forebay.apps.usage.domain import PACKED_TYPES
from forebay.apps.usage.event_table import EVENT_TABLES, EventTable
from forebay.errors import SettingsError


@pytest.mark.parametrize("kind", [list[str], dict[str, int], str | int, bytes, object])
def test_a_field_that_is_no_column_is_named(kind: object) -> None:
    struct = defstruct("Search", [("words", str), ("found", kind)])
    with pytest.raises(SettingsError, match=r"Search\.found is no column: it must be a str"):
        EventTable("search", struct, "searches")


@pytest.mark.parametrize("name", ["at_ms", "record_index", "key", "pack_number", "node"])
def test_a_field_that_is_named_like_a_column_of_every_table_is_refused(name: str) -> None:
    struct = defstruct("Search", [("words", str), (name, str)])
    with pytest.raises(SettingsError, match=f"Search has a field '{name}', which is a column"):
        EventTable("search", struct, "searches")


@pytest.mark.parametrize("counted_by", ["hits", "nothing"])
def test_only_a_text_can_be_counted_by(counted_by: str) -> None:
    class Search(Struct):
        words: str
        hits: int

    with pytest.raises(SettingsError, match=f"Search has no text '{counted_by}' to count by"):
        EventTable("search", Search, "searches", counted_by=counted_by)


def test_the_tables_have_the_fields_of_their_structs() -> None:
    assert [(each.type_name, each.table, each.fields[:2]) for each in EVENT_TABLES] == [
        ("usage_log", "usage_logs", ("api_key_id", "asset")),
        ("analytics_event", "analytics_events", ("event", "path")),
    ]


def test_a_type_with_a_table_is_packed() -> None:
    """Or each of its events is a message of its own, and billed as one."""
    assert [each.type_name for each in EVENT_TABLES] == list(PACKED_TYPES)
