"""The orders that the scenarios of versions send in, which must let something be overtaken."""

from __future__ import annotations

import random

import pytest

from forebay.lab.scenarios.out_of_order import overtaken
from forebay.lab.scenarios.version_order import disordered


@pytest.mark.parametrize("count", [2, 3, 10])
@pytest.mark.parametrize("seed", range(50))
def test_some_version_is_sent_after_a_newer_one(count: int, seed: int) -> None:
    first, rest = disordered(count, random.Random(seed))
    assert sorted(first + rest) == list(range(1, count + 1))
    assert max(first) > min(rest)


@pytest.mark.parametrize(("entities", "versions"), [(1, 2), (1, 8), (6, 8), (3, 2)])
@pytest.mark.parametrize("seed", range(20))
def test_the_newest_of_some_entity_is_sent_before_an_older_one(
    entities: int, versions: int, seed: int
) -> None:
    changes = [
        {"entity": entity, "version": version}
        for entity in range(entities)
        for version in range(1, versions + 1)
    ]
    first, rest = overtaken(changes, random.Random(seed))
    assert sorted(map(repr, first + rest)) == sorted(map(repr, changes))
    newest_sent_first = {each["entity"] for each in first if each["version"] == versions}
    assert newest_sent_first & {each["entity"] for each in rest}


def test_another_seed_gives_another_order() -> None:
    orders = {str(disordered(10, random.Random(seed))) for seed in range(20)}
    assert len(orders) == 20
