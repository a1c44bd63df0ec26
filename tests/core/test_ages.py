"""The oldest message in memory, whatever came and went."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forebay.broker.core.ages import Ages
from forebay.broker.core.message import Message


def message(sequence: int, enqueued_at_ms: int) -> Message:
    return Message(
        sequence=sequence,
        message_id="",
        body="",
        body_md5="",
        enqueued_at_ms=enqueued_at_ms,
        available_at_ms=0,
        sent_at_ms=0,
        sender_id="",
    )


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 50)),
            st.tuples(st.just("remove"), st.integers(0, 200)),
            st.tuples(st.just("return"), st.integers(0, 200)),
        ),
        max_size=400,
    )
)
def test_the_oldest_is_found_whatever_comes_goes_and_comes_back(
    steps: list[tuple[str, int]],
) -> None:
    messages: dict[int, Message] = {}
    evicted: list[Message] = []
    ages = Ages(messages)
    for number, (step, value) in enumerate(steps):
        if step == "add":
            messages[number] = message(number, value)
            ages.add(messages[number])
        elif step == "remove" and messages:
            evicted.append(messages.pop(sorted(messages)[value % len(messages)]))
        elif step == "return" and evicted:
            returning = evicted.pop(value % len(evicted))
            messages[returning.sequence] = returning
            ages.add(returning)
        oldest = ages.oldest()
        expected = min((one.enqueued_at_ms for one in messages.values()), default=None)
        assert (oldest.enqueued_at_ms if oldest is not None else None) == expected


def test_what_is_gone_is_forgotten_behind_one_that_stays() -> None:
    messages = {0: message(0, 0)}
    ages = Ages(messages)
    ages.add(messages[0])
    for sequence in range(1, 10_000):
        messages[sequence] = message(sequence, sequence)
        ages.add(messages[sequence])
        del messages[sequence]
    assert len(ages) < 100
