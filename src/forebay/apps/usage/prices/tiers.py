"""Where a price comes from: this process's memory, what all processes share, or the exchange."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import apsw
from msgspec import Struct

from forebay.apps.usage.prices.exchange import Quote
from forebay.clock import Clock
from forebay.errors import StoreError
from forebay.sqlite import SharedWriter

#: The tiers as the usage log names them, the fastest first; the last one is for refusals.
L1, L2, ORIGIN, NOWHERE = "L1_MEMORY", "L2_SHARED", "ORIGIN", "NONE"

#: How long this process answers from its own memory, in milliseconds.
L1_FRESH_MS = 100

#: How old a price may be that another process has asked for, in milliseconds.
L2_FRESH_MS = 400

#: The shared file in a data directory.
CACHE_FILE = "prices.sqlite3"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS prices (
    asset  TEXT NOT NULL,
    source TEXT NOT NULL,
    price  REAL NOT NULL,
    at_ms  INTEGER NOT NULL,
    PRIMARY KEY (asset, source)
) STRICT, WITHOUT ROWID
"""
_FIND = "SELECT price, at_ms FROM prices WHERE asset = ? AND source = ?"
_KEEP = (
    "INSERT INTO prices (asset, source, price, at_ms) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (asset, source) DO UPDATE SET price = excluded.price, at_ms = excluded.at_ms"
    " WHERE excluded.at_ms > prices.at_ms"
)

_log = logging.getLogger(__name__)


class Found(Struct, frozen=True):
    """A price and the tier that had it."""

    quote: Quote
    tier: str


class Shared(Protocol):
    """The second tier: what one process asked for, another need not ask for again.

    Either call raises StoreError when the tier cannot be reached.
    """

    async def find(self, asset: str, source: str) -> Quote | None: ...

    async def keep(self, quote: Quote) -> None: ...


class SharedFile:
    """A Shared in a SQLite file. It stands where a larger installation has a cache server."""

    def __init__(self, writer: SharedWriter) -> None:
        self._writer = writer

    @classmethod
    async def open(cls, path: Path) -> SharedFile:
        """Open or create the file. A power cut may take the last prices. Raises StoreError."""
        return cls(await SharedWriter.open(path, _SCHEMA, durable=False))

    async def find(self, asset: str, source: str) -> Quote | None:
        def read(connection: apsw.Connection) -> Quote | None:
            row = connection.execute(_FIND, (asset, source)).fetchone()
            return None if row is None else Quote(asset, source, *row)

        return await self._writer.read(read)

    async def keep(self, quote: Quote) -> None:
        values = (quote.asset, quote.source, quote.price, quote.at_ms)
        await self._writer.run(lambda connection: connection.execute(_KEEP, values))

    async def close(self) -> None:
        await self._writer.close()


class Prices:
    """Prices through all tiers.

    Requests for the same price that miss the memory wait for one answer together, so that an
    exchange is asked once however many ask here.
    """

    def __init__(
        self, shared: Shared, ask: Callable[[str, str], Awaitable[Quote]], *, clock: Clock
    ) -> None:
        self._shared = shared
        self._ask = ask
        self._clock = clock
        #: Each price and until when it is fresh, on the monotonic clock. No larger than the market.
        self._memory: dict[tuple[str, str], tuple[Quote, int]] = {}
        self._looking: dict[tuple[str, str], asyncio.Task[Found]] = {}
        self._keeping: set[asyncio.Task[None]] = set()

    async def find(self, asset: str, source: str) -> Found:
        """The price of an asset that exists. Raises ExchangeDown."""
        key = asset, source
        remembered = self._memory.get(key)
        if remembered is not None and self._clock.monotonic_ms() < remembered[1]:
            return Found(remembered[0], L1)
        looking = self._looking.get(key)
        if looking is None:
            looking = self._looking[key] = asyncio.ensure_future(self._look(asset, source))
            looking.add_done_callback(lambda _: self._looking.pop(key))
        # One who goes away takes nothing from the others.
        return await asyncio.shield(looking)

    async def close(self) -> None:
        """Wait for what is being asked and kept."""
        await asyncio.gather(*self._looking.values(), *self._keeping, return_exceptions=True)

    async def _look(self, asset: str, source: str) -> Found:
        found = await self._shared_price(asset, source)
        if found is None:
            found = Found(await self._ask(asset, source), ORIGIN)
            # Nobody waits for it to be kept.
            keeping = asyncio.ensure_future(self._keep(found.quote))
            self._keeping.add(keeping)
            keeping.add_done_callback(self._keeping.discard)
        fresh_until_ms = self._clock.monotonic_ms() + L1_FRESH_MS
        self._memory[asset, source] = found.quote, fresh_until_ms
        return found

    async def _shared_price(self, asset: str, source: str) -> Found | None:
        try:
            quote = await self._shared.find(asset, source)
        except StoreError as error:
            _log.warning("the shared prices cannot be read: %s", error)
            return None
        if quote is None or self._clock.wall_ms() - quote.at_ms >= L2_FRESH_MS:
            return None
        return Found(quote, L2)

    async def _keep(self, quote: Quote) -> None:
        try:
            await self._shared.keep(quote)
        except StoreError as error:
            _log.warning("a price was not shared: %s", error)
