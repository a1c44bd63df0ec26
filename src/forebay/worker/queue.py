"""What a worker is told of each queue that it serves."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.number_settings import require_numbers
from forebay.protocol import limits

if TYPE_CHECKING:
    from forebay.worker.routing import Router


class Priority(IntEnum):
    """The class of a queue. Messages of a higher class are polled for and handled first."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


LOW = Priority.LOW
MEDIUM = Priority.MEDIUM
HIGH = Priority.HIGH


class Queue(Struct, frozen=True):
    """A queue and how a worker serves it. What is None is as the worker's settings say.

    Raises SettingsError when a value is out of range.
    """

    #: The queue's name, or its URL.
    name: str
    #: Its class: messages of a higher one are polled for and handled first.
    priority: Priority = MEDIUM
    #: How much its messages count beside those of other queues of its class, above 0 to 1.
    weight: float = 1.0
    #: How long a received message stays hidden unless the heartbeat extends it, in seconds. None
    #: takes the queue's own VisibilityTimeout.
    visibility_timeout_s: int | None = None
    #: Name or URL of the queue for rejected messages. None takes the one of the RedrivePolicy.
    dead_letter_queue: str | None = None
    #: A handler that has failed a message this often has it rejected. None leaves it to the queue's
    #: maxReceiveCount, which counts interruptions too.
    failures_max: int | None = None
    #: Who handles its messages. None takes the worker's router.
    router: Router | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise SettingsError("A queue's name is empty; give its name or its URL.")
        if not isinstance(self.name, str):
            raise SettingsError(f"A queue's name is {self.name!r}; give its name or its URL.")
        require_numbers(self, f"Queue {self.name}: ")
        if not 0 < self.weight <= 1:
            raise self._wrong("weight", self.weight, "above 0 and at most 1")
        if self.priority not in tuple(Priority):
            raise self._wrong("priority", self.priority, "1 (low), 2 (medium) or 3 (high)")
        if self.visibility_timeout_s is not None and not (
            1 <= self.visibility_timeout_s <= limits.VISIBILITY_TIMEOUT_SECONDS_MAX
        ):
            raise self._wrong(
                "visibility_timeout_s",
                self.visibility_timeout_s,
                f"from 1 to {limits.VISIBILITY_TIMEOUT_SECONDS_MAX}",
            )
        if self.failures_max is not None and self.failures_max < 1:
            raise self._wrong("failures_max", self.failures_max, "at least 1")

    def _wrong(self, setting: str, value: object, reach: str) -> SettingsError:
        return SettingsError(f"Queue {self.name}: {setting} is {value}; it must be {reach}.")
