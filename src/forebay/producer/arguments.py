"""What a producer is given, whatever its types say: names, directories, functions. Pure."""

from __future__ import annotations

from collections.abc import Collection
from inspect import iscoroutinefunction
from pathlib import Path

from forebay.errors import SettingsError
from forebay.messages.envelope import EnvelopeError, check_name
from forebay.protocol import limits
from forebay.protocol.identifiers import is_queue_name, queue_key_from_arn


def check_arguments(
    queue: object, node: object, packed: object, spill: object, on_lost: object
) -> None:
    """Raise SettingsError for what cannot be what it is given as, as Producer explains it."""
    if not isinstance(queue, str) or not _may_be_queue(queue):
        raise SettingsError(
            f"The queue of a producer is {queue!r:.100}; it must be a URL, an ARN, or a name of 1"
            f" to {limits.QUEUE_NAME_CHARACTERS_MAX} letters, digits, hyphens and underscores,"
            " where a FIFO queue's ends in .fifo."
        )
    if isinstance(packed, str) or not isinstance(packed, Collection):
        raise SettingsError(
            f"The types to pack are {packed!r:.100}; name them in a tuple, as in"
            ' packed=("usage_log",), or none with packed=().'
        )
    if spill is not None and not (isinstance(spill, str | Path) and _may_be_path(str(spill))):
        raise SettingsError(
            f"The spill of a producer is {spill!r:.100}; it must be the path of a directory."
        )
    if on_lost is not None and (not callable(on_lost) or iscoroutinefunction(on_lost)):
        raise SettingsError(
            f"on_lost is {on_lost!r:.100}; it must be a function that is not async."
        )
    try:
        if node is not None:
            check_name("node", node)
        for each in packed:
            check_name("type", each)
    except EnvelopeError as error:
        raise SettingsError(str(error)) from error


def queue_name(queue: str) -> str:
    """The name of a queue that is given by URL, ARN or name."""
    return queue.rpartition("/")[2].rpartition(":")[2]


def _may_be_path(path: str) -> bool:
    return path != "" and "\0" not in path


def _may_be_queue(queue: str) -> bool:
    if queue.startswith("arn:"):
        return queue_key_from_arn(queue) is not None
    return "://" in queue or is_queue_name(queue)
