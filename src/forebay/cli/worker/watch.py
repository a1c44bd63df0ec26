"""`forebay worker watch`: workers at work, live, and a plot of it."""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from forebay.cli.worker.picture import lines, picture
from forebay.errors import SettingsError
from forebay.observability.plot import plot_page
from forebay.observability.recording import Recording
from forebay.observability.view import WorkersView

#: Where `forebay worker run` answers unless it says otherwise.
_DEFAULT_URL = "http://127.0.0.1:9325"

#: How long an answer may take, in seconds.
_ANSWER_S = 3.0


def watch(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Where `forebay worker run` has its port.")
    ] = _DEFAULT_URL,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds between two looks.")
    ] = 1.0,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, metavar="S", help="End after so long, not at Ctrl-C."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            writable=True,
            help="At the end, write a page of what was seen over time: depth, age, pollers,"
            " processors, buffers, decisions. It needs no network.",
        ),
    ] = None,
) -> None:
    """Watch workers at work: queues, buffers, pollers, processors, age and decisions.

    Those that `forebay worker run` has started on this machine, and a plot
    of the next minute:

        forebay worker watch --seconds 60 --plot spike.html

    Workers that are away are waited for. In a pipe it prints lines.
    """
    base = base_url(url)
    if plot is not None and not plot.absolute().parent.is_dir():
        raise SettingsError(f"--plot {plot}: that directory does not exist.")
    console = Console()
    recording = Recording()
    looks = _looks(base, every, seconds)
    with suppress(KeyboardInterrupt):
        if console.is_terminal:
            _show(console, base, looks, recording)
        else:
            _print(looks, recording)
    if plot is not None:
        plot.write_text(plot_page(recording, f"Workers at {base}"), encoding="utf-8")
        typer.echo(f"Wrote {plot}, {len(recording.points):,} points.")


def base_url(url: str) -> str:
    """The URL of the port, from what people say it is. Raises SettingsError when it is none."""
    full = url if "://" in url else f"http://{url}"
    parts = urlsplit(full)
    try:
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        known = None
    if not known:
        raise SettingsError(f"{url} is not a URL such as {_DEFAULT_URL}.")
    return f"{parts.scheme}://{parts.netloc}"


def _looks(base: str, every_s: float, lasts_s: float | None) -> Iterator[WorkersView | str]:
    """Views again and again, or in words why there is none."""
    end_s = None if lasts_s is None else time.monotonic() + lasts_s
    while True:
        begun_s = time.monotonic()
        yield _look(base)
        next_s = begun_s + every_s
        if end_s is not None and next_s > end_s:
            return
        time.sleep(max(0.0, next_s - time.monotonic()))


def _look(base: str) -> WorkersView | str:
    try:
        with urllib.request.urlopen(f"{base}/snapshot", timeout=_ANSWER_S) as answer:  # noqa: S310 - http and https alone come here
            return msgspec.json.decode(answer.read(), type=WorkersView)
    except msgspec.DecodeError:
        return f"What answers at {base} is no `forebay worker run`."
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        return f"No workers answer at {base}: {reason}. Waiting for them."


def _show(
    console: Console, base: str, looks: Iterator[WorkersView | str], recording: Recording
) -> None:
    """One picture that changes in its place."""
    shown: RenderableType = Text("Looking …")
    before: WorkersView | None = None
    with Live(shown, console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for seen in looks:
            if isinstance(seen, str):
                live.update(Group(shown, Text(seen, style="red")), refresh=True)
                continue
            recording.add(seen)
            shown = picture(before, seen, base)
            before = seen
            live.update(shown, refresh=True)


def _print(looks: Iterator[WorkersView | str], recording: Recording) -> None:
    """Lines, one below the other."""
    before: WorkersView | None = None
    for seen in looks:
        if isinstance(seen, str):
            typer.echo(seen, err=True)
            continue
        for line in lines(before, seen, recording.add(seen)):
            typer.echo(line)
        sys.stdout.flush()
        before = seen
