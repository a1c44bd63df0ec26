"""What happened in a run, as lanes and lines over its own time. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from forebay.lab.events import Event, Kind
from forebay.lab.outside.ledger import PerformedEffect
from forebay.lab.runner import Result
from forebay.observability.chart import Chart, Line, Mark, TimeAxis
from forebay.observability.lanes import Bar, Lane, Row, Tick

#: Colours of ticks and lines, which people with any colour vision tell apart (Okabe and Ito).
_BLUE, _GREEN, _RED, _SKY = "#0072b2", "#009e73", "#d55e00", "#56b4e9"
_PINK, _ORANGE, _BROWN, _GREY = "#cc79a7", "#e69f00", "#8c6d31", "#7a838b"

_EFFECT = "effect"
#: The row of messages that were received before.
_AGAIN = "again"

#: The rows of a lane, by what is in them, in the order of a message's life, and their colours.
_ROWS: dict[str, str] = {
    Kind.SENT: _BLUE,
    Kind.NOT_SENT: _RED,
    Kind.RECEIVED: _GREEN,
    _AGAIN: _RED,
    Kind.EXTENDED: _SKY,
    Kind.RELEASED: _BROWN,
    Kind.APPLIED: _PINK,
    Kind.SKIPPED: _GREY,
    _EFFECT: _ORANGE,
    Kind.DELETED: _GREY,
    Kind.PURGED: _RED,
    Kind.NOTE: _SKY,
}

#: An id that is longer is cut to its beginning in texts that are pointed at.
_ID_SHOWN, _ID_CUT = 13, 8

#: Marks that a timeline shows, at most.
MARKS_MAX = 60

_DEPTHS = {"visible": _BLUE, "in flight": _ORANGE, "dead-lettered": _RED}

#: The lane of effects that were asked for by nobody who has a lane.
_OUTSIDE = "service outside"


class Timeline(Struct, frozen=True):
    """What a page shows of a run."""

    axis: TimeAxis
    lanes: list[Lane]
    marks: list[Mark]
    #: How many there were, of which the first are shown.
    marks_all: int
    depths: list[tuple[Chart, list[int]]]


def timeline(result: Result) -> Timeline:
    """The timeline of a run, from its beginning to the last thing that is known of it."""
    begin_ms = result.began_ms
    times_ms = [event.at_ms for event in result.events] + [each.at_ms for each in result.effects]
    axis = TimeAxis.of([begin_ms, max([*times_ms, begin_ms])], in_seconds=True)
    faults = [event for event in result.events if event.kind is Kind.FAULT]
    marks = [
        Mark(event.at_ms, f"{_at(result, event.at_ms)}: {event.text}")
        for event in faults[:MARKS_MAX]
    ]
    return Timeline(axis, _lanes(result), marks, len(faults), list(_depths(result, marks)))


def _lanes(result: Result) -> list[Lane]:
    """A lane for each process, and for each further queue that it did something with."""
    ticks: dict[tuple[str, str], dict[str, list[Tick]]] = defaultdict(lambda: defaultdict(list))
    main = _main_lanes(result)
    for event in result.events:
        if event.kind in _ROWS:
            lane = (event.process, event.queue) if event.queue else main[event.process]
            row = _AGAIN if event.receives > 1 else event.kind
            text = f"{_at(result, event.at_ms)}: {_words(event)}"
            ticks[lane][row].append(Tick(event.at_ms, _ROWS[row], text))
    for effect in result.effects:
        ticks[main.get(effect.caller, (_OUTSIDE, ""))][_EFFECT].append(
            Tick(effect.at_ms, _ROWS[_EFFECT], f"{_at(result, effect.at_ms)}: {_effect(effect)}")
        )
    lives = _lives(result)
    queues = _queue_names(result)
    several = _several(ticks)
    return [
        Lane(
            f"{process}, {queues.get(queue, queue)}" if process in several else process,
            [
                Row(row, sorted(ticks[process, queue][row], key=lambda tick: tick.at_ms))
                for row in _ROWS
                if ticks[process, queue][row]
            ],
            lives.get(process, []),
        )
        for process, queue in _in_order(ticks, lives, main)
    ]


def _main_lanes(result: Result) -> dict[str, tuple[str, str]]:
    """The lane of each process for what it did with no queue: that of the first queue it used."""
    main: dict[str, tuple[str, str]] = {}
    for event in result.events:
        if not main.get(event.process, ("", ""))[1]:
            main[event.process] = (event.process, event.queue)
    return main


def _in_order(
    ticks: dict[tuple[str, str], dict[str, list[Tick]]],
    lives: dict[str, list[Bar]],
    main: dict[str, tuple[str, str]],
) -> list[tuple[str, str]]:
    """The lanes, by when their processes began; the service outside is the last."""
    idle = {main[process] for process in lives if process not in {name for name, _ in ticks}}

    def first_ms(lane: tuple[str, str]) -> tuple[bool, int, int]:
        begun = [bar.from_ms for bar in lives.get(lane[0], [])]
        did = [tick.at_ms for row in ticks[lane].values() for tick in row] if lane in ticks else []
        return lane[0] == _OUTSIDE, min(begun or did), min(did or begun)

    return sorted([*ticks, *idle], key=first_ms)


def _several(lanes: Iterable[tuple[str, str]]) -> set[str]:
    """The processes with more than one lane."""
    seen: dict[str, set[str]] = defaultdict(set)
    for process, queue in lanes:
        seen[process].add(queue)
    return {process for process, queues in seen.items() if len(queues) > 1}


def _queue_names(result: Result) -> dict[str, str]:
    """What the queues are called on the page, by their names at SQS."""
    names: dict[str, str] = {}
    for reading in result.readings:
        name = f"queue {reading.name}" if reading.name else "main queue"
        names[reading.queue] = name
        if reading.dead_queue is not None:
            names[reading.dead_queue] = f"dead letters of {name}"
    return names


def _lives(result: Result) -> dict[str, list[Bar]]:
    """When each process ran. One that was started again has several bars."""
    lives: dict[str, list[Bar]] = defaultdict(list)
    for event in result.events:
        if event.kind is Kind.STARTED:
            lives[event.process].append(Bar(event.at_ms, None, f"{event.process} runs"))
        elif event.kind is Kind.ENDED and lives[event.subject]:
            begun = lives[event.subject].pop()
            code = int(event.value)
            ended = f"is killed (signal {-code})" if code < 0 else f"ends with exit code {code}"
            text = f"{event.subject} {ended} at {_at(result, event.at_ms)}"
            lives[event.subject].append(Bar(begun.from_ms, event.at_ms, text, bad=code != 0))
    return {process: bars for process, bars in lives.items() if bars}


def _depths(result: Result, marks: Sequence[Mark]) -> Iterator[tuple[Chart, list[int]]]:
    """How many messages each queue had, over time."""
    names = _queue_names(result)
    seen: dict[str, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in result.events:
        if event.kind is Kind.DEPTH:
            seen[event.queue][event.subject].append(event)
    for queue, by_subject in seen.items():
        times_ms = [event.at_ms for event in by_subject["visible"]]
        lines = [
            Line(subject, colour, [event.value for event in by_subject[subject][: len(times_ms)]])
            for subject, colour in _DEPTHS.items()
        ]
        # Of a sample that was cut off by the end of the run there is a part.
        whole = min(len(line.values) for line in lines)
        if not whole:
            continue
        lines = [Line(line.name, line.colour, line.values[:whole]) for line in lines]
        text = "messages in it and in its dead-letter queue; no line where SQS did not answer"
        yield Chart(f"Depth of {names.get(queue, queue)}", text, lines, marks), times_ms[:whole]


def _words(event: Event) -> str:
    """What happened, in words."""
    message = short(event.identity)
    match event.kind:
        case Kind.RECEIVED:
            times = f" for the {_nth(event.receives)} time" if event.receives > 1 else ""
            return f"received {message}{times}"
        case Kind.EXTENDED:
            return f"hid {message} for {event.value:g} s more"
        case Kind.RELEASED:
            return f"made {message} visible"
        case Kind.APPLIED:
            return f"applied {short(event.subject)}, {event.value:g}{_of(message)}"
        case Kind.SKIPPED:
            what = f"{short(event.subject)}, {event.value:g}" if event.subject else ""
            return f"passed over {what or message}{_of(message) if what else ''}{_because(event)}"
        case Kind.NOTE:
            return event.text
        case _:
            return f"{event.kind} {message}{_because(event)}"


def _of(message: str) -> str:
    return f", of {message}" if message else ""


def _because(event: Event) -> str:
    return f": {event.text}" if event.text else ""


def _effect(effect: PerformedEffect) -> str:
    key = f" with key {short(effect.key)}" if effect.key else " without a key"
    caller = f" for {effect.caller}" if effect.caller else ""
    return f"{effect.action} {short(effect.subject)}{caller}{key}"


def _at(result: Result, at_ms: int) -> str:
    return f"{(at_ms - result.began_ms) / 1000:.2f} s"


def _nth(number: int) -> str:
    teens = 10 <= number % 100 <= 20
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def short(name: str) -> str:
    """An id as a text has it that is pointed at."""
    return name if len(name) <= _ID_SHOWN else f"{name[:_ID_CUT]}…"
