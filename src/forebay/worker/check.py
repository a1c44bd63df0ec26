"""Mistakes in how a worker, its handlers and its queues are set up, as data. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from msgspec import Struct

from forebay.worker.drain import CONFIRM_MS
from forebay.worker.history import INTERRUPTIONS_MAX
from forebay.worker.queue import Queue
from forebay.worker.queue_facts import QueueFacts
from forebay.worker.route import Route
from forebay.worker.settings import WorkerSettings

#: How long a call of the heartbeat may take that fails, in seconds: the client's timeout.
_CALL_S = 5.0

#: Failures that a message should be allowed where nobody says how many.
_FAILURES = 3


class Severity(StrEnum):
    """What is to be done about a problem."""

    #: Messages will be lost, stuck or handled twice: mend it.
    MISTAKE = "mistake"
    #: It works and may surprise.
    WARNING = "warning"
    #: Nobody here can know whether it is right.
    NOTE = "note"


class Problem(Struct, frozen=True):
    """One thing that is wrong, or may be."""

    severity: Severity
    #: The queue, handler or setting that it is about.
    subject: str
    text: str


class DeadLetterFacts(Struct, frozen=True):
    """What SQS says of a queue's dead-letter queue."""

    name: str
    #: None when the worker may not ask.
    exists: bool | None = None
    retention_s: int | None = None


class CheckedQueue(Struct, frozen=True, kw_only=True):
    """A queue of a worker, with what is known of it."""

    queue: Queue
    #: The handlers that get its messages.
    routes: Sequence[Route] = ()
    #: Whether SQS was asked; the rest is not known otherwise.
    asked: bool = True
    exists: bool = True
    #: None when the worker may not read them, or when there is no such queue.
    facts: QueueFacts | None = None
    retention_s: int | None = None
    dead_letter: DeadLetterFacts | None = None


def problems(queues: Sequence[CheckedQueue], settings: WorkerSettings) -> list[Problem]:
    """Everything that is or may be wrong, mistakes first."""
    found = [
        *(problem for queue in queues for problem in _of_queue(queue, settings)),
        *_of_queues(queues),
        *_of_handlers(queues, settings),
        *_of_settings(settings, any(route.plain for each in queues for route in each.routes)),
    ]
    order = list(Severity)
    return sorted(dict.fromkeys(found), key=lambda problem: order.index(problem.severity))


def _mistake(subject: str, text: str) -> Problem:
    return Problem(Severity.MISTAKE, subject, text)


def _warning(subject: str, text: str) -> Problem:
    return Problem(Severity.WARNING, subject, text)


def _of_queue(checked: CheckedQueue, settings: WorkerSettings) -> Iterator[Problem]:
    name = short(checked.queue)
    if not checked.routes:
        yield _mistake(
            name,
            "no handler takes its messages, so all of them are rejected. Register one, for"
            " example with @router.default.",
        )
    if not checked.asked:
        return
    if not checked.exists:
        yield _mistake(name, "there is no such queue. Create it, or check name and endpoint.")
        return
    facts = checked.facts
    if facts is None:
        yield Problem(
            Severity.NOTE,
            name,
            "its attributes cannot be read, so they are not checked. Grant sqs:GetQueueAttributes.",
        )
        return
    yield from _of_dead_letters(checked, facts)
    yield from _of_times(checked, facts, settings)


def _of_dead_letters(checked: CheckedQueue, facts: QueueFacts) -> Iterator[Problem]:
    queue, name, most = checked.queue, short(checked.queue), facts.max_receive_count
    named = queue.dead_letter_queue or facts.dead_letter_arn
    if named is None:
        yield _mistake(
            name,
            "it has no dead-letter queue: a message that always fails comes back until its"
            " retention ends, and what is rejected has nowhere to go. Give it a RedrivePolicy.",
        )
        return
    dead = checked.dead_letter
    if named == facts.arn or (dead is not None and dead.name == name):
        yield _mistake(
            name,
            "it is its own dead-letter queue, so what is rejected comes back. Name another queue.",
        )
        return
    if dead is not None and dead.exists is False:
        yield _mistake(name, f"its dead-letter queue {dead.name} does not exist. Create it.")
    if (
        dead is not None
        and dead.retention_s is not None
        and checked.retention_s is not None
        and not facts.fifo
        and dead.retention_s <= checked.retention_s
    ):
        yield _warning(
            name,
            f"its dead-letter queue {dead.name} keeps messages for {_time(dead.retention_s)},"
            f" counted from when they were sent to {name}, which keeps them for"
            f" {_time(checked.retention_s)} itself. Let the dead-letter queue keep them longer:"
            " 14 days.",
        )
    if most is None:
        yield _warning(
            name,
            "it has no RedrivePolicy: a message that kills its worker each time comes back until"
            " its retention ends. Give it one.",
        )
        return
    failures = queue.failures_max
    budget = (failures or _FAILURES) + INTERRUPTIONS_MAX
    if failures is not None and most < budget:
        yield _mistake(
            name,
            f"its maxReceiveCount is {most}, and failures_max is {failures}: SQS counts"
            " interruptions by restarts too, and would move messages away before they have failed"
            f" so often. Set maxReceiveCount to {budget} at least.",
        )
    elif failures is None and most < budget:
        yield (_mistake if most == 1 else _warning)(
            name,
            f"its maxReceiveCount is {most}, and each interruption by a restart counts as one."
            f" Set it to {budget}, and failures_max to {_FAILURES}, so that restarts make no dead"
            " letters.",
        )


def _of_times(
    checked: CheckedQueue, facts: QueueFacts, settings: WorkerSettings
) -> Iterator[Problem]:
    name = short(checked.queue)
    visibility_s = visibility_timeout_s(checked.queue, facts, settings)
    if (1 - settings.heartbeat_fraction) * visibility_s < _CALL_S:
        yield _warning(
            name,
            f"its visibility timeout is {visibility_s} s: when one call of the heartbeat is lost,"
            " no time is left for another, and messages are handled twice. Set"
            f" {round(_CALL_S / (1 - settings.heartbeat_fraction))} s at least.",
        )
    if checked.retention_s is not None and checked.retention_s <= visibility_s:
        yield _mistake(
            name,
            f"it keeps messages for {_time(checked.retention_s)}, no longer than its visibility"
            f" timeout of {_time(visibility_s)}: one that fails once is gone. Keep them longer.",
        )
    elif checked.retention_s is not None and checked.retention_s <= settings.backoff_max_s:
        yield _warning(
            name,
            f"it keeps messages for {_time(checked.retention_s)}, and one that fails may stay"
            f" hidden for {settings.backoff_max_s:g} s. Keep them longer, or lower backoff_max_s.",
        )
    for route in checked.routes:
        handler = f"handler {route.handler_name}"
        if route.batch and route.within_ms > visibility_s * 1000 / 2:
            yield _mistake(
                handler,
                f"its batch gathers for {route.within_ms / 1000:g} s, more than half of the"
                f" visibility timeout of {name} ({visibility_s} s). Lower within_ms.",
            )
        if route.batch and facts.fifo:
            yield _warning(
                handler,
                f"it takes batches of {name}, which is FIFO: when one message of a group is not"
                " done, all later ones of the group in the batch go back too, and each spends a"
                " receive.",
            )


def _of_queues(queues: Sequence[CheckedQueue]) -> Iterator[Problem]:
    by_url: dict[str, str] = {}
    for checked in queues:
        if checked.facts is None:
            continue
        other = by_url.setdefault(checked.facts.url, checked.queue.name)
        if other != checked.queue.name:
            yield _mistake(checked.queue.name, f"it is the same queue as {other}. Name it once.")
    served = {short(checked.queue) for checked in queues}
    for checked in queues:
        dead = checked.dead_letter
        if dead is not None and dead.name in served and dead.name != short(checked.queue):
            yield _warning(
                short(checked.queue),
                f"its dead-letter queue {dead.name} is served by the same worker, so"
                " what is rejected is handled again.",
            )


def _of_handlers(queues: Iterable[CheckedQueue], settings: WorkerSettings) -> Iterator[Problem]:
    for checked in queues:
        for route in checked.routes:
            waits_s = settings.drain_timeout_s + (settings.thread_timeout_s if route.plain else 0)
            if route.timeout_s is not None and route.timeout_s > waits_s:
                end = "counts it as lost" if route.plain else "interrupts it"
                yield _warning(
                    f"handler {route.handler_name}",
                    f"it may take {route.timeout_s:g} s, and a stop {end} after {waits_s:g} s."
                    " Raise --drain-timeout, if the process is given that long.",
                )


def _of_settings(settings: WorkerSettings, plain: bool) -> Iterator[Problem]:
    if settings.wait_s == 0:
        yield _warning(
            "wait_s",
            "it is 0, so an empty queue is asked all the time, and SQS looks at a part of its"
            " servers only. Set it to 1 at least; 20 is cheapest.",
        )
    needed_s = drain_s(settings, plain=plain)
    yield Problem(
        Severity.NOTE,
        "drain_timeout_s",
        f"a stop may take {needed_s:g} s. Whether the process is given so long cannot be seen"
        " here: see terminationGracePeriodSeconds (30 by default), stop_grace_period (10) or"
        " TimeoutStopSec (90).",
    )


def drain_s(settings: WorkerSettings, *, plain: bool) -> float:
    """How long a drain takes at most: receives in flight, handlers, confirmations, in seconds.

    `plain` tells whether a handler is a plain function, which is waited for longer.
    """
    threads_s = settings.thread_timeout_s if plain else 0.0
    return settings.wait_s + settings.drain_timeout_s + threads_s + CONFIRM_MS / 1000


def visibility_timeout_s(queue: Queue, facts: QueueFacts, settings: WorkerSettings) -> int:
    """For how long a receive hides the messages of a queue, in seconds."""
    return queue.visibility_timeout_s or settings.visibility_timeout_s or facts.visibility_timeout_s


def short(queue: Queue) -> str:
    """The name of a queue that may be given by its URL."""
    return queue.name.rpartition("/")[2]


def _time(duration_s: float) -> str:
    for unit, size_s in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if duration_s >= 2 * size_s:
            return f"{duration_s / size_s:g} {unit}"
    return f"{duration_s:g} s"
