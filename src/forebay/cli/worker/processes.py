"""What `forebay worker run` and its like do: processes under a supervisor, until a signal."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from forebay.cli.logs import LogFormat, LogLevel, say_error, set_up_logs
from forebay.cli.worker.process import ProcessSettings, command_of
from forebay.errors import SettingsError
from forebay.observability.cloudwatch import CloudWatchPublisher, publishing
from forebay.observability.put_metric_data import BotocoreSender
from forebay.parameters.address import VARIABLE, open_store
from forebay.parameters.live import POLL_S
from forebay.stop_signals import StopRequests, stop_signals
from forebay.supervisor.child import ChildSettings
from forebay.supervisor.endpoint import DEFAULT_PORT, serving
from forebay.supervisor.supervisor import Stopped, Supervisor
from forebay.tunables import SCHEMA

_log = logging.getLogger(__name__)

#: Most processes of one machine.
_PROCESSES_MAX = 512

Processes = Annotated[
    int,
    typer.Option("--processes", "-p", min=1, max=_PROCESSES_MAX, help="How many processes."),
]
DrainTimeout = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long a stop lets running messages finish.",
        show_default="the worker's own",
    ),
]
JsonLogs = Annotated[bool, typer.Option("--json-logs", help="A JSON object for each log line.")]
LeastLevel = Annotated[
    LogLevel, typer.Option(case_sensitive=False, help="What is logged at least.")
]
Host = Annotated[str, typer.Option(help="Address for health and metrics.")]
Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65_535,
        help="Port for health and metrics; 0 takes a free one.",
        show_default=f"{DEFAULT_PORT}, or a free one while that is taken",
    ),
]
Parameters = Annotated[
    str | None,
    typer.Option(
        "--parameters",
        metavar="URL",
        envvar=VARIABLE,
        help="Follow the parameters there while at work: sqlite:///PATH or"
        " postgresql://USER@HOST/DATABASE.",
        show_default="none are followed",
    ),
]
ParametersPoll = Annotated[
    float,
    typer.Option(
        "--parameters-poll",
        min=0.05,
        max=86_400,
        metavar="SECONDS",
        help="How often they are looked at.",
    ),
]


def set_up(log_level: LogLevel, *, json_logs: bool) -> LogFormat:
    """Begin the log of the process above the workers."""
    log_format = LogFormat.JSON if json_logs else LogFormat.TEXT
    set_up_logs(log_format, log_level)
    return log_format


def give_parameters(url: str) -> None:
    """Let processes that are started from now on follow the parameters there.

    The environment tells them, and no argument, which others could see. Raises SettingsError.
    """
    open_store(url, SCHEMA)
    os.environ[VARIABLE] = url


def run_processes(
    target: str,
    processes: int,
    *,
    log_format: LogFormat,
    log_level: LogLevel,
    host: str,
    port: int | None,
    queues: list[str] | None = None,
    drain_timeout_s: float | None = None,
    parameters: str | None = None,
    parameters_poll_s: float = POLL_S,
    cloudwatch_namespace: str | None = None,
) -> None:
    """Run the worker that `target` names in so many processes, until a signal has stopped them.

    With the URL of a store, each follows its parameters. With a namespace its metrics go to
    CloudWatch. Raises SettingsError when no process could take
    its settings, and typer.Exit when a message was lost or a process ended badly.
    """
    if parameters is not None:
        give_parameters(parameters)
    settings = ProcessSettings(
        child=ChildSettings(
            number=0,
            target=target,
            directory=str(Path.cwd()),
            queues=queues or [],
            drain_timeout_s=drain_timeout_s,
            parameters_poll_s=None if parameters is None else parameters_poll_s,
        ),
        log_format=log_format,
        log_level=log_level,
    )
    supervisor = Supervisor(command_of(settings), processes)
    publisher = None
    if cloudwatch_namespace is not None:
        sender = BotocoreSender()
        publisher = CloudWatchPublisher(
            supervisor.view, sender, region=sender.region, namespace=cloudwatch_namespace
        )
    stopped = asyncio.run(_run(supervisor, publisher, host, port, log_format))
    if stopped.refused is not None:
        raise SettingsError(stopped.refused)
    _log.info("Stopped: %s.", _in_words(stopped))
    if stopped.troubles:
        say_error(" ".join(stopped.troubles))
        raise typer.Exit(1)


async def _run(
    supervisor: Supervisor,
    publisher: CloudWatchPublisher | None,
    host: str,
    port: int | None,
    log_format: LogFormat,
) -> Stopped:
    loop = asyncio.get_running_loop()

    requests = StopRequests()

    def stop(*_: object) -> None:
        # The loop may be over: then everything has stopped.
        with suppress(RuntimeError):
            if requests.heard(loop.time()):
                loop.call_soon_threadsafe(_stop, supervisor)

    # Not the loop's own handlers, which it takes away at its end: a second signal that comes late
    # must not make an end of the last lines and the exit code.
    for number in stop_signals():
        signal.signal(number, stop)
    async with serving(supervisor.view, host, port) as url:
        _announce(url, log_format)
        if publisher is None:
            return await supervisor.run()
        async with publishing(publisher):
            return await supervisor.run()


def _stop(supervisor: Supervisor) -> None:
    again = supervisor.stopping
    supervisor.stop()
    _log.info(
        "Stopping at once: what runs is given back."
        if again
        else "Stopping: running messages finish. A second signal gives them back at once."
    )


def _announce(url: str, log_format: LogFormat) -> None:
    """Say where the port is: to people on standard output, to machines in the log."""
    if log_format is LogFormat.JSON:
        _log.info("Health and metrics are at %s", url, extra={"url": url})
        return
    # Nobody need read it for the workers to work.
    with suppress(OSError):
        typer.echo(f"Health and metrics: {url}/health, {url}/metrics")
        sys.stdout.flush()


def _in_words(stopped: Stopped) -> str:
    ledger = stopped.ledger
    counts = {
        "received": ledger.received,
        "done": ledger.acked,
        "rejected": ledger.rejected,
        "retried": ledger.retried,
        "released": ledger.released,
        "lost": ledger.lost,
    }
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
