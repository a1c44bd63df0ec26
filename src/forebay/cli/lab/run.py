"""`forebay lab run`: scenarios, one after another, with their verdicts."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

import forebay
from forebay.cli.connection import Aws, Region, choose_place, give_place
from forebay.cli.demo import JsonFile, require_directory
from forebay.cli.lab.description import describe
from forebay.cli.lab.places import Project
from forebay.cli.lab.words import refuse_strange, scenario_names, sorted_words
from forebay.cli.tables import console
from forebay.errors import SettingsError
from forebay.lab.catalogue import chosen, known_with
from forebay.lab.extra import require_extra
from forebay.lab.report.page import lab_page
from forebay.lab.report.record import as_json, lab_record
from forebay.lab.report.text import conclusion, verdict_line, verdict_table, watching
from forebay.lab.runner import TIME_SCALE, Result, RunSettings, planned, run_scenario
from forebay.lab.scenario import PROJECT, Scenario
from forebay.protocol.identifiers import DEFAULT_REGION
from forebay.stop_signals import INTERRUPTED

#: The options of scenarios are among the words; help is shown by the command itself, because it
#: tells of the scenarios that are named.
CONTEXT: dict[str, Any] = {"ignore_unknown_options": True, "help_option_names": []}


def run(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Scenarios, with options of their own.",
            autocompletion=scenario_names,
        ),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="All that take seconds.")] = False,
    slow: Annotated[bool, typer.Option("--slow", help="All that take longer.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            "--endpoint-url",
            metavar="URL",
            help="Run on this SQS, whose queues are there. Without it the lab has its own broker.",
        ),
    ] = None,
    aws: Aws = False,
    region: Region = None,
    project: Project = PROJECT,
    seed: Annotated[
        int, typer.Option(min=0, help="Another seed makes other payloads, orders and moments.")
    ] = 1,
    repeat: Annotated[
        int, typer.Option(min=1, help="Run each so often, with seeds that count up.")
    ] = 1,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="PROTECTION", help="See what breaks without it."),
    ] = None,
    json_file: JsonFile = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            writable=True,
            help="Write a page that shows what happened in each run.",
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY", file_okay=False, help="Keep the data and logs of each run there."
        ),
    ] = None,
    time_scale: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=1000,
            show_default=f"{TIME_SCALE:g} on the lab's own broker, 1 elsewhere",
            help="How much faster time passes at that SQS.",
        ),
    ] = None,
    wants_help: Annotated[
        bool, typer.Option("--help", "-h", help="Show this, and what scenarios have to be set.")
    ] = False,
) -> None:
    """Run scenarios: something goes wrong, and an exact ledger shows whether the claim holds.

    All that take seconds; what one of them claims and what can be set; and that
    one with another number of messages:

        forebay lab run --fast
        forebay lab run crash --help
        forebay lab run crash --count 50

    Producers, consumers and the service outside are processes of their own, which
    are killed for real. The exit code is 0 only when every run passed.
    """
    known = known_with(names or ())
    own_options = [name for parameter in context.command.params for name in parameter.opts]
    words = sorted_words(names or (), known, own_options)
    out = console()
    if wants_help:
        typer.echo(context.get_help())
        for scenario in chosen(words.names) if words.names else ():
            describe(scenario, out)
        return
    scenarios = chosen(words.names, fast=fast or everything, slow=slow or everything)
    refuse_strange(words.options, scenarios, known)
    settings = _settings(
        endpoint,
        aws,
        region,
        time_scale,
        project=project,
        seed=seed,
        without=frozenset(without or ()),
        options=words.options,
        keep=keep,
    )
    runs = planned(scenarios, settings, repeat)
    require_directory("--json", json_file)
    require_directory("--html", html)
    require_extra()
    results: list[Result] = []
    # SIGTERM stops it as Ctrl-C does, also before the loop listens to it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(_run(runs, results, out))
    except (KeyboardInterrupt, asyncio.CancelledError) as stopped:
        out.print("Stopped, and every process of the lab with it.")
        _show(results, out, not_ended=len(runs) - len(results))
        raise typer.Exit(INTERRUPTED) from stopped
    _show(results, out)
    if json_file is not None:
        json_file.write_bytes(as_json(lab_record(results, forebay.__version__)))
    if html is not None:
        html.write_text(lab_page(results), encoding="utf-8")
    if keep is not None:
        out.print(f"The data and logs are in {keep}", soft_wrap=True, markup=False)
    if not all(result.passed for result in results):
        raise typer.Exit(1)


def _settings(
    endpoint: str | None,
    aws: bool,
    region: str | None,
    time_scale: float | None,
    **others: Any,
) -> RunSettings:
    """Where and how it is run. Raises SettingsError for what excludes each other."""
    if endpoint is None and not aws:
        return RunSettings(region=region or DEFAULT_REGION, time_scale=time_scale, **others)
    if aws and time_scale is not None:
        raise SettingsError("--time-scale: time at Amazon SQS passes as it does. Leave it out.")
    place = choose_place(endpoint, aws, region)
    if aws:
        # The .env of `forebay lab up` names another SQS, to the processes of a run as well.
        give_place(place)
    return RunSettings(
        endpoint_url=place.endpoint_url,
        aws=aws,
        region=place.region or DEFAULT_REGION,
        time_scale=time_scale,
        **others,
    )


async def _run(
    runs: Sequence[tuple[type[Scenario], RunSettings]], results: list[Result], out: Console
) -> None:
    """Run them all, and add each result as it comes. SIGTERM stops it as Ctrl-C does."""
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    if runs[0][1].scale != 1:
        took_s = 1 / runs[0][1].scale
        out.print(f"Times are those of the runs, in which a second takes {took_s:.3g} s.")
    for number, (scenario, settings) in enumerate(runs, start=1):
        without = "".join(f", without {name}" for name in sorted(settings.without))
        out.print(
            Text.assemble(
                f"{number} of {len(runs)}  ",
                (scenario.name(), "bold"),
                f", seed {settings.seed}{without}: {scenario.title()}",
            ),
            soft_wrap=not out.is_terminal,
        )
        with watching(out) as audience:
            result = await run_scenario(scenario, settings, audience)
        out.print(verdict_line(result), soft_wrap=not out.is_terminal)
        results.append(result)


def _show(results: Sequence[Result], out: Console, *, not_ended: int = 0) -> None:
    if results:
        out.print(verdict_table(results, out.width))
        out.print(conclusion(results, not_ended=not_ended))
