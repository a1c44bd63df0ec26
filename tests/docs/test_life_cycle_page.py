"""The page about the life cycle is the one that the table draws."""

from __future__ import annotations

from docs.draw_life_cycle import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"
