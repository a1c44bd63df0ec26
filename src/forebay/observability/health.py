"""Whether workers do their work: reasons why not, from what they show. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from forebay.observability.view import ProcessState, ProcessView, WorkersView
from forebay.worker.snapshot import QueueSnapshot, WorkerSnapshot

#: How much longer than its wait a receive may take until it counts as a stall, in seconds. One that
#: fails is tried again within this time; one that says nothing any more is not.
GRACE_S = 10.0

#: How long a process may say nothing, in seconds. It reports every second, unless its event loop is
#: held up; heartbeats wait meanwhile, and leases end.
SILENCE_S = 5.0


def reasons(view: WorkersView) -> list[str]:
    """Why the workers are not healthy, in words; nothing when they are.

    Workers that drain are healthy: they do what they were told.
    """
    return [reason for process in view.processes for reason in _of_process(process)]


def warnings(view: WorkersView) -> list[str]:
    """What somebody should look at though the workers are healthy: a restart would not mend it."""
    return [warning for process in view.processes for warning in _warnings_of(process)]


def _warnings_of(process: ProcessView) -> Iterator[str]:
    name, snapshot = f"Process {process.number}", process.snapshot
    if snapshot is None:
        return
    if snapshot.loop_blocked_s:
        yield (
            f"{name}: the event loop was held up for {snapshot.loop_blocked_s:.1f} s lately. Make"
            " the handler that blocks a plain function, or let it await."
        )
    if snapshot.hanging:
        yield f"{name}: {snapshot.hanging} handlers go on though their time is over."
    for permit, reason in snapshot.held_back.items():
        yield f"{name}: {permit} holds back receives: {reason}."
    for queue in snapshot.queues:
        if queue.trouble:
            yield f"{name}: {queue.name}: {queue.trouble}"


def _of_process(process: ProcessView) -> Iterator[str]:
    name = f"Process {process.number}"
    snapshot = process.snapshot
    if process.state is ProcessState.DEAD:
        yield f"{name} has died ({process.died}) and is started again after a pause."
    elif process.state is ProcessState.STARTING:
        yield f"{name} is starting, and looks for its queues."
    elif process.state is ProcessState.STOPPED:
        return
    elif process.heard_ago_s is not None and process.heard_ago_s > SILENCE_S:
        yield (
            f"{name} has said nothing for {process.heard_ago_s:.0f} s: a handler holds up its event"
            " loop, or it is stopped."
        )
    elif process.state is ProcessState.WORKING and snapshot is not None:
        for queue in snapshot.queues:
            stalled = _stall(queue, snapshot, process.up_s)
            if stalled:
                yield f"{name}: {stalled}"


def _stall(queue: QueueSnapshot, snapshot: WorkerSnapshot, up_s: float) -> str | None:
    """Why no receive has come back from a queue though one should have."""
    silent_s = up_s if queue.answered_ago_s is None else queue.answered_ago_s
    if silent_s <= queue.wait_s + GRACE_S:
        return None
    if queue.trouble:
        return f"{queue.name} could not be received from for {silent_s:.0f} s: {queue.trouble}"
    if queue.polls:
        return (
            f"no receive from {queue.name} has been answered for {silent_s:.0f} s, and each waits"
            f" for {queue.wait_s:g} s at most."
        )
    if snapshot.held_back or _is_full(queue, snapshot):
        return None
    return f"nobody has received from {queue.name} for {silent_s:.0f} s."


def _is_full(queue: QueueSnapshot, snapshot: WorkerSnapshot) -> bool:
    """Whether polls wait because everything there is to do is in hand already."""
    full = any(
        buffer.priority == queue.priority and buffer.size >= buffer.capacity
        for buffer in snapshot.buffers
    )
    return full or snapshot.processors.busy >= snapshot.processors.target
