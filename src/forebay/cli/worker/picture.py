"""What `forebay worker watch` shows of workers at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from forebay.cli.ages import readable_age
from forebay.observability.health import reasons, warnings
from forebay.observability.recording import Made, Rates, decisions, pooled, rates, summaries
from forebay.observability.view import ProcessState, WorkersView
from forebay.worker.snapshot import PoolSnapshot

_CLASSES = {3: "high", 2: "medium", 1: "low"}

#: Width of a bar, in characters.
_BAR = 20

#: Decisions that are shown.
_DECISIONS_SHOWN = 6


def picture(before: WorkersView | None, view: WorkersView, url: str) -> RenderableType:
    """All of it, for a terminal. `before` is the view of the look before, for the rates."""
    workers = view.snapshots()
    parts: list[RenderableType] = [_processes(view, url), _queues(before, view)]
    if workers:
        parts.append(
            _grid(
                [
                    *_buffers(view),
                    ("pollers", _pool(pooled([worker.pollers for worker in workers]))),
                    ("processors", _pool(pooled([worker.processors for worker in workers]))),
                ]
            )
        )
    latest = sorted(decisions(view), key=lambda made: made.decision.at_ms)[-_DECISIONS_SHOWN:]
    parts += [
        Text(_decision(made), style="dim", no_wrap=True, overflow="ellipsis") for made in latest
    ]
    parts += [Text(trouble, style="yellow") for trouble in warnings(view)]
    parts += [Text(reason, style="red") for reason in reasons(view)]
    return Group(*parts)


def lines(before: WorkersView | None, view: WorkersView, new: Iterable[Made]) -> Iterator[str]:
    """The same as lines for a pipe: one for each queue, and one for each of the new decisions."""
    time = _time(view.at_ms)
    speeds = rates(before, view)
    workers = view.snapshots()
    for queue in summaries(view):
        speed = speeds[queue.name]
        yield (
            f"{time} {queue.name}: {_count(queue.visible)} visible,"
            f" {_count(queue.in_flight)} in flight, {queue.ledger.in_hand:,} in hand,"
            f" oldest {_age(queue.age_s)}, {_rate(speed.done_s) or '?'} done/s,"
            f" {_rate(speed.failed_s) or '?'} failed/s"
        )
    if workers:
        pollers = pooled([worker.pollers for worker in workers])
        processors = pooled([worker.processors for worker in workers])
        yield (
            f"{time} {len(workers)} process{'es' * (len(workers) > 1)}:"
            f" pollers {pollers.busy} of {pollers.target}, processors {processors.busy} of"
            f" {processors.target}"
        )
    yield from map(_decision, new)
    yield from (f"{time} {text}" for text in (*warnings(view), *reasons(view)))


def _processes(view: WorkersView, url: str) -> Text:
    text = Text(f"{url}  ", style="bold", no_wrap=True, overflow="ellipsis")
    for process in view.processes:
        style = "green" if process.state is ProcessState.WORKING else "yellow"
        text.append(f" {process.number} {process.state.value}", style=style)
        if process.deaths:
            text.append(f" (died {process.deaths}×)", style="red")
    return text


def _queues(before: WorkersView | None, view: WorkersView) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("queue", overflow="ellipsis", no_wrap=True)
    table.add_column("class")
    for heading in ("visible", "in hand", "oldest", "polls", "in/s", "done/s", "failed/s", "ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    speeds = rates(before, view)
    for queue in summaries(view):
        speed: Rates = speeds[queue.name]
        table.add_row(
            Text(queue.name),
            _CLASSES.get(queue.priority, ""),
            _count(queue.visible),
            f"{queue.ledger.in_hand:,}",
            _age(queue.age_s),
            str(queue.polls),
            _rate(speed.received_s),
            _rate(speed.done_s),
            _rate(speed.failed_s),
            "" if speed.handling_ms is None else f"{speed.handling_ms:,.0f}",
            style="red" if queue.trouble else None,
        )
    return table


def _buffers(view: WorkersView) -> Iterator[tuple[str, Text]]:
    sizes: dict[int, tuple[int, int]] = {}
    for worker in view.snapshots():
        for buffer in worker.buffers:
            size, capacity = sizes.get(buffer.priority, (0, 0))
            sizes[buffer.priority] = (size + buffer.size, capacity + buffer.capacity)
    for priority, (size, capacity) in sorted(sizes.items(), reverse=True):
        name = _CLASSES.get(priority, str(priority))
        yield f"buffer {name}", _bar(size, capacity, f"{size:,} of {capacity:,}")


def _pool(pool: PoolSnapshot) -> Text:
    said = f"{pool.busy:,} of {pool.target:,} ({pool.least:,} to {pool.most:,})"
    return _bar(pool.busy, pool.most, said, allowed=pool.target)


def _bar(part: int, whole: int, said: str, allowed: int | None = None) -> Text:
    def cells(number: int) -> int:
        return min(_BAR, round(_BAR * number / whole)) if whole else 0

    used = cells(part)
    free = max(0, cells(allowed) - used) if allowed is not None else 0
    text = Text("█" * used, style="cyan")
    text.append("▒" * free, style="cyan")
    text.append("░" * (_BAR - used - free), style="dim")
    text.append(f" {said}", style="default")
    return text


def _grid(rows: list[tuple[str, Text]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, bar in rows:
        grid.add_row(Text(name, style="dim"), bar)
    return grid


def _decision(made: Made) -> str:
    decision = made.decision
    return (
        f"{_time(decision.at_ms)} process {made.process}: {decision.pool} {decision.before} →"
        f" {decision.after}: {decision.reason}"
    )


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%H:%M:%S}"


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:,.0f}" if rate >= 10 or rate == 0 else f"{rate:.1f}"


def _age(age_s: float) -> str:
    return readable_age(age_s) if age_s else "0"
