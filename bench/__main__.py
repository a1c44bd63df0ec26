"""`python -m bench`: run the benchmarks, print their tables and write JSON beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from bench import broker, client, idle_polls, packing, path, spike, usage, worker
from bench.usage_sizes import Sizes

RESULTS = Path(__file__).parent / "results"

#: Wide enough for the tables of the usage benchmark, also in a file.
_WIDTH = 150

_SIZES = Sizes()

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def all_of_them(context: typer.Context) -> None:
    """Run the named benchmark. Without a name, those of the broker run."""
    if context.invoked_subcommand is None:
        measure_broker()
        measure_idle_polls()


@app.command("broker")
def measure_broker(
    seconds: Annotated[float, typer.Option(help="Length of one measurement, in seconds.")] = 3.0,
    rounds: Annotated[int, typer.Option(help="How often each subject is measured.")] = 3,
) -> None:
    """SendMessage and the life cycle beside a bare HTTP echo and other brokers."""
    console = Console()
    report = broker.run(seconds, rounds, console)
    broker.print_table(report, console)
    _write("broker", report, console)


@app.command("polls")
def measure_idle_polls() -> None:
    """Ten thousand idle long polls."""
    console = Console()
    report = idle_polls.run()
    idle_polls.print_table(report, console)
    _write("polls", report, console)


@app.command("path")
def count_path() -> None:
    """Python calls and processor instructions of one request, without a socket."""
    console = Console()
    report = path.run(console)
    path.print_table(report, console)
    _write("path", report, console)


@app.command("worker")
def measure_workers(
    messages: Annotated[int, typer.Option(help="Backlog of each worker's queue.")] = 20_000,
    rounds: Annotated[int, typer.Option(help="How often each worker is measured.")] = 3,
    seconds: Annotated[
        float, typer.Option(help="Longest measurement, in seconds; slow workers end here.")
    ] = 20.0,
    only: Annotated[str, typer.Option(help="Only workers whose family's name has this.")] = "",
) -> None:
    """No-op handlers of Forebay, Celery, dramatiq-sqs, taskiq-aio-sqs and sqs-consumer."""
    console = Console()
    report = worker.run(messages, rounds, seconds, only, console)
    worker.print_table(report, console)
    _write("worker", report, console)


@app.command("spike")
def measure_spike(
    messages: Annotated[int, typer.Option(help="How many messages the burst has.")] = 20_000,
    work_ms: Annotated[float, typer.Option(help="How long a handler takes.")] = 5.0,
    plot: Annotated[Path | None, typer.Option(help="Draw the run into this HTML file.")] = None,
) -> None:
    """A burst over three priorities: the age of the high class, and the turns of the low one."""
    console = Console()
    report = spike.run(messages, work_ms, console, plot)
    spike.print_table(report, console)
    _write("spike", report, console)


@app.command("usage")
def measure_usage(
    only: Annotated[
        list[str] | None, typer.Option(help=f"Only this part: {', '.join(usage.PARTS)}.")
    ] = None,
    send_seconds: Annotated[
        float, typer.Option(help="Length of each measurement of send.")
    ] = _SIZES.send_seconds,
    burst_per_second: Annotated[
        int, typer.Option(help="Logs a second of the burst.")
    ] = _SIZES.burst_per_second,
    burst_seconds: Annotated[
        float, typer.Option(help="How long the burst lasts.")
    ] = _SIZES.burst_seconds,
    burst_producers: Annotated[
        int, typer.Option(help="From how many processes the burst comes.")
    ] = _SIZES.burst_producers,
    burst_writers: Annotated[
        int, typer.Option(help="How many processes write it.")
    ] = _SIZES.burst_writers,
    burst_buffer: Annotated[
        int, typer.Option(help="Room in the buffer of each of its producers.")
    ] = _SIZES.burst_buffer,
    cost_seconds: Annotated[
        float, typer.Option(help="Length of the runs that are only metered.")
    ] = _SIZES.cost_seconds,
    outage_seconds: Annotated[
        float, typer.Option(help="How long logs are offered around the outage.")
    ] = _SIZES.outage_seconds,
    writer_kills: Annotated[
        int, typer.Option(help="How often a writer is killed.")
    ] = _SIZES.writer_kills,
    broker_kills: Annotated[
        int, typer.Option(help="How often the broker is killed.")
    ] = _SIZES.broker_kills,
    memory_seconds: Annotated[
        float, typer.Option(help="How long the memory is watched.")
    ] = _SIZES.memory_seconds,
    peer_seconds: Annotated[
        float, typer.Option(help="How long each producer offers each load.")
    ] = _SIZES.peer_seconds,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the outage into this .svg or .html file.")
    ] = None,
) -> None:
    """The usage-log pipeline: send, a burst, kills, peers, cost and memory."""
    unknown = set(only or ()) - set(usage.PARTS)
    if unknown:
        raise typer.BadParameter(
            f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(usage.PARTS)}"
        )
    console = Console(width=_WIDTH)
    report = usage.run(
        Sizes(
            send_seconds=send_seconds,
            burst_per_second=burst_per_second,
            burst_seconds=burst_seconds,
            burst_producers=burst_producers,
            burst_writers=burst_writers,
            burst_buffer=burst_buffer,
            cost_seconds=cost_seconds,
            outage_seconds=outage_seconds,
            writer_kills=writer_kills,
            broker_kills=broker_kills,
            memory_seconds=memory_seconds,
            peer_seconds=peer_seconds,
            plot=None if plot is None else str(plot),
        ),
        only or [],
        console,
    )
    usage.print_bars(report, console)
    _write("usage", report, console)
    if report.not_measured:
        raise typer.Exit(1)


@app.command("packing")
def measure_packing() -> None:
    """What zlib and zstd make of packs, and what a record costs in one."""
    console = Console()
    report = packing.run()
    packing.print_table(report, console)
    _write("packing", report, console)


@app.command("client")
def count_client() -> None:
    """What a call costs our client: Python calls, processor instructions and time."""
    console = Console()
    report = client.run(console)
    client.print_table(report, console)
    _write("client", report, console)


def _write(name: str, report: msgspec.Struct, console: Console) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    console.print(f"written to bench/results/{path.name}")


if __name__ == "__main__":
    app()
