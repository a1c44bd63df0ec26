"""The files that the consumer's variables name."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.errors import StoreError
from forebay.lab.consumer import read_settings
from forebay.lab.consumer.tables import open_tables


def variables(**given: object) -> dict[str, str]:
    return {"QUEUE_URL": "q", **{name: str(value) for name, value in given.items()}}


async def test_tables_in_one_file_share_it_and_what_is_not_named_is_not_kept(
    tmp_path: Path,
) -> None:
    one = f"sqlite:///{tmp_path}/tables.sqlite3"
    both = read_settings(variables(MESSAGE_STATUS_TABLE=one, MESSAGE_SIDE_EFFECTS_TABLE=one))
    async with open_tables(both) as tables:
        stores: list[object] = [tables.status, tables.effects, tables.keys]
        assert [each is stores[0] for each in stores] == [True, True, True]
        assert (tables.status is None, tables.versions) == (False, None)
    async with open_tables(read_settings(variables(MESSAGE_STATUS_TABLE=one))) as tables:
        stores = [tables.status, tables.keys]
        assert (stores[0] is stores[1], tables.effects) == (True, None)
    async with open_tables(read_settings(variables())) as tables:
        assert (tables.status, tables.effects, tables.keys) == (None, None, None)


async def test_the_state_of_versions_outlives_who_wrote_it(tmp_path: Path) -> None:
    settings = read_settings(
        variables(
            VERSIONING_ENABLED=1,
            VERSION_STATE_PATH=tmp_path / "state",
            VERSION_LOG_PATH=tmp_path / "log",
        )
    )
    async with open_tables(settings) as tables:
        assert tables.versions is not None
        assert await tables.versions.begin_version("acct-1", 3, 0)
        assert await tables.versions.finish_version("acct-1", 3, 0)
    async with open_tables(settings) as tables:
        assert tables.versions is not None
        assert await tables.versions.newest_version("acct-1") == 3


async def test_a_file_that_is_no_database_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"acct-1": 3}' * 100)
    settings = read_settings(
        variables(VERSIONING_ENABLED=1, VERSION_STATE_PATH=path, VERSION_LOG_PATH=tmp_path / "log")
    )
    with pytest.raises(StoreError, match=r"state\.json could not be opened"):
        async with open_tables(settings):
            pass
