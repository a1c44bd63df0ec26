"""`forebay produce`: the producer of document 001."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from forebay.cli.connection import Connection, place_of_queue, short_name
from forebay.errors import ForebayError, ServiceUnreachable, SettingsError
from forebay.lab.sender import Payloads, Sent, payloads, send_payloads
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.identifiers import FIFO_SUFFIX
from forebay.protocol.limits import BATCH_ENTRIES_MAX
from forebay.scaled_clock import clock_of
from forebay.stop_signals import INTERRUPTED, stop_signals

#: How many reasons are told for which messages were not sent.
_REASONS_SHOWN = 3


class NotSent(ForebayError):
    """Some messages were not sent."""


def produce(
    n: Annotated[
        int, typer.Option("--n", metavar="N", help="How many messages to send; 0 is without end.")
    ] = 10,
    rate: Annotated[
        float,
        typer.Option(
            min=0, metavar="N", help="Messages a second at most; 0 is as fast as possible."
        ),
    ] = 0.0,
    batch_size: Annotated[
        int,
        typer.Option(min=1, max=BATCH_ENTRIES_MAX, metavar="N", help="Messages in one call."),
    ] = BATCH_ENTRIES_MAX,
    poison_count: Annotated[
        int, typer.Option(metavar="N", help="So many of them are poison, at random places.")
    ] = 0,
    poison_every: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Every Nth is poison: of 3 those at 2, 5, 8, counted from 0. It comes before"
            " --poison-count.",
        ),
    ] = 0,
    queue_url: Annotated[
        str | None,
        typer.Option(envvar="QUEUE_URL", metavar="URL", help="The queue.", show_default=False),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            envvar="AWS_REGION",
            metavar="NAME",
            help="The region, where the queue's URL names none.",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            envvar="AWS_PROFILE", metavar="NAME", help="The profile in ~/.aws whose keys sign."
        ),
    ] = None,
    endpoint_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where SQS is, if it is not where the queue's URL says."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The message group; a FIFO queue needs one."),
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="With the same seed the same messages are sent."),
    ] = None,
) -> None:
    """Send made-up messages, for a consumer to work on.

    Twenty-five of them, five a second, to the queue that .env names:

        forebay produce --n 25 --rate 5

    A burst, and one in which every third is poison:

        forebay produce --n 1000 --rate 0
        forebay produce --n 50 --poison-every 3

    A message is plain JSON, as {"id": "(a UUID)", "work": 417}; poison is
    {"id": "(a UUID)", "poison": true, "work": "POISON"}. What SQS fails for a
    while is tried again. The exit code is 0 only if everything was sent; Ctrl-C
    ends what has no end, and says how much was sent.
    """
    plan = Payloads(n=n, poison_count=poison_count, poison_every=poison_every)
    if not queue_url:
        raise SettingsError(
            "No queue is named. Set QUEUE_URL in the environment or in .env, or give --queue-url."
        )
    if queue_url.endswith(FIFO_SUFFIX) and group is None:
        raise SettingsError("A FIFO queue takes messages of groups only: name one with --group.")
    if profile is not None:
        os.environ["AWS_PROFILE"] = profile
    clock = clock_of(os.environ)
    notes = Console(stderr=True)
    with (
        Connection(place_of_queue(queue_url, region, endpoint_url)) as sqs,
        sqs.queue(queue_url) as url,
        _bar(notes, n) as bar,
    ):

        async def work() -> tuple[Sent, int]:
            stop = _Stop()
            sent = await send_payloads(
                sqs.client,
                url,
                payloads(plan, random.Random(seed)),
                clock=clock,
                rate=rate,
                batch_size=batch_size,
                group=group,
                stop=stop.asked,
                progress=bar,
            )
            return sent, stop.number

        _require_there(sqs, url)
        sent, stopped_by = sqs.run(work())
    typer.echo(f"Sent to {short_name(url)}: {_messages(sent.sent)}.")
    if sent.not_sent:
        reasons = "; ".join(
            f"{_messages(times)}: {reason}"
            for reason, times in sent.reasons.most_common(_REASONS_SHOWN)
        )
        raise NotSent(f"{_messages(sent.not_sent)} could not be sent. {reasons}")
    if stopped_by and n:
        notes.print(f"Stopped before the other {n - sent.sent:,} were sent.")
        raise typer.Exit(INTERRUPTED if stopped_by == signal.SIGINT else 128 + stopped_by)


def _require_there(sqs: Connection, url: str) -> None:
    """Raise at once what would otherwise be tried for long: no SQS, or no such queue."""
    try:
        sqs.attributes(url, "QueueArn")
    except ServiceUnreachable as error:
        raise ServiceUnreachable(
            f"No SQS answers at {sqs.place}. Start a broker with `forebay serve`, or check the"
            " queue's URL."
        ) from error
    except SqsError as error:
        # Whoever may send need not be allowed to ask.
        if error.fault == QUEUE_DOES_NOT_EXIST:
            raise


class _Stop:
    """Hears the signals that ask to stop, in the running loop."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        #: The signal that asked first; 0 when none has.
        self.number = 0
        loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, self._hear, number)

    def _hear(self, number: int) -> None:
        self.number = number
        self.asked.set()
        # A second one acts as it always does.
        loop = asyncio.get_running_loop()
        for each in stop_signals():
            loop.remove_signal_handler(each)


@contextmanager
def _bar(console: Console, n: int) -> Iterator[Callable[[Sent], None]]:
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("sent"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=n or None)
        yield lambda sent: progress.update(task, completed=sent.sent)


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"
