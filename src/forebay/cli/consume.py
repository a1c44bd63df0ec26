"""`forebay consume`: the consumer of document 001, which fails in every way that it is told to."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from typing import Annotated, Any

import typer
import uvloop

from forebay.cli.connection import client_at, place_of_queue
from forebay.cli.logs import LogFormat, LogLevel, set_up_logs
from forebay.errors import ForebayError, in_words
from forebay.lab.consumer import PROTECTIONS, VARIABLES, Consumed, Variable, read_settings
from forebay.lab.consumer import consume as run_consumer
from forebay.lab.consumer.consumer import messages_were
from forebay.scaled_clock import clock_of

_log = logging.getLogger(__name__)


def consume(**given: Any) -> None:
    """Consume a queue, and fail on purpose where you say so, to see what comes of it.

    Every option is a variable too, and .env in this directory is read. What
    comes next ends when nothing has come for ten seconds:

        export QUEUE_URL=http://127.0.0.1:9324/000000000000/orders
        forebay consume --idle-timeout-seconds 10

    A crash at every fifth message, and one between an effect and its record:

        CRASH_RATE=0.2 forebay consume
        CRASH_AFTER_SIDE_EFFECT=1 forebay consume

    A crash is one: nothing is given back, and the exit code is 70. SIGTERM and
    Ctrl-C let what is in hand be done, with exit code 0. With FOREBAY_TIME_SCALE
    its time passes as fast as that of a broker with the same --time-scale.
    """
    seed: str | None = given.pop("seed")
    without: list[str] = given.pop("without") or []
    set_up_logs(LogFormat.TEXT, context=_Short())
    options = {
        variable.name: given[variable.field]
        for variable in VARIABLES
        if given[variable.field] is not None
    }
    settings = read_settings({**os.environ, **options})
    set_up_logs(LogFormat.TEXT, LogLevel(settings.log_level.lower()), context=_Short())
    clock = clock_of(os.environ)
    place = place_of_queue(settings.queue_url, settings.aws_region)

    async def work() -> Consumed:
        async with client_at(place) as client:
            return await run_consumer(
                settings,
                client=client,
                clock=clock,
                without=without,
                seed=seed,
                caller=f"consumer-{os.getpid()}",
            )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        consumed = runner.run(work())
    _log.info("%s processed.", messages_were(consumed.processed))


class _Short(logging.Filter):
    """Makes one line of each record.

    It says what went wrong in place of a traceback, where it is an error that was meant to be, and
    what would break the line in a message's id or body is escaped.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ForebayError):
            text, record.exc_info = f"{text} {in_words(error)}", None
        record.msg = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
        record.args = None
        return True


def _option(variable: Variable) -> inspect.Parameter:
    """A variable as an option. Its value is read by the variable itself, whoever gives it."""
    return inspect.Parameter(
        variable.field,
        inspect.Parameter.KEYWORD_ONLY,
        default=variable.default or None,
        annotation=Annotated[
            str | None,
            typer.Option(
                variable.option,
                envvar=variable.name,
                metavar=variable.takes,
                help=variable.meaning,
                show_default=bool(variable.default) or variable.otherwise or False,
                rich_help_panel=variable.group,
            ),
        ],
    )


_MORE = (
    inspect.Parameter(
        "seed",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            str | None,
            typer.Option(
                metavar="TEXT",
                help="With the same seed CRASH_RATE strikes at the same receives of the same"
                " messages.",
                rich_help_panel="Faults",
            ),
        ],
    ),
    inspect.Parameter(
        "without",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            list[str] | None,
            typer.Option(
                metavar="PROTECTION",
                help=f"Leave out what protects messages and effects: {', '.join(PROTECTIONS)}. Can"
                " be given again.",
                rich_help_panel="Faults",
            ),
        ],
    ),
)

_PARAMETERS = (*map(_option, VARIABLES), *_MORE)
consume.__signature__ = inspect.Signature(_PARAMETERS)  # type: ignore[attr-defined]
consume.__annotations__ = {each.name: each.annotation for each in _PARAMETERS}
