"""When workers are healthy, and the reasons when they are not."""

from __future__ import annotations

import pytest

from forebay.observability.health import reasons, warnings
from forebay.observability.view import ProcessState, ProcessView
from forebay.worker.snapshot import PoolSnapshot
from tests.runtime.snapshots import buffer, process, queue, view, worker

FULL = PoolSnapshot(target=4, busy=4, least=1, most=8)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (process(), None),
        (process(worker(queue(answered_ago_s=12.0))), None),
        # The silent stall: a receive is out, and nothing comes back.
        (process(worker(queue(answered_ago_s=12.1))), "no receive from orders has been answered"),
        (process(worker(queue(answered_ago_s=None))), "no receive from orders has been answered"),
        (process(worker(queue(answered_ago_s=None)), up_s=5.0), None),
        (process(worker(queue(wait_s=20.0, answered_ago_s=29.0))), None),
        (process(worker(queue(wait_s=20.0, answered_ago_s=31.0))), "each waits for 20 s at most"),
        # Receives that fail: after the same time, with what they failed of.
        (process(worker(queue(trouble="No answer", answered_ago_s=3.0))), None),
        (
            process(worker(queue(trouble="No answer", polls=0, answered_ago_s=40.0))),
            "orders could not be received from for 40 s: No answer",
        ),
        # No receive is out, for a good reason or for none.
        (process(worker(queue(polls=0, answered_ago_s=60.0))), "nobody has received from orders"),
        (process(worker(queue(polls=0, answered_ago_s=60.0), processors=FULL)), None),
        (
            process(worker(queue(polls=0, answered_ago_s=60.0), buffers=[buffer(3, size=8)])),
            None,
        ),
        (
            process(worker(queue(polls=0, answered_ago_s=60.0), buffers=[buffer(1, size=8)])),
            "nobody has received from orders",
        ),
        (process(worker(queue(polls=0, answered_ago_s=60.0), held_back={"pool": "full"})), None),
        # What is over, and what a restart would not mend, is no reason.
        (process(worker(loop_blocked_s=9.0)), None),
        (process(worker(hanging=3)), None),
        (process(heard_ago_s=5.1), "has said nothing for 5 s"),
        (process(state=ProcessState.STARTING), "Process 1 is starting, and"),
        (process(state=ProcessState.DEAD, died="exit code 7"), "has died (exit code 7)"),
        # A drain is no illness, however long its last receive is ago.
        (process(worker(queue(answered_ago_s=99.0)), state=ProcessState.DRAINING), None),
        (process(state=ProcessState.STOPPED, heard_ago_s=99.0), None),
    ],
)
def test_a_reason_is_named(seen: ProcessView, reason: str | None) -> None:
    why = reasons(view(seen))
    assert len(why) == (reason is not None)
    assert reason is None or reason in why[0]


def test_one_sick_process_of_several_is_enough() -> None:
    sick = process(number=2, state=ProcessState.DEAD, died="SIGSEGV")
    (why,) = reasons(view(process(), sick))
    assert why.startswith("Process 2 ")


@pytest.mark.parametrize(
    ("seen", "warning"),
    [
        (process(worker(loop_blocked_s=1.5)), "the event loop was held up for 1.5 s lately."),
        (process(worker(hanging=2)), "2 handlers go on though their time is over."),
        (process(worker(held_back={"pool": "full"})), "pool holds back receives: full."),
        (process(worker(queue(trouble="No answer"))), "orders: No answer"),
    ],
)
def test_what_somebody_should_look_at_is_a_warning(seen: ProcessView, warning: str) -> None:
    assert reasons(view(seen)) == []
    (said,) = warnings(view(seen))
    assert said.startswith(f"Process 1: {warning}")
    assert warnings(view(process())) == []
