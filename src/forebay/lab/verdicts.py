"""The verdicts that scenarios share."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from forebay.apps.verdicts import Verdict
from forebay.lab.events import KILLED, Kind
from forebay.lab.ledger import Ledger

#: How many ids a verdict names.
_NAMED_MAX = 5

#: How many numbers a verdict lists.
_LISTED_MAX = 20

#: The invariants of the verdicts, for protections to name.
BALANCED = "sent = done + visible + in flight + dead-lettered + expired"
COUNTS_AGREE = "the queue's own counts agree"
ALL_SENT = "everything that was to be sent was sent"
NOTHING_LOST = "no message is lost"
DRAINED = "the queue is empty"
EFFECTS_ONCE = "each effect is performed once"
NONE_FAILED = "no process fails by itself"
NO_DEAD_LETTERS = "no message is in the dead-letter queue"
POISON_SET_ASIDE = "the dead-letter queue has the poison and nothing else"


def balanced(ledger: Ledger) -> Iterator[Verdict]:
    """Every message of every queue is in one place, and the queues count the same."""
    for queue in ledger.queues.values():
        reading = ledger.readings[queue.name]
        place = _place(queue.name)
        strange = f"; {named(queue.strange_ids, 'sent by nobody here')}"
        yield Verdict(
            f"{place}{BALANCED}",
            not queue.lost and not queue.strange_ids,
            f"{place}{queue}" + (strange if queue.strange_ids else ""),
        )
        yield Verdict(
            f"{place}{NOTHING_LOST}",
            not queue.lost,
            named(queue.lost_ids, "sent, deleted by nobody, and gone") if queue.lost else "",
        )
        yield Verdict(
            f"{place}{COUNTS_AGREE}",
            reading.total == queue.present,
            f"it counts {reading.total:,} with its dead letters, and there are {queue.present:,}",
        )


def all_sent(ledger: Ledger, wanted: Collection[str]) -> Verdict:
    """SQS has acknowledged each of the messages that were to be sent."""
    missing = set(wanted) - {event.identity for event in ledger.of(Kind.SENT)}
    detail = f"{len(wanted) - len(missing):,} of {len(wanted):,}"
    if missing:
        detail += f"; {named(missing, 'never acknowledged')}"
    return Verdict(ALL_SENT, not missing, detail)


def all_done(ledger: Ledger) -> Iterator[Verdict]:
    """Every message is in one place, and that is: done."""
    yield from balanced(ledger)
    yield drained(ledger)
    yield no_dead_letters(ledger)


def drained(ledger: Ledger, queue: str = "") -> Verdict:
    """Nothing is left in a queue."""
    books = ledger.queue(queue)
    left = books.visible + books.in_flight
    return Verdict(
        f"{_place(queue)}{DRAINED}",
        not left,
        f"{books.visible:,} visible and {books.in_flight:,} in flight",
    )


def no_dead_letters(ledger: Ledger, queue: str = "") -> Verdict:
    """Nothing is in a queue's dead-letter queue."""
    books = ledger.queue(queue)
    return Verdict(
        f"{_place(queue)}{NO_DEAD_LETTERS}", not books.dead, named(books.dead_ids, "dead-lettered")
    )


def effects_once(ledger: Ledger, expected: Collection[str], action: str | None = None) -> Verdict:
    """The service outside performed the effect once on each of the subjects, and on no other."""
    performed = ledger.effects_by_subject(action)
    doubled = {subject for subject, times in performed.items() if times > 1}
    missing = set(expected) - performed.keys()
    strange = performed.keys() - set(expected)
    parts = [
        named(ids, text)
        for ids, text in (
            (doubled, "performed more than once"),
            (missing, "never performed"),
            (strange, "performed and not expected"),
        )
        if ids
    ]
    return Verdict(
        EFFECTS_ONCE,
        not parts,
        f"{performed.total():,} performed for {len(expected):,} expected"
        + "".join(f"; {part}" for part in parts),
    )


def named(ids: Collection[str], text: str) -> str:
    """How many there are, and the first few by name."""
    if not ids:
        return f"0 {text}"
    shown = ", ".join(sorted(ids)[:_NAMED_MAX])
    more = ", …" if len(ids) > _NAMED_MAX else ""
    return f"{len(ids):,} {text}: {shown}{more}"


def poison_set_aside(ledger: Ledger, poison: Collection[str], queue: str = "") -> Verdict:
    """What is in the dead-letter queue is the poison, all of it and nothing else."""
    books = ledger.queue(queue)
    kept = set(poison) - books.dead_ids
    good = books.dead_ids - set(poison)
    parts = [
        named(ids, text)
        for ids, text in (
            (kept, "not in the dead-letter queue"),
            (good, "dead-lettered that were good"),
        )
        if ids
    ]
    return Verdict(
        POISON_SET_ASIDE,
        not parts,
        f"{books.dead:,} dead-lettered of {len(poison):,} poison"
        + "".join(f"; {part}" for part in parts),
    )


def received_as_often_as_allowed(ledger: Ledger, poison: Collection[str], most: int) -> Verdict:
    """Each message that cannot be handled is received so often and no more."""
    receives = ledger.receives()
    wrong = {each for each in poison if receives[each] != most}
    return Verdict(
        f"poison is received {most} times, as its queue allows, and not again",
        not wrong,
        named({f"{each} {receives[each]} times" for each in wrong}, "received otherwise")
        if wrong
        else f"{most * len(poison):,} receives of {len(poison):,} messages",
    )


def ended_well(ledger: Ledger, process: str) -> Verdict:
    """A process ended by itself with exit code 0."""
    code = ledger.exits.get(process)
    return Verdict(f"{process} ends with exit code 0", code == 0, _ended_with(code))


def crashed_at_work(ledger: Ledger, process: str, *, after_effect: bool = False) -> Verdict:
    """A consumer crashed as it was told to, with a message in its hands.

    With `after_effect` the effect of that message had been performed.
    """
    code, crashes = ledger.exits.get(process), ledger.of(Kind.FAULT, process=process)
    when = "after the effect of its message" if after_effect else "with a message in its hands"
    invariant = f"{process} crashes {when}"
    if not code or not crashes:
        return Verdict(invariant, False, f"{_ended_with(code)}, and it was not told to crash")
    crash = crashes[-1]
    performed = {each.subject for each in ledger.effects if each.at_ms <= crash.at_ms}
    if crash.identity not in ledger.in_hand(process, crash.at_ms):
        return Verdict(invariant, False, f"{crash.identity} was not in its hands")
    if after_effect and crash.identity not in performed:
        return Verdict(invariant, False, f"{crash.identity} had no effect yet")
    return Verdict(invariant, True, _ended_with(code))


def none_failed(ledger: Ledger) -> Verdict:
    """No process ended with an error, but for those that were killed or told to crash."""
    excused = {event.process for event in ledger.of(Kind.FAULT)}
    excused |= {event.text.removesuffix(KILLED) for event in ledger.of(Kind.FAULT)}
    ends = ledger.of(Kind.ENDED)
    begun = Counter(event.process for event in ledger.of(Kind.STARTED))
    begun.subtract(event.subject for event in ends)
    failed = {
        f"{event.subject} with {event.value:g}"
        for event in ends
        if event.value
        and event.subject not in excused
        # It was told to stop before it could listen.
        and not (event.value == -signal.SIGTERM and begun[event.subject] < 0)
    }
    return Verdict(NONE_FAILED, not failed, named(failed, "ended with an error"))


def _ended_with(code: int | None) -> str:
    return "it has not ended" if code is None else f"exit code {code}"


def received_at_least(ledger: Ledger, ids: Collection[str], times: int) -> Verdict:
    """SQS handed each of the messages out so often: the fault that was wanted has struck."""
    receives = ledger.receives()
    seldom = {each for each in ids if receives[each] < times}
    return Verdict(
        f"each message is received {'once' if times == 1 else f'{times} times'} at least",
        not seldom,
        named(seldom, "received less often")
        if seldom
        else f"{sum(receives[each] for each in ids):,} receives for {len(ids):,}",
    )


def _place(queue: str) -> str:
    """What a verdict on one of several queues begins with."""
    return f"{queue}: " if queue else ""


def rising(invariant: str, what: str, applied: Sequence[int]) -> Verdict:
    """What was applied one after the other has numbers that only rise."""
    for before, after in pairwise(applied):
        if after <= before:
            return Verdict(invariant, False, f"{what} {after} was applied after {what} {before}")
    shown = ", ".join(map(str, applied[:_LISTED_MAX])) + (", …" if applied[_LISTED_MAX:] else "")
    return Verdict(invariant, True, f"{len(applied):,} applied: {shown}")
