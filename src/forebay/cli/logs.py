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

from forebay.settings import variable_of

_log = logging.getLogger("forebay")

_OPTION = "--log-format"


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


def set_up_logs(
    log_format: LogFormat,
    level: LogLevel = LogLevel.INFO,
    *,
    text: logging.Formatter | None = None,
    fields: Mapping[str, object] | None = None,
    context: logging.Filter | None = None,
) -> None:
    """Log what is at least as important as `level`; of others' libraries nothing below INFO.

    `text` makes the lines for people, `fields` are in every JSON object, and `context` adds to the
    records.
    """
    handler = logging.StreamHandler()
    if log_format is LogFormat.JSON:
        handler.setFormatter(
            JsonFormatter(
                ["levelname", "name", "message"],
                rename_fields={"levelname": "level", "name": "logger"},
                static_fields=fields,
                timestamp=True,
            )
        )
    else:
        handler.setFormatter(text or logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    if context is not None:
        handler.addFilter(context)
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
