"""`forebay serve`: a broker on this machine."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from forebay.broker.access import Access
from forebay.broker.bootstrap import read_declarations
from forebay.broker.faults import read_rates
from forebay.broker.journal.base import Durability
from forebay.broker.keys import load_keys, load_token
from forebay.broker.origins import Origins
from forebay.broker.running import running_broker, tls_context
from forebay.broker.server import HttpServer
from forebay.cli.announcements import Announcements, Served
from forebay.cli.logs import LogFormat, LogLevel, log_what_nobody_catches, set_up_logs
from forebay.cli.server_settings import take_file
from forebay.cli.sizes import size_bytes
from forebay.client.endpoint import REGION_VARIABLES
from forebay.errors import SettingsError
from forebay.fault_injection import SeededFaults
from forebay.protocol.identifiers import DEFAULT_REGION
from forebay.protocol.limits import RECREATE_INTERVAL_MS
from forebay.stop_signals import stop_signals

#: Where the data goes unless the user says otherwise.
DEFAULT_DATA = Path(".forebay")

#: Where the broker listens unless the user says otherwise. 9324 is what local SQS servers use.
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9324

#: New objects after which Python looks for unreachable cycles, and how often it looks at older
#: ones. A broker makes hardly any cycles and holds many objects: a full look at a million messages
#: stops it for half a second, in vain. Python's own are 700, 10 and 10.
_GC_THRESHOLDS = (50_000, 20, 100)

_log = logging.getLogger(__name__)


def _log_early(log_format: LogFormat) -> LogFormat:
    """Log as asked while the other options are still being read."""
    set_up_logs(log_format)
    return log_format


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = DEFAULT_HOST,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = DEFAULT_PORT,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where queues and messages are kept. One broker at a time uses a directory.",
            show_default=str(DEFAULT_DATA),
        ),
    ] = None,
    durability: Annotated[
        Durability,
        typer.Option(
            help="What an answered request survives: a power cut (fsync), a killed broker (os),"
            " or nothing (memory)."
        ),
    ] = Durability.FSYNC,
    disk_reserve: Annotated[
        int | None,
        typer.Option(
            parser=size_bytes,
            metavar="SIZE",
            help="Room on the disk that is kept for receives and deletes, such as 500MB or 1GiB."
            " While less is left, messages are refused. 0 keeps none.",
            show_default="64MiB, or a quarter of a small disk",
        ),
    ] = None,
    memory_limit: Annotated[
        int | None,
        typer.Option(
            parser=size_bytes,
            metavar="SIZE",
            help="Memory that messages and deduplication ids may take. When they do, messages are"
            " refused. 0 sets no bound.",
            show_default="half of the machine's",
        ),
    ] = None,
    allow_anyone: Annotated[
        bool,
        typer.Option(
            "--allow-anyone",
            help="Listen on an address that other machines reach, without --keys. Whoever reaches"
            " it may read and delete every message.",
        ),
    ] = False,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Who may do what: a TOML file of access keys. Every request must be signed.",
        ),
    ] = None,
    metrics_token: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --keys: show /metrics to who sends the token in this file as a bearer token,"
            " as Prometheus does.",
        ),
    ] = None,
    open_metrics: Annotated[
        bool,
        typer.Option("--open-metrics", help="With --keys: show /metrics to everybody."),
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Let the web pages of an origin use the broker, http://localhost:3000 for example;"
            " * lets all pages. Others are refused. Can be given again.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name by which clients reach the broker, beside localhost and IP addresses:"
            " host.docker.internal for example, *.example.test. Can be given again.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Speak HTTPS with this PEM certificate.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificate's PEM key.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            is_eager=True,
            callback=take_file,
            help="A TOML file: its table server has settings, named as the options are, and its"
            " table queues has queues that must be there. What differs is changed, and shown.",
        ),
    ] = None,
    auto_create: Annotated[
        bool,
        typer.Option(
            "--auto-create",
            help="Create a queue that a request names and that is missing; a FIFO queue if the name"
            " ends in .fifo.",
        ),
    ] = False,
    time_scale: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=100_000,
            help="How much faster than a clock the broker's time runs, for tests: with 60, a"
            " visibility timeout of a minute ends after a second.",
        ),
    ] = 1.0,
    region: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            envvar=list(REGION_VARIABLES),
            help="The region of the queues of --config and of requests that name none.",
        ),
    ] = DEFAULT_REGION,
    recreate_wait: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long the name of a deleted queue stays taken. AWS says 60.",
        ),
    ] = RECREATE_INTERVAL_MS / 1000,
    faults: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Misbehave as a TOML file says, to test clients: duplicates, disorder, lost"
            " answers, latency, throttling.",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            is_eager=True,
            callback=_log_early,
            case_sensitive=False,
            help="Log lines for people, or a JSON object a line for all that is said.",
        ),
    ] = LogFormat.TEXT,
    log_level: Annotated[
        LogLevel,
        typer.Option(
            case_sensitive=False,
            help="What is logged at least; debug logs every request, info a line for refused ones.",
        ),
    ] = LogLevel.INFO,
) -> None:
    """Serve SQS on this machine, for every AWS SDK, the AWS CLI and Terraform.

    Point a client at it with its endpoint URL and any credentials:

        aws sqs list-queues --endpoint-url http://127.0.0.1:9324

    Every option can be set by its variable, or in the table server of the
    file that --config names, which is asked last:

        FOREBAY_PORT=9400 forebay serve --config forebay.toml

    Ctrl-C and SIGTERM stop it after the last answer has left; what a script
    starts in the background ignores Ctrl-C.
    """
    if keys is None and not (allow_anyone or _is_loopback(host)):
        raise SettingsError(
            f"Other machines can reach {host}. Give --keys FILE so that requests must be signed,"
            " or say --allow-anyone if whoever reaches it may do anything."
        )
    if (tls_cert is None) != (tls_key is None):
        raise SettingsError("--tls-cert and --tls-key go together. Give both or none.")
    origins = Origins(allow_origin or (), allow_host or ())
    if keys is None and (metrics_token is not None or open_metrics):
        raise SettingsError(
            "--metrics-token and --open-metrics go with --keys; without it /metrics is open."
        )
    if metrics_token is not None and open_metrics:
        raise SettingsError("Give --metrics-token or --open-metrics, not both.")
    access = Access(
        load_keys(keys) if keys is not None else None,
        metrics_token=load_token(metrics_token) if metrics_token is not None else None,
        open_metrics=open_metrics,
    )
    tls = tls_context(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    declared = read_declarations(config) if config is not None else []
    plane = SeededFaults(read_rates(faults)) if faults is not None else None
    if data is None and durability is not Durability.MEMORY:
        data = DEFAULT_DATA
    set_up_logs(log_format, log_level)
    log_what_nobody_catches()
    if origins.allow_every_origin:
        _log.warning(
            "--allow-origin * lets every web page that anybody here opens use the broker"
            " like its own."
        )
    announcements = Announcements(
        Served(data, durability, region, signed=access.has_keys), log_format
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            _serve(
                running_broker(
                    data,
                    durability,
                    host=host,
                    port=port,
                    access=access,
                    origins=origins,
                    tls=tls,
                    faults=plane,
                    time_scale=time_scale,
                    recreate_interval_s=recreate_wait,
                    region=region,
                    auto_create=auto_create,
                    declared=declared,
                    declared_done=announcements.queues,
                    disk_reserve_bytes=disk_reserve,
                    memory_limit_bytes=memory_limit,
                ),
                announcements,
            )
        )


async def _serve(
    running: AbstractAsyncContextManager[HttpServer], announcements: Announcements
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, stop.set)
    async with running as server:
        _tune()
        announcements.serving(server.endpoint_url)
        await stop.wait()
    announcements.stopped()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tune() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
