"""The environment variables of the consumer of document 001: names, defaults, meanings, limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.protocol import limits

#: Makes a value of a variable's text. Raises ValueError, which says what it must be.
Reader: TypeAlias = Callable[[str], Any]

#: The longest time that a variable in seconds takes: a day.
_DAY_S = 86_400

_ON = frozenset({"true", "yes", "on"})
_OFF = frozenset({"false", "no", "off"})

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class Variable(Struct, frozen=True, kw_only=True):
    """One variable. Its setting is the field of the same name in small letters."""

    name: str
    #: Its value when it is not set; empty where it has none.
    default: str = ""
    #: What the document says in the place of a default that is no value.
    otherwise: str = ""
    meaning: str
    read: Reader = str
    #: What help shows in place of a value.
    takes: str = "TEXT"
    #: Under which heading help shows it.
    group: str

    @property
    def field(self) -> str:
        return self.name.lower()

    @property
    def option(self) -> str:
        return "--" + self.field.replace("_", "-")

    def value(self, environment: Mapping[str, str]) -> Any:
        """What the environment says; None when it says nothing. Raises SettingsError."""
        text = environment.get(self.name, "")
        if not text.strip():
            return None
        try:
            return self.read(text)
        except ValueError as error:
            raise SettingsError(f"{self.name} is {text!r}; it must be {error}.") from error


def _whole(low: int, high: int | None = None) -> Reader:
    most = math.inf if high is None else high
    reach = f"a whole number from {low}" + ("" if high is None else f" to {high:,}")

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError(reach) from None
        if not low <= number <= most:
            raise ValueError(reach)
        return number

    return read


def _number(low: float, high: float) -> Reader:
    reach = f"a number from {low:g} to {high:,g}"

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise ValueError(reach) from None
        if not low <= number <= high:
            raise ValueError(reach)
        return number

    return read


def _switch(text: str) -> bool:
    """On or off. Other whole numbers than 0 are on: the document says "if non-zero"."""
    word = text.strip().lower()
    if word in _ON or word in _OFF:
        return word in _ON
    try:
        return int(word) != 0
    except ValueError:
        raise ValueError("1, true, yes or on, or else 0, false, no or off") from None


def _log_level(text: str) -> str:
    level = text.strip().upper()
    if level not in LOG_LEVELS:
        raise ValueError(f"one of {', '.join(LOG_LEVELS)}")
    return level


QUEUE, STOPPING, TABLES, FAULTS, LOGS, VERSIONS = (
    "Queue",
    "When it ends",
    "Once, and not twice",
    "Faults",
    "What it writes",
    "Versions",
)

#: In the order of the document's table.
VARIABLES = (
    Variable(
        name="QUEUE_URL",
        otherwise="required",
        meaning="URL of the queue to consume.",
        takes="URL",
        group=QUEUE,
    ),
    Variable(
        name="AWS_REGION",
        otherwise="SDK default",
        meaning="The region, where the queue's URL names none.",
        takes="NAME",
        group=QUEUE,
    ),
    Variable(
        name="WAIT_TIME_SECONDS",
        default="10",
        meaning="How long a receive waits for a message (long poll), in seconds.",
        read=_whole(0, limits.WAIT_TIME_SECONDS_MAX),
        takes="SECONDS",
        group=QUEUE,
    ),
    Variable(
        name="MAX_MESSAGES",
        default="1",
        meaning="Messages per receive, at most 10. They are handled one after another.",
        read=_whole(1),
        takes="NUMBER",
        group=QUEUE,
    ),
    Variable(
        name="CRASH_RATE",
        default="0.0",
        meaning="Probability, 0 to 1, that it crashes at a message.",
        read=_number(0, 1),
        takes="PROBABILITY",
        group=FAULTS,
    ),
    Variable(
        name="CRASH_AFTER_RECEIVE",
        default="0",
        meaning="Crash after receiving a message, before its side effect.",
        read=_switch,
        takes="0|1",
        group=FAULTS,
    ),
    Variable(
        name="IDEMPOTENCY_CACHE_SIZE",
        default="1000",
        meaning="How many ids of finished messages are kept in memory, the ones used last, to"
        " know duplicates by (0: none).",
        read=_whole(0, 10_000_000),
        takes="NUMBER",
        group=TABLES,
    ),
    Variable(
        name="MESSAGE_LIMIT",
        default="0",
        meaning="Stop after so many messages were processed (0: no limit).",
        read=_whole(0),
        takes="NUMBER",
        group=STOPPING,
    ),
    Variable(
        name="IDLE_TIMEOUT_SECONDS",
        default="0",
        meaning="Stop when no message has come for so many seconds (0: never).",
        read=_number(0, _DAY_S),
        takes="SECONDS",
        group=STOPPING,
    ),
    Variable(
        name="REJECT_PAYLOAD_MARKER",
        meaning="Fail every message whose body contains this text, as a poison message does.",
        group=FAULTS,
    ),
    Variable(
        name="MESSAGE_STATUS_TABLE",
        meaning="Where the status of each message is kept, our own bookkeeping: sqlite:///PATH.",
        takes="URL",
        group=TABLES,
    ),
    Variable(
        name="MESSAGE_SIDE_EFFECTS_TABLE",
        meaning="Where side effects are recorded: sqlite:///PATH, or http://HOST:PORT of an"
        " outside service, which then does them.",
        takes="URL",
        group=TABLES,
    ),
    Variable(
        name="SIDE_EFFECT_DELAY_SECONDS",
        default="0.0",
        meaning="How long each side effect takes, in seconds, as in a slow service.",
        read=_number(0, _DAY_S),
        takes="SECONDS",
        group=FAULTS,
    ),
    Variable(
        name="CRASH_AFTER_SIDE_EFFECT",
        default="0",
        meaning="Crash after a side effect, before it is marked complete.",
        read=_switch,
        takes="0|1",
        group=FAULTS,
    ),
    Variable(
        name="SIDE_EFFECT_LOG_PATH",
        meaning="File to which each side effect appends a line with a field of the payload.",
        takes="FILE",
        group=LOGS,
    ),
    Variable(
        name="SIDE_EFFECT_LOG_FIELD",
        default="sequence",
        meaning="The field that SIDE_EFFECT_LOG_PATH gets.",
        takes="FIELD",
        group=LOGS,
    ),
    Variable(
        name="VERSIONING_ENABLED",
        default="0",
        meaning="Apply a message only if its version is newer than what its entity has.",
        read=_switch,
        takes="0|1",
        group=VERSIONS,
    ),
    Variable(
        name="VERSION_STATE_PATH",
        meaning="SQLite file with the newest version of each entity, which any number of consumers"
        " share. Needed with VERSIONING_ENABLED.",
        takes="FILE",
        group=VERSIONS,
    ),
    Variable(
        name="VERSION_LOG_PATH",
        meaning="File to which each version that is applied appends a line. Needed with"
        " VERSIONING_ENABLED.",
        takes="FILE",
        group=VERSIONS,
    ),
    Variable(
        name="VERSION_SEEN_LOG_PATH",
        meaning="File to which each version that is received appends a line, applied or not.",
        takes="FILE",
        group=VERSIONS,
    ),
    Variable(
        name="VERSION_KEY",
        default="version",
        meaning="The field of the payload that has the version: a whole number, or a time in ISO"
        " 8601 with its zone.",
        takes="FIELD",
        group=VERSIONS,
    ),
    Variable(
        name="ENTITY_KEY",
        default="entity_id",
        meaning="The field of the payload that names the entity.",
        takes="FIELD",
        group=VERSIONS,
    ),
    Variable(
        name="BUSINESS_IDEMPOTENCY_FIELD",
        meaning="The field of the payload, such as order_id, for whose value a side effect is done"
        " once, together with the payload's action.",
        takes="FIELD",
        group=TABLES,
    ),
    Variable(
        name="LOG_LEVEL",
        default="INFO",
        meaning="The least important lines that are logged: DEBUG, INFO, WARNING or ERROR.",
        read=_log_level,
        takes="LEVEL",
        group=LOGS,
    ),
)
