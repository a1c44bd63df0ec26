"""What has to be free before a worker polls.

A message that cannot be handled now is better left in its queue, where others can receive it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from forebay.errors import SettingsError
from forebay.number_settings import require_number


class Permit(Protocol):
    """Holds receives back as long as something is not free.

    A permit looks at what is free and takes nothing: whatever takes it is the handler's own work.
    """

    @property
    def name(self) -> str:
        """What is looked at, for whoever watches the worker."""
        ...

    @property
    def queues(self) -> Collection[str] | None:
        """The names of the queues that it speaks for; None for all."""
        ...

    @property
    def reason(self) -> str:
        """Why receives are held back, as `free` has found it last."""
        ...

    def free(self, now_ms: int) -> int | None:
        """How many more messages may be received now; None for any number.

        Must not block. `now_ms` is monotonic.
        """
        ...


class PoolPermit:
    """Receives only while a pool has something free, such as connections of a database.

        PoolPermit("database", pool.get_idle_size, queues=["orders"])

    With `keep` so many are left to others. Messages that were received before wait in the worker.
    A pool that cannot be asked has nothing free; the reason says so. Raises SettingsError when a
    value is out of range.
    """

    def __init__(
        self,
        name: str,
        free: Callable[[], int],
        *,
        queues: Collection[str] | None = None,
        keep: int = 0,
    ) -> None:
        if not name:
            raise SettingsError("A permit's name is empty; say what has to be free.")
        if not callable(free):
            raise SettingsError(
                f"free of permit {name} is {free!r}; give a function that returns a number."
            )
        if isinstance(queues, str):
            raise SettingsError(f"queues of permit {name} is a text; give a list of names.")
        require_number(f"keep of permit {name}", keep, whole=True)
        if keep < 0:
            raise SettingsError(f"keep of permit {name} is {keep}; it must be at least 0.")
        self.name = name
        self.queues = queues
        self.reason = ""
        self._free = free
        self._keep = keep

    def free(self, now_ms: int) -> int:  # noqa: ARG002 (a breaker needs the time)
        try:
            free = int(self._free()) - self._keep
        except Exception as error:
            self.reason = f"{self.name} cannot be asked what is free: {error!r}"
            return 0
        self.reason = "" if free > 0 else f"{self.name} has nothing free"
        return max(0, free)


def speaks_for(permit: Permit, queue: str) -> bool:
    """Whether a permit holds back receives of this queue."""
    return permit.queues is None or queue in permit.queues
