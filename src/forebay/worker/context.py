"""What the parts of a worker share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from msgspec import Struct

from forebay.client.base import SqsClient
from forebay.clock import Clock
from forebay.worker.loop_watch import LoopWatch
from forebay.worker.settings import WorkerSettings

#: Starts a coroutine that the worker awaits before it ends.
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], object]


class Context(Struct, frozen=True, kw_only=True):
    """What every queue of one worker is served with."""

    client: SqsClient
    settings: WorkerSettings
    clock: Clock
    #: Gives as many random bytes as it is asked for.
    entropy: Callable[[int], bytes]
    spawn: Spawn
    #: Called whenever a message has ended.
    changed: Callable[[], None]
    loop_watch: LoopWatch
