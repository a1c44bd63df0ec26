"""`forebay worker run`: workers in several processes, watched, with one port for all."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay.cli.logs import LogLevel
from forebay.cli.worker.processes import (
    DrainTimeout,
    Host,
    JsonLogs,
    LeastLevel,
    Parameters,
    ParametersPoll,
    Port,
    Processes,
    run_processes,
    set_up,
)
from forebay.cli.worker.target import Target, WorkerEndpoint, give_endpoint
from forebay.observability.cloudwatch import NAMESPACE
from forebay.parameters.live import POLL_S


def run(
    target: Target,
    processes: Processes = 1,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Serve this one of the worker's queues and no other. Can be given again.",
        ),
    ] = None,
    drain_timeout: DrainTimeout = None,
    json_logs: JsonLogs = False,
    log_level: LeastLevel = LogLevel.INFO,
    host: Host = "127.0.0.1",
    port: Port = None,
    endpoint_url: WorkerEndpoint = None,
    parameters: Parameters = None,
    parameters_poll: ParametersPoll = POLL_S,
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
    log_format = set_up(log_level, json_logs=json_logs)
    if endpoint_url is not None:
        give_endpoint(endpoint_url)
    run_processes(
        target,
        processes,
        log_format=log_format,
        log_level=log_level,
        host=host,
        port=port,
        queues=queue,
        drain_timeout_s=drain_timeout,
        parameters=parameters,
        parameters_poll_s=parameters_poll,
        cloudwatch_namespace=cloudwatch_namespace if cloudwatch else None,
    )
