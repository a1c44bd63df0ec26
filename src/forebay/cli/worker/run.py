"""`forebay worker run`: workers in several processes, watched, with one port for all."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from forebay.cli.logs import LogFormat, LogLevel, say_error, set_up_logs
from forebay.cli.worker.process import ProcessSettings, command_of
from forebay.cli.worker.target import Target, WorkerEndpoint, give_endpoint
from forebay.errors import SettingsError
from forebay.observability.cloudwatch import NAMESPACE, CloudWatchPublisher, publishing
from forebay.observability.put_metric_data import BotocoreSender
from forebay.stop_signals import StopRequests, stop_signals
from forebay.supervisor.child import ChildSettings
from forebay.supervisor.endpoint import DEFAULT_PORT, serving
from forebay.supervisor.supervisor import Stopped, Supervisor

_log = logging.getLogger(__name__)

#: Most processes of one machine.
_PROCESSES_MAX = 512


def run(
    target: Target,
    processes: Annotated[
        int,
        typer.Option("--processes", "-p", min=1, max=_PROCESSES_MAX, help="How many processes."),
    ] = 1,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Serve this one of the worker's queues and no other. Can be given again.",
        ),
    ] = None,
    drain_timeout: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long a stop lets running messages finish.",
            show_default="the worker's own",
        ),
    ] = None,
    json_logs: Annotated[
        bool, typer.Option("--json-logs", help="A JSON object for each log line.")
    ] = False,
    log_level: Annotated[
        LogLevel, typer.Option(case_sensitive=False, help="What is logged at least.")
    ] = LogLevel.INFO,
    host: Annotated[str, typer.Option(help="Address for health and metrics.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help="Port for health and metrics; 0 takes a free one.",
            show_default=f"{DEFAULT_PORT}, or a free one while that is taken",
        ),
    ] = None,
    endpoint_url: WorkerEndpoint = None,
    cloudwatch: Annotated[
        bool,
        typer.Option("--cloudwatch", help="Publish metrics to Amazon CloudWatch every minute."),
    ] = False,
    cloudwatch_namespace: Annotated[
        str, typer.Option(metavar="NAME", help="The namespace of these metrics.")
    ] = NAMESPACE,
) -> None:
    """Run a worker in one process or several, until Ctrl-C or SIGTERM.

    The worker that the module shop.py of this directory has under the name
    worker, in four processes:

        forebay worker run shop:worker --processes 4

    A process that dies is started again. Ctrl-C and SIGTERM let running
    messages finish; a second one gives them back at once. The exit code is
    0 only if no message was lost, so that none waits for a visibility
    timeout. GET /health, /metrics and /snapshot are on one port for all.
    """
    log_format = LogFormat.JSON if json_logs else LogFormat.TEXT
    set_up_logs(log_format, log_level)
    if endpoint_url is not None:
        give_endpoint(endpoint_url)
    settings = ProcessSettings(
        child=ChildSettings(
            number=0,
            target=target,
            directory=str(Path.cwd()),
            queues=queue or [],
            drain_timeout_s=drain_timeout,
        ),
        log_format=log_format,
        log_level=log_level,
    )
    supervisor = Supervisor(command_of(settings), processes)
    publisher = None
    if cloudwatch:
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
