"""The log of a worker's process: each line has the process, and what the handler around it has."""

from __future__ import annotations

import logging

from forebay.cli.logs import LogFormat, LogLevel, set_up_logs
from forebay.observability.log_context import MessageContext

#: What a worker's line for people shows of its message, by the field of the record.
_ABOUT = {
    "queue": "queue",
    "message_id": "message",
    "envelope_id": "id",
    "messages": "messages",
    "handler": "handler",
    "receive_count": "receive",
}


class _Text(logging.Formatter):
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


def set_up_worker_logs(log_format: LogFormat, level: LogLevel, process: int) -> None:
    """Log as `set_up_logs` does, with the number of the process and the ids of messages."""
    set_up_logs(
        log_format,
        level,
        text=_Text(process),
        fields={"process": process},
        context=MessageContext(),
    )
