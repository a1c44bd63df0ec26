"""What happened in a run, line by line, as each of its processes wrote it down.

Every process appends to a file of its own, one line of JSON an event, with one system call: what a
process has written is there when it is killed in the next instant.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct

from forebay.clock import Clock

#: The directory of the files, in that of a run.
DIRECTORY = "events"

_SUFFIX = ".jsonl"

#: What a fault says that is a process's end, after the name of the process.
KILLED = " is killed"
TOLD_TO_STOP = " is told to stop"


class Kind(StrEnum):
    """What an event is."""

    #: A message is about to be sent, and SQS has taken it. Between the two nobody knows.
    SENDING = "sending"
    SENT = "sent"
    #: SQS refused a message, or could not be reached.
    NOT_SENT = "not sent"
    #: A message was handed out; `value` is how many there were in the answer.
    RECEIVED = "received"
    #: A message is about to be deleted, and SQS has done it.
    DELETING = "deleting"
    DELETED = "deleted"
    #: A message was made visible at once, or after `value` seconds.
    RELEASED = "released"
    EXTENDED = "extended"
    #: SQS was told to delete all messages of a queue, and has begun to.
    PURGED = "purged"
    #: A version, or a place in an order, was applied: `subject` is the entity, `value` the version.
    APPLIED = "applied"
    #: A message was passed over: it was stale, or done before.
    SKIPPED = "skipped"
    #: Something was made to go wrong; `text` says what.
    FAULT = "fault"
    #: A process began and ended; `value` is its exit code.
    STARTED = "started"
    ENDED = "ended"
    #: How many messages a queue has; see Ledger.
    DEPTH = "depth"
    #: Whatever else a scenario wants to be seen.
    NOTE = "note"


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened in a process."""

    #: The run's own time, in milliseconds since the Unix epoch.
    at_ms: int
    kind: Kind
    process: str
    #: The name of the queue.
    queue: str = ""
    #: SQS's MessageId, and the id in the body.
    message: str = ""
    id: str = ""
    #: Of a receive: how often the message has been received.
    receives: int = 0
    subject: str = ""
    value: float = 0
    text: str = ""

    @property
    def identity(self) -> str:
        """What names the message: the id in its body, or its MessageId."""
        return self.id or self.message


class EventLog:
    """Where one process writes its events."""

    def __init__(self, directory: Path, process: str, clock: Clock) -> None:
        path = directory / DIRECTORY / f"{process}{_SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._process = process
        self._clock = clock
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(
        self,
        kind: Kind,
        *,
        queue: str = "",
        message: str = "",
        id: str = "",  # noqa: A002 - as the event's field
        receives: int = 0,
        subject: str = "",
        value: float = 0,
        text: str = "",
    ) -> None:
        """Write an event down. It is in the file when this returns."""
        event = Event(
            at_ms=self._clock.wall_ms(),
            kind=kind,
            process=self._process,
            queue=queue,
            message=message,
            id=id,
            receives=receives,
            subject=subject,
            value=value,
            text=text,
        )
        os.write(self._file, msgspec.json.encode(event) + b"\n")

    def close(self) -> None:
        os.close(self._file)


class EventReader:
    """Reads the events of all processes of a run while they write."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / DIRECTORY
        self._read_bytes: dict[Path, int] = {}
        #: Every event so far, by process in the order in which it wrote them.
        self.events: list[Event] = []

    def read(self) -> list[Event]:
        """The events that are new. The end of a line that is being written comes the next time."""
        new: list[Event] = []
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            begin = self._read_bytes.get(path, 0)
            with path.open("rb") as file:
                file.seek(begin)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read_bytes[path] = begin + len(whole)
            new += [_decode(line) for line in whole.splitlines()]
        self.events += new
        return new


_decode = msgspec.json.Decoder(Event).decode
