"""How a command writes its log: on standard error, for people or for machines."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import TracebackType

from pythonjsonlogger.json import JsonFormatter
from rich.console import Console

from forebay.observability.log_context import MessageContext
from forebay.settings import variable_of

_log = logging.getLogger("forebay")

_OPTION = "--log-format"

#: What a worker's line for people shows of its message, by the field of the record.
_ABOUT = {
    "queue": "queue",
    "message_id": "message",
    "envelope_id": "id",
    "messages": "messages",
    "handler": "handler",
    "receive_count": "receive",
}


class LogFormat(StrEnum):
    """The form of a log line."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least important of the lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class _WorkerText(logging.Formatter):
    """A line for people, with what a worker's handler has behind it."""

    def __init__(self, process: int) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._process = process

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        about = [f"process {self._process}"]
        about += [
            f"{name} {getattr(record, field)}"
            for field, name in _ABOUT.items()
            if hasattr(record, field)
        ]
        return f"{super().formatMessage(record)} [{', '.join(about)}]"


def set_up_logs(
    log_format: LogFormat, level: LogLevel = LogLevel.INFO, process: int | None = None
) -> None:
    """Log what is at least as important as `level`; of others' libraries nothing below INFO.

    With the number of a worker's process each line shows it, and what its handler has.
    """
    handler = logging.StreamHandler()
    if log_format is LogFormat.JSON:
        handler.setFormatter(
            JsonFormatter(
                ["levelname", "name", "message"],
                rename_fields={"levelname": "level", "name": "logger"},
                static_fields={} if process is None else {"process": process},
                timestamp=True,
            )
        )
    elif process is not None:
        handler.setFormatter(_WorkerText(process))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    if process is not None:
        handler.addFilter(MessageContext())
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(number, logging.INFO), handlers=[handler], force=True)
    _log.setLevel(number)


def log_what_nobody_catches() -> None:
    """Let the log have the warnings and the errors that Python prints itself."""
    logging.captureWarnings(True)
    sys.excepthook = _log_error
    threading.excepthook = lambda thread: _log_error(
        thread.exc_type, thread.exc_value, thread.exc_traceback
    )
    sys.unraisablehook = lambda failure: _log.error(
        failure.err_msg or "An error could not be raised", exc_info=failure.exc_value
    )


def _log_error(
    kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None
) -> None:
    _log.critical("An unexpected error: %s", error, exc_info=(kind, error or kind(), traceback))


def format_asked_for(
    arguments: Sequence[str], environment: Mapping[str, str] = os.environ
) -> LogFormat:
    """The format that a command line means, whatever else may be wrong with it."""
    asked = environment.get(variable_of("log_format"), "")
    for number, argument in enumerate(arguments):
        option, _, value = argument.partition("=")
        if option == _OPTION:
            asked = value or next(iter(arguments[number + 1 :]), "")
    return LogFormat.JSON if asked.lower() == LogFormat.JSON else LogFormat.TEXT


def say_error(message: str) -> None:
    """Say why the command ends: in its log, if machines read that, else to people."""
    handlers = logging.getLogger().handlers
    if any(isinstance(handler.formatter, JsonFormatter) for handler in handlers):
        _log.error(message)
    else:
        Console(stderr=True, soft_wrap=True).print(f"Error: {message}", style="red", markup=False)
