"""What can be changed about producers and workers while they work, in one schema.

Ranges and defaults are those of ProducerSettings and WorkerSettings, where they stand once. A
parameter of the store has the name of the setting behind `sqs_` or `worker_`.

    async with live_parameters("sqlite:///parameters.db") as live:
        follow(live, producer=producer, worker=worker)
        await worker.run()
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, Protocol

from msgspec.structs import replace

from forebay.clock import Clock
from forebay.errors import SettingsError
from forebay.parameters.address import open_store
from forebay.parameters.live import POLL_S, LiveParameters
from forebay.parameters.schema import InOrder, Parameter, Schema, Value
from forebay.producer import settings as producer_settings
from forebay.producer.settings import ProducerSettings, SpillFull, WhenFull
from forebay.worker import settings as worker_settings
from forebay.worker.settings import ADJUSTABLE, WorkerSettings

_log = logging.getLogger(__name__)

_SQS, _WORKER = "sqs_", "worker_"

#: What each setting of a producer counts, and what it does.
_PRODUCER = {
    "batch_size": ("messages", "Most messages in one SendMessageBatch call."),
    "flush_ms": ("ms", "How long a message may wait for its batch or pack to fill."),
    "buffer_size": ("messages", "Most messages that are accepted and not yet settled."),
    "buffer_bytes": ("bytes", "Most bytes of them."),
    "timeout_ms": ("ms", "How long one attempt of a SendMessageBatch call may take."),
    "concurrency": ("calls", "Most SendMessageBatch calls under way at once."),
    "when_full": ("", "What `send` does when the buffer is full."),
    "block_ms": ("ms", "How long `send` may wait for room where it waits."),
    "spill_bytes": ("bytes", "Most that the spill directory holds."),
    "spill_segment_bytes": ("bytes", "Size of one file of the spill directory."),
    "spill_full": ("", "What becomes of messages when the spill directory is full."),
    "replay_share": ("", "The part of the calls that what was spilled gets beside live traffic."),
}

#: The words that a setting takes.
_CHOICES = {"when_full": tuple(WhenFull), "spill_full": tuple(SpillFull)}

_MEANINGS = {
    "concurrency": ("handlers", "Most handlers that run at the same time."),
    "concurrency_min": (
        "handlers",
        "As many may run however little there is to do. By default four, or the most if that is"
        " less.",
    ),
    "pollers": ("receives", "Most receives in flight at the same time."),
    "pollers_min": ("receives", "As many may be in flight however little there is to do."),
    "buffer_high": (
        "messages",
        "Most messages of queues of the high class that wait for a handler. By default twice the"
        " concurrency.",
    ),
    "buffer_medium": ("messages", "The same for queues of the medium class."),
    "buffer_low": ("messages", "The same for queues of the low class."),
}


class HasProducerSettings(Protocol):
    """A producer, as far as its settings go."""

    @property
    def settings(self) -> ProducerSettings: ...
    @settings.setter
    def settings(self, settings: ProducerSettings) -> None: ...


class Adjustable(Protocol):
    """A worker, as far as what can be changed goes."""

    settings: WorkerSettings

    def adjust(self, settings: WorkerSettings) -> None: ...


def _producer_parameters() -> list[Parameter]:
    defaults = ProducerSettings()
    return [
        _parameter(_SQS, name, getattr(defaults, name), producer_settings.RANGES, unit, meaning)
        for name, (unit, meaning) in _PRODUCER.items()
    ]


def _worker_parameters() -> list[Parameter]:
    defaults = WorkerSettings()
    return [
        _parameter(_WORKER, name, getattr(defaults, name), worker_settings.RANGES, *_MEANINGS[name])
        for name in ADJUSTABLE
    ]


def _parameter(
    prefix: str,
    name: str,
    default: Value | None,
    ranges: Mapping[str, tuple[float, float]],
    unit: str,
    meaning: str,
) -> Parameter:
    if name in _CHOICES:
        words = tuple(map(str, _CHOICES[name]))
        return Parameter(name=prefix + name, default=str(default), meaning=meaning, choices=words)
    least, most = ranges[name]
    return Parameter(
        name=prefix + name,
        default=default,
        meaning=meaning,
        unit=unit,
        least=least,
        most=most,
        whole=not isinstance(default, float),
    )


#: Everything that can be changed live.
SCHEMA = Schema(
    [*_producer_parameters(), *_worker_parameters()],
    [
        InOrder(_WORKER + lower, _WORKER + upper)
        for lower, upper in worker_settings.ORDERED
        if lower in ADJUSTABLE and upper in ADJUSTABLE
    ],
)


@asynccontextmanager
async def live_parameters(
    url: str, *, poll_s: float = POLL_S, clock: Clock | None = None
) -> AsyncIterator[LiveParameters]:
    """The parameters of a store, followed for as long as the block lasts.

    A store that is away at the beginning is waited for while the program works with its own
    settings. Raises SettingsError for a URL that names no store.
    """
    store = open_store(url, SCHEMA)
    try:
        async with LiveParameters(store, poll_s=poll_s, clock=clock) as live:
            yield live
    finally:
        await store.close()


def follow(
    live: LiveParameters,
    *,
    producer: HasProducerSettings | None = None,
    worker: Adjustable | None = None,
) -> Callable[[], None]:
    """Let a producer and a worker have what is set, now and whenever it changes.

    What is not set is as the program has made them. A value that does not go with the program's own
    settings is logged and left out. What is returned ends it. Call this in the event loop's thread.
    """
    ends = []
    if producer is not None:
        ends.append(live.subscribe(_Follower(_SQS, producer, _give_producer)))
    if worker is not None:
        ends.append(live.subscribe(_Follower(_WORKER, worker, _give_worker)))

    def end() -> None:
        for each in ends:
            each()

    return end


@asynccontextmanager
async def following(
    url: str | None,
    *,
    producer: HasProducerSettings | None = None,
    worker: Adjustable | None = None,
    poll_s: float = POLL_S,
) -> AsyncIterator[None]:
    """Let a producer and a worker follow the store of a URL for as long as the block lasts.

    Without a URL they follow none. Raises SettingsError for a URL that names no store.
    """
    if not url:
        yield
        return
    async with live_parameters(url, poll_s=poll_s) as live:
        end = follow(live, producer=producer, worker=worker)
        try:
            yield
        finally:
            end()


def _give_producer(producer: HasProducerSettings, settings: ProducerSettings) -> None:
    producer.settings = settings


def _give_worker(worker: Adjustable, settings: WorkerSettings) -> None:
    worker.adjust(settings)


class _Follower:
    """Turns what is set into the settings of one producer or worker."""

    def __init__(self, prefix: str, owner: Any, give: Callable[[Any, Any], None]) -> None:
        self._prefix = prefix
        self._owner = owner
        self._give = give
        #: What the program has made its owner with, of those that were set since.
        self._own: dict[str, object] = {}
        #: What its owner did not take, as it was logged.
        self._refused: dict[str, str] = {}

    def __call__(self, values: Mapping[str, Value]) -> None:
        current = self._owner.settings
        asked = {
            name.removeprefix(self._prefix): value
            for name, value in values.items()
            if name.startswith(self._prefix)
        }
        for name in asked.keys() - self._own.keys():
            self._own[name] = getattr(current, name)
        wanted = {
            name: _of_kind(asked[name], own) if name in asked else own
            for name, own in self._own.items()
        }
        self._say(self._take(wanted))

    def _take(self, wanted: Mapping[str, object]) -> dict[str, str]:
        """Give what is wanted as far as it goes together; why the rest was left out, by name."""
        if self._takes(wanted) is None:
            return {}
        left = dict(wanted)
        while True:
            refused = {
                name: reason
                for name in sorted(left)
                if (reason := self._takes({name: left[name]})) is not None
            }
            if len(refused) in (0, len(left)):
                return refused
            left = {name: left[name] for name in refused}

    def _takes(self, wanted: Mapping[str, object]) -> str | None:
        """Give settings with what is wanted; why not, where that is refused."""
        current = self._owner.settings
        try:
            settings = replace(current, **wanted)
            if settings != current:
                self._give(self._owner, settings)
        except SettingsError as error:
            return f"{error}"
        return None

    def _say(self, refused: Mapping[str, str]) -> None:
        for name, reason in refused.items():
            if self._refused.get(name) != reason:
                _log.error(
                    "%s%s does not go with the program's own settings, and stays as it is: %s",
                    self._prefix,
                    name,
                    reason,
                )
        self._refused = dict(refused)


def _of_kind(value: Value, own: object) -> object:
    """A value as its setting has it: a word is one of an enumeration's there."""
    return type(own)(str(value)) if isinstance(own, StrEnum) else value
