"""The page of a worker's settings is the one that the code says."""

from __future__ import annotations

from docs.draw_settings import PATH, defaults, page
from forebay import WorkerSettings


def test_the_page_is_up_to_date() -> None:
    assert PATH.read_text() == page(), "run `make docs`"


def test_every_setting_of_a_worker_has_a_default_a_range_and_a_meaning() -> None:
    rows = {
        cells[1].strip(" `"): [cell.strip() for cell in cells[2:5]]
        for line in page().splitlines()
        if len(cells := line.split("|")) > 5
    }
    assert len(rows) > 30
    for name in defaults(WorkerSettings):
        assert all(rows[name]), name
