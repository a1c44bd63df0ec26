"""What a worker knows of a message's failures: too few or too many, but never by surprise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forebay.worker.history import REMEMBERED_MAX, History


@given(
    st.lists(
        st.tuples(st.sampled_from(["failed", "interrupted", "received"]), st.booleans()),
        max_size=40,
    )
)
def test_the_failures_there_were_lie_between_the_two_counts(lives: list[tuple[str, bool]]) -> None:
    """Each receive ends somehow, here or in another worker, which this one cannot know."""
    history, failures = History(), 0
    for receive_count, (end, here) in enumerate(lives, 1):
        failures += end == "failed"
        if here and end == "failed":
            history.of("m").failures += 1
        elif here and end == "interrupted":
            history.of("m").spared += 1
        assert history.of("m").failures <= failures
        assert failures <= history.failures_at_most("m", receive_count) or failures == 0


def test_what_is_done_with_is_forgotten_and_so_is_what_was_seen_longest_ago() -> None:
    history = History()
    history.of("done").failures = 3
    history.forget("done")
    assert history.of("done").failures == 0
    history.of("old").failures = 1
    history.of("kept").failures = 1
    for number in range(REMEMBERED_MAX - 1):
        history.of("kept")
        history.of(str(number))
    assert (history.of("kept").failures, history.of("old").failures) == (1, 0)
