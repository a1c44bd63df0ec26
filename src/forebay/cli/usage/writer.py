"""`forebay usage writer`: the writer of usage events, in one process or several."""

from __future__ import annotations

import logging
import os
import signal
from typing import Annotated

import typer

from forebay.apps.usage.queues import find_or_declare_usage_queue
from forebay.apps.usage.settings import (
    BATCH_VARIABLE,
    DATABASE_VARIABLE,
    QUEUE_VARIABLE,
    SECRET_VARIABLE,
    WITHIN_VARIABLE,
    usage_database,
    writer_settings,
)
from forebay.backoff import backoff_s, jitter
from forebay.cli.connection import Aws, Connection, EndpointUrl, Region, choose_place, give_place
from forebay.cli.logs import LogLevel
from forebay.cli.usage.database import Database
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
from forebay.errors import ServiceUnreachable, in_words
from forebay.parameters.live import POLL_S
from forebay.protocol.errors import QUEUE_DELETED_RECENTLY, SqsError

#: What its processes run.
_TARGET = "forebay.apps.usage.writer_worker:writer"

#: Bounds of the pause before SQS is asked again for the queue, in seconds.
_RETRY_BASE_S, _RETRY_MAX_S = 0.5, 5.0

_log = logging.getLogger(__name__)


def writer(
    database: Database = None,
    queue: Annotated[
        str | None,
        typer.Option(
            envvar=QUEUE_VARIABLE,
            metavar="QUEUE",
            help="Name, URL or ARN of the queue.",
            show_default="the usage queue, made if it is not there",
        ),
    ] = None,
    processes: Processes = 1,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Most messages of a batch.", show_default="100"),
    ] = None,
    within_ms: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="MILLISECONDS",
            help="How long a batch is gathered at most.",
            show_default="5000",
        ),
    ] = None,
    drain_timeout: DrainTimeout = None,
    json_logs: JsonLogs = False,
    log_level: LeastLevel = LogLevel.INFO,
    host: Host = "127.0.0.1",
    port: Port = None,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
    parameters: Parameters = None,
    parameters_poll: ParametersPoll = POLL_S,
) -> None:
    """Write what comes through the usage queue into a database, each event once.

    From the broker on this machine (forebay serve) into a file:

        forebay usage writer --database sqlite:///usage.sqlite3

    Its tables are made when they are not there. What does not fit its type
    goes to usage_rejects with the reason, and only what cannot be unpacked
    to the dead-letter queue. While the database is away nothing is received,
    and nothing is lost; SQS that is away is waited for. Ctrl-C and SIGTERM let
    running batches finish.
    GET /health, /metrics and /snapshot are on one port for all processes.
    """
    log_format = set_up(log_level, json_logs=json_logs)
    place = choose_place(endpoint_url, aws, region, queue)
    if database is not None:
        os.environ[DATABASE_VARIABLE] = database
        os.environ.pop(SECRET_VARIABLE, None)
    for variable, value in ((BATCH_VARIABLE, batch), (WITHIN_VARIABLE, within_ms)):
        if value is not None:
            os.environ[variable] = str(value)
    writer_settings()
    usage_database()
    # SIGTERM stops it as Ctrl-C does, also before there are processes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Connection(place) as sqs:
            os.environ[QUEUE_VARIABLE] = _queue_url(sqs, queue)
    except KeyboardInterrupt as stopped:
        _log.info("Stopped before SQS could be asked for the queue.")
        raise typer.Exit from stopped
    give_place(place)
    run_processes(
        _TARGET,
        processes,
        log_format=log_format,
        log_level=log_level,
        host=host,
        port=port,
        drain_timeout_s=drain_timeout,
        parameters=parameters,
        parameters_poll_s=parameters_poll,
    )


def _queue_url(sqs: Connection, queue: str | None) -> str:
    """The URL of the queue, as soon as SQS can be asked for it. Its absence is logged once."""
    attempts = 0
    while True:
        try:
            if queue is None:
                return sqs.run(find_or_declare_usage_queue(sqs.client))
            with sqs.queue(queue) as url:
                return url
        except (ServiceUnreachable, SqsError) as error:
            if isinstance(error, SqsError) and error.fault != QUEUE_DELETED_RECENTLY:
                raise
            attempts += 1
            if attempts == 1:
                _log.error("Looking for the queue fails, will go on trying: %s", in_words(error))
        sqs.sleep(backoff_s(attempts, jitter(os.urandom), base_s=_RETRY_BASE_S, max_s=_RETRY_MAX_S))
