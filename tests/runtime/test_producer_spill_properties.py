"""Random traffic, outages and restarts: with a spill nothing that was accepted is lost."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.errors import ServiceUnreachable
from forebay.producer import Producer, ProducerSettings, WhenFull
from forebay.protocol.errors import ACCESS_DENIED, SqsError
from tests.runtime.producer_queue import Answer, Sqs, account, after, producer, raises, works
from tests.runtime.virtual_time import run

BUFFER = 60

AWAY = raises(ServiceUnreachable("It is away."))

QUEUES: dict[str, Answer] = {
    "works": works,
    "slow": after(0.4),
    "away": AWAY,
    "black hole": after(3, AWAY),
    "denied": raises(SqsError(ACCESS_DENIED, "Not you.")),
}

STEPS = st.one_of(
    st.tuples(st.just("packed"), st.integers(1, 40)),
    st.tuples(st.just("single"), st.integers(1, 40)),
    st.tuples(st.just("sleep"), st.integers(0, 2_000)),
    st.tuples(st.just("queue"), st.sampled_from(sorted(QUEUES))),
    st.tuples(st.just("restart"), st.sampled_from([0.0, 0.5, 5.0])),
)


@settings(deadline=None, max_examples=40)
@given(
    steps=st.lists(STEPS, max_size=25),
    concurrency=st.integers(1, 4),
    replay_share=st.sampled_from([0.01, 0.25, 1.0]),
)
def test_every_accepted_event_arrives_over_outages_and_restarts(
    steps: list[tuple[str, object]], concurrency: int, replay_share: float
) -> None:
    async def main(directory: Path) -> None:
        sqs = Sqs()
        offered = accepted = 0

        async def started() -> Producer:
            it = producer(
                sqs,
                settings=ProducerSettings(
                    batch_size=4,
                    buffer_size=BUFFER,
                    concurrency=concurrency,
                    replay_share=replay_share,
                    when_full=WhenFull.SPILL,
                ),
                packed=("usage_log",),
                spill=directory,
            )
            await it.start()
            assert it.ledger.offered == offered
            return it

        it = await started()
        for what, value in steps:
            match what, value:
                case "packed" | "single", int():
                    for _ in range(value):
                        kind = "usage_log" if what == "packed" else "order"
                        accepted += it.send(kind, offered)
                        offered += 1
                case "sleep", int():
                    await asyncio.sleep(value / 1000)
                case "queue", str():
                    sqs.script(QUEUES[value])
                case "restart", float():
                    ledger = await it.close(value)
                    assert (ledger.buffered, ledger.failed) == (0, 0)
                    it = await started()
            ledger = it.ledger
            account(ledger)
            assert ledger.offered == offered
            assert ledger.buffered <= BUFFER
            assert sum(ledger.dropped.values()) == offered - accepted
        sqs.script(works)
        for _ in range(600):
            if it.ledger.delivered == accepted:
                break
            await asyncio.sleep(1)
        assert account(it.ledger) == (offered, accepted, offered - accepted, 0, 0)
        assert it.ledger.spilled == it.ledger.corrupt == 0
        assert len(set(sqs.events())) == accepted
        await it.close()

    directory = Path(tempfile.mkdtemp())
    try:
        run(main(directory))
    finally:
        shutil.rmtree(directory)
