"""`forebay worker check`: what a worker would do, and what is wrong with it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct
from rich.table import Table
from rich.text import Text

from forebay.cli.tables import console, table
from forebay.cli.worker.target import Target, WorkerEndpoint, give_endpoint
from forebay.errors import ServiceUnreachable
from forebay.supervisor.target import opened
from forebay.worker.check import (
    CheckedQueue,
    Problem,
    Severity,
    problems,
    short,
    visibility_timeout_s,
)
from forebay.worker.inspection import declared, inspected
from forebay.worker.limits import Limit
from forebay.worker.route import Route
from forebay.worker.settings import WorkerSettings

_COLOURS = {Severity.MISTAKE: "red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


class _Seen(Struct):
    """What is to be printed of a worker."""

    queues: list[CheckedQueue]
    settings: WorkerSettings


def check(
    target: Target,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask SQS; check what the code says alone.")
    ] = False,
    endpoint_url: WorkerEndpoint = None,
) -> None:
    """Show the queues, handlers and settings of a worker, and what is wrong with them.

    Before a deployment, against the queues that it will serve:

        forebay worker check shop:worker

    No message is received. The exit code is 1 if there are mistakes.
    """
    if endpoint_url is not None:
        give_endpoint(endpoint_url)
    seen = asyncio.run(_look(target, offline))
    out = console()
    found = problems(seen.queues, seen.settings)
    out.print(_queues(seen))
    out.print(_handlers(seen.queues))
    out.print(_settings(seen.settings), markup=False, highlight=False)
    for problem in found:
        # One line each where they are read by programs, however long.
        out.print(_line(problem), soft_wrap=not out.is_terminal)
    mistakes = sum(problem.severity is Severity.MISTAKE for problem in found)
    if mistakes:
        raise typer.Exit(1)
    out.print("No mistakes were found." if not offline else "No mistakes were found offline.")


async def _look(target: str, offline: bool) -> _Seen:
    async with opened(target, Path.cwd()) as worker:
        try:
            queues = declared(worker) if offline else await inspected(worker)
        except ServiceUnreachable as error:
            raise ServiceUnreachable(
                f"{str(error).rstrip('.')}. Name the endpoint with --endpoint-url, or check with"
                " --offline."
            ) from error
        return _Seen(queues, worker.settings)


def _queues(seen: _Seen) -> Table:
    shown = table("queue", "priority", "weight", "visibility", "dead letters", "maxReceiveCount")
    for checked in seen.queues:
        queue, facts = checked.queue, checked.facts
        dead = queue.dead_letter_queue if checked.dead_letter is None else checked.dead_letter.name
        unknown = "" if checked.asked else "not asked"
        most = None if facts is None else facts.max_receive_count
        timeout_s = queue.visibility_timeout_s or seen.settings.visibility_timeout_s
        if facts is not None:
            timeout_s = visibility_timeout_s(queue, facts, seen.settings)
        shown.add_row(
            Text(short(queue)),
            queue.priority.name.lower(),
            f"{queue.weight:g}",
            unknown if timeout_s is None else f"{timeout_s} s",
            Text(dead or unknown or "none"),
            unknown or "none" if most is None else str(most),
        )
    return shown


def _handlers(queues: list[CheckedQueue]) -> Table:
    shown = table("handler", "for", "payload", "form", "timeout", "limits", "queues")
    served: dict[Route, list[str]] = {}
    for checked in queues:
        for route in checked.routes:
            served.setdefault(route, []).append(short(checked.queue))
    for route, names in served.items():
        shown.add_row(
            Text(route.handler_name),
            Text(route.name),
            Text(route.payload_type_name),
            _form(route),
            "" if route.timeout_s is None else f"{route.timeout_s:g} s",
            Text(_guards(route)),
            Text(", ".join(names)),
        )
    return shown


def _form(route: Route) -> str:
    form = "plain" if route.plain else "async"
    if route.batch:
        return f"{form}, batch of {route.batch} within {route.within_ms} ms"
    return form


def _guards(route: Route) -> str:
    guards = [_limit(limit) for limit in route.limits]
    return "; ".join([*guards, "circuit breaker"] if route.breaker is not None else guards)


def _limit(limit: Limit) -> str:
    parts = []
    if limit.running is not None:
        parts.append(f"{limit.running} running")
    if limit.per_s is not None:
        parts.append(f"{limit.per_s:g} per s")
    return ", ".join(parts) + (" by key" if limit.key is not None else "")


def _settings(settings: WorkerSettings) -> str:
    default = WorkerSettings()
    changed = [
        f"{name} is {value:g}" if isinstance(value, float) else f"{name} is {value}"
        for name in settings.__struct_fields__
        if (value := getattr(settings, name)) != getattr(default, name)
    ]
    return f"Settings: {', '.join(changed) or 'all as they are by default'}.\n"


def _line(problem: Problem) -> Text:
    return Text.assemble(
        (f"{problem.severity.value.capitalize()}: ", _COLOURS[problem.severity]),
        f"{problem.subject}: {problem.text}",
    )
