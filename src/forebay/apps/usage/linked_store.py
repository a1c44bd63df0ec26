"""The writer's way to its store: opened when it is needed, waited for when it is away."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from forebay.apps.usage.settings import DatabaseAddress
from forebay.apps.usage.store import PackRefused, UsageStore, UsageStoreTooNew, Written
from forebay.backoff import backoff_s, jitter
from forebay.clock import Clock, SystemClock
from forebay.errors import ForebayError, SettingsError, StoreError, in_words
from forebay.worker.packs import Pack

T = TypeVar("T")

_log = logging.getLogger(__name__)

#: Bounds of the pause before a database that is away is tried again, in seconds.
_RETRY_BASE_S, _RETRY_MAX_S = 0.5, 10.0


def quiet_pool() -> None:
    """Let the pool of psycopg not log each try to connect: a LinkedStore says once what it is."""
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class LinkedStore:
    """A usage store that may be away.

    It is opened at the first use. When it fails, its address is read again, and another one is
    used from then on: so a rotated password takes the place of the old one.

    With `tries_max` a write that has failed as often is given up; otherwise none is.

    It is a worker's permit, too: nothing is received while somebody waits for the database.
    """

    name = "usage database"
    #: It speaks for all queues of the worker.
    queues = None

    def __init__(
        self,
        address: DatabaseAddress,
        open_store: Callable[[str], Awaitable[UsageStore]],
        *,
        tries_max: int | None = None,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._tries_max = tries_max
        self._address = address
        self._open_store = open_store
        self._clock = clock or SystemClock()
        self._entropy = entropy
        self._store: UsageStore | None = None
        #: The address of the store that is open.
        self._url = ""
        self._opening = asyncio.Lock()
        #: Since when the store is away, in monotonic milliseconds; None while it is there.
        self._away_since_ms: int | None = None
        #: Calls of `write` that wait for it.
        self._waiting = 0
        #: Why it is away, or was last.
        self.reason = ""
        #: Writes that were tried again because the database was away.
        self.retries = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Have it open while the block lasts: from the beginning, or as soon as that can be.

        Raises SettingsError when no waiting would open it.
        """
        opening: asyncio.Future[UsageStore] | None = None
        try:
            try:
                await self.open()
            except UsageStoreTooNew as error:
                raise SettingsError(in_words(error)) from error
            except StoreError:
                opening = asyncio.ensure_future(self._steadily(self.open))
            yield
        finally:
            if opening is not None:
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)
            await self.close()

    async def open(self) -> UsageStore:
        """The store, opened if it is not. Raises SettingsError, and StoreError when it is away."""
        async with self._opening:
            if self._store is None:
                url = await self._address.read()
                self._store = await self._open_store(url)
                self._url = url
            return self._store

    async def write(self, packs: Sequence[Pack[Any]]) -> Written:
        """Write packs in one transaction, as soon as the database is there.

        Its absence is logged once, whoever waits. Raises PackRefused, and StoreError when it gives
        up.
        """
        return await self._steadily(lambda: self._write(packs))

    def free(self, now_ms: int) -> int | None:  # noqa: ARG002 - a breaker needs the time
        """See Permit."""
        return 0 if self._waiting else None

    async def close(self) -> None:
        """Finish what was begun, and let go of the store."""
        async with self._opening:
            store, self._store = self._store, None
            if store is not None:
                await store.close()

    async def _steadily(self, step: Callable[[], Awaitable[T]]) -> T:
        """Try a step until the database is there for it."""
        attempt = 0
        waiting = False
        try:
            while True:
                try:
                    done = await step()
                except PackRefused:
                    self._is_there()
                    raise
                except StoreError as error:
                    attempt += 1
                    if attempt == self._tries_max:
                        raise
                    self._is_away(error)
                else:
                    self._is_there()
                    return done
                if not waiting:
                    waiting = True
                    self._waiting += 1
                draw = jitter(self._entropy)
                await self._clock.sleep(
                    backoff_s(attempt, draw, base_s=_RETRY_BASE_S, max_s=_RETRY_MAX_S)
                )
                self.retries += 1
        finally:
            self._waiting -= waiting

    async def _write(self, packs: Sequence[Pack[Any]]) -> Written:
        try:
            store = await self.open()
        except SettingsError as error:
            # It was right when the writer began, so it may be right again.
            raise StoreError(in_words(error)) from error
        try:
            return await store.write(packs)
        except PackRefused:
            raise
        except StoreError:
            await self._look_for_another_address(store)
            raise

    async def _look_for_another_address(self, failed: UsageStore) -> None:
        async with self._opening:
            if self._store is not failed:
                return
            with suppress(ForebayError):
                if await self._address.read() == self._url:
                    return
                self._store = None
                _log.info("The usage database has another address or login now.")
                await failed.close()

    def _is_away(self, error: StoreError) -> None:
        self.reason = in_words(error)
        if self._away_since_ms is None:
            self._away_since_ms = self._clock.monotonic_ms()
            _log.error(
                "The usage database is away: %s What was received waits, and nothing more is"
                " received until it is back.",
                self.reason,
            )

    def _is_there(self) -> None:
        if self._away_since_ms is not None:
            away_s = (self._clock.monotonic_ms() - self._away_since_ms) / 1000
            self._away_since_ms = None
            _log.info("The usage database is back after %.1f s.", away_s)
