"""The pages about lives are the ones that the tables draw."""

from __future__ import annotations

from typing import Any

import pytest

from docs.draw_life_cycle import LIVES, Life


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.path.name)
def test_the_page_is_up_to_date(life: Life[Any, Any]) -> None:
    assert life.path.read_text() == life.page(), "run `make docs`"
