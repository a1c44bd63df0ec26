"""What the log says of trouble that comes again and again."""

from __future__ import annotations

import pytest

from forebay.broker.journal.trouble import Trouble
from forebay.errors import DiskError, JournalError


class Watch:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def trouble(watch: Watch) -> Trouble:
    return Trouble("It rains.", "The sun shines.", watch)


def test_it_is_told_once_when_it_begins_and_once_when_it_ends(
    trouble: Trouble, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        trouble.met(DiskError("A drop."))
        watch.now_s += 1
    trouble.over()
    trouble.over()
    assert caplog.messages == ["It rains. A drop.", "The sun shines. It lasted 50.0 s."]
    assert not any(record.exc_info for record in caplog.records)


def test_trouble_that_lasts_is_told_once_a_minute(
    trouble: Trouble, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(121):
        trouble.met("A drop.")
        watch.now_s += 1
    assert caplog.messages == [
        "It rains. A drop.",
        "It rains. So it is for 60 s. A drop.",
        "It rains. So it is for 120 s. A drop.",
    ]


def test_trouble_that_comes_and_goes_does_not_fill_the_log(
    trouble: Trouble, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        trouble.met("A drop.")
        watch.now_s += 0.05
        trouble.over()
        watch.now_s += 0.05
    assert len(caplog.messages) <= 2 * (10 / 5) + 2


def test_trouble_that_came_back_too_soon_is_told_when_it_stays(
    trouble: Trouble, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    trouble.met("A drop.")
    trouble.over()
    watch.now_s += 1
    trouble.met("Another.")
    watch.now_s += 5
    trouble.met("Another.")
    trouble.over()
    assert caplog.messages[2:] == ["It rains. Another.", "The sun shines. It lasted 5.0 s."]


def test_an_error_that_is_not_the_disks_keeps_its_traceback(
    trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        trouble.met(JournalError("A row has no place."))
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
