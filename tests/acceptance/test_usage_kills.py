"""Usage that is logged while its writers and the broker are killed is in PostgreSQL, each once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.usage_kills import kill_again_and_again

#: A busy machine starts a process in seconds, and the soak starts hundreds.
pytestmark = pytest.mark.timeout(1800)


async def test_rows_and_counters_are_exact_after_kills(
    tmp_path: Path, postgres: str, pytestconfig: pytest.Config
) -> None:
    """Six kills of writers and one of the broker for every three, or as `--kills` says."""
    kills: int = pytestconfig.getoption("--kills")
    writer_kills = max(6, kills // 3)
    account = await kill_again_and_again(
        tmp_path, postgres, writer_kills=writer_kills, broker_kills=max(2, kills // 15), seed=10
    )
    assert account.is_exact, account
    assert account.writer_kills == writer_kills
    # The kills hit writers at the worst moment, or all of this proved nothing.
    assert account.kills_after_commit >= 1
    assert account.rows > 1_000


async def test_without_the_ids_of_packs_rows_are_doubled(tmp_path: Path, postgres: str) -> None:
    """Or the test above could not fail."""
    account = await kill_again_and_again(
        tmp_path, postgres, writer_kills=2, broker_kills=0, seed=11, forgets_ids=True
    )
    assert account.kills_after_commit >= 1
    assert account.rows > account.delivered
    # Nothing is missing all the same, and the counters count what is there.
    assert account.counted == account.rows
    assert not account.not_delivered
