"""Parameters followed while a program runs: a store that is asked again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from forebay.clock import Clock, SystemClock
from forebay.errors import ForebayError, SettingsError, with_type
from forebay.number_settings import require_number
from forebay.parameters.schema import Value, in_words
from forebay.parameters.store import ParameterStore, StoredValue

_log = logging.getLogger(__name__)

#: How often a store is asked unless said otherwise, in seconds.
POLL_S = 5.0

#: Bounds of that, in seconds.
_POLL_S_MIN, _POLL_S_MAX = 0.05, 86_400

#: Is called with everything that is set, whenever that has changed.
Subscriber = Callable[[Mapping[str, Value]], object]


class LiveParameters:
    """Asks a store every `poll_s` seconds, and tells its subscribers what has changed.

    What the store says is checked: a value that is out of range is logged once and never told; the
    last good one stays, and the others take effect. A store that is away changes nothing. The
    subscribers are called in the event loop's thread.

        async with LiveParameters(store) as live:
            live.subscribe(print)
    """

    def __init__(
        self, store: ParameterStore, *, poll_s: float = POLL_S, clock: Clock | None = None
    ) -> None:
        require_number("poll_s", poll_s)
        if not _POLL_S_MIN <= poll_s <= _POLL_S_MAX:
            raise SettingsError(
                f"poll_s is {poll_s:g}; it must be {_POLL_S_MIN:g} to {_POLL_S_MAX:,} s."
            )
        self._store = store
        self._poll_s = poll_s
        self._clock = clock or SystemClock()
        self._values: dict[str, Value] = {}
        self._subscribers: list[Subscriber] = []
        self._task: asyncio.Task[None] | None = None
        self._away = False
        #: What was logged of the table's rows that are wrong: the text, by name. None is a row that
        #: is not there any more.
        self._refused: dict[str, str | None] = {}
        self._misspelled: set[str] = set()

    @property
    def values(self) -> Mapping[str, Value]:
        """What is set and right. Of the others every program has its own value."""
        return dict(self._values)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call this at once, and whenever a value has changed. What is returned ends that."""
        self._subscribers.append(subscriber)
        self._tell(subscriber)

        def unsubscribe() -> None:
            with suppress(ValueError):
                self._subscribers.remove(subscriber)

        return unsubscribe

    async def poll(self) -> None:
        """Ask the store now."""
        try:
            stored = await self._store.values()
        except Exception as error:
            if not self._away:
                self._away = True
                _log.warning(
                    "The parameters stay as they are while their store is away: %s",
                    error if isinstance(error, ForebayError) else with_type(error),
                )
            return
        if self._away:
            self._away = False
            _log.info("The store of the parameters is back: %s", self._store.name)
        self._take(stored)

    async def start(self) -> None:
        """Ask the store, and go on asking it. One that is away does not keep a program from it."""
        if self._task is not None:
            return
        await self.poll()
        if not self._away:
            _log.info(
                "The parameters are followed at %s, every %g s: %s",
                self._store.name,
                self._poll_s,
                ", ".join(f"{name} {in_words(value)}" for name, value in self._values.items())
                or "none is set",
            )
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop asking. The subscribers keep what they were told. The store stays open."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _follow(self) -> None:
        while True:
            await self._clock.sleep(self._poll_s)
            await self.poll()

    def _take(self, stored: Mapping[str, StoredValue]) -> None:
        texts = {name: row.value for name, row in stored.items()}
        values, refused = self._store.schema.accept(texts, self._values)
        self._say_refused(texts, refused, values)
        self._say_misspelled(texts)
        before, self._values = self._values, values
        changed = [name for name in {**before, **values} if before.get(name) != values.get(name)]
        if not changed:
            return
        for name in changed if self._task is not None else ():
            by = f", by {stored[name].updated_by}" if name in stored else ""
            _log.info(
                "%s is %s now; it was %s%s",
                name,
                in_words(values[name]) if name in values else "not set",
                in_words(before[name]) if name in before else "not set",
                by,
            )
        for subscriber in [*self._subscribers]:
            self._tell(subscriber)

    def _tell(self, subscriber: Subscriber) -> None:
        try:
            subscriber(self.values)
        except Exception:
            _log.exception("What follows the parameters has failed on them")

    def _say_refused(
        self, texts: Mapping[str, str], refused: Mapping[str, str], values: Mapping[str, Value]
    ) -> None:
        for name, reason in refused.items():
            if name not in self._refused or self._refused[name] != texts.get(name):
                stays = (
                    f"It stays {in_words(values[name])}"
                    if name in values
                    else "It counts as not set"
                )
                _log.error("%s refuses a parameter: %s %s.", self._store.name, reason, stays)
        self._refused = {name: texts.get(name) for name in refused}

    def _say_misspelled(self, texts: Mapping[str, str]) -> None:
        schema = self._store.schema
        for name in texts:
            if name in schema or name in self._misspelled:
                continue
            self._misspelled.add(name)
            if meant := schema.meant(name):
                _log.warning(
                    "%s has %s, which is no parameter. Did you mean %s?",
                    self._store.name,
                    name,
                    meant,
                )
