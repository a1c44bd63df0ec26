"""What a worker or a handler was made with, where a mistake would come out at each message."""

from __future__ import annotations

from collections.abc import Iterable

from forebay.errors import SettingsError
from forebay.worker.queue import Queue


def queues_of(queues: object) -> tuple[Queue, ...]:
    """The queues of a worker. Raises SettingsError when they are no names, URLs or Queues."""
    several = [queues] if isinstance(queues, str | Queue) else queues
    if not isinstance(several, Iterable):
        raise SettingsError(
            f"The queues of a worker are {queues!r}; give a name, a URL or a Queue."
        )
    made = []
    for each in several:
        if not isinstance(each, str | Queue):
            raise SettingsError(f"A queue of a worker is {each!r}; give a name, a URL or a Queue.")
        made.append(Queue(each) if isinstance(each, str) else each)
    return tuple(made)


def require_method(what: str, value: object, method: str, advice: str) -> None:
    """Raises SettingsError when something cannot do what it is there for."""
    if isinstance(value, type) or not callable(getattr(value, method, None)):
        raise SettingsError(f"{what} is {value!r}. {advice}")


def require_list(what: str, values: object, method: str, advice: str) -> None:
    """Raises SettingsError unless it is a list of such things."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise SettingsError(f"{what} is {values!r}; it must be a list.")
    for value in values:
        require_method(f"{what}: one", value, method, advice)
