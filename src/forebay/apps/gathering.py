"""One durable act for all who wait, instead of one for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Gathering(Generic[ItemT, ResultT]):
    """Gathers what callers submit while the last lot is being done, then does it as one lot.

    `do` runs in the executor, one lot at a time, and answers each item with its result or with the
    exception its caller is to get. When `do` itself raises, every caller of the lot gets that.
    """

    def __init__(
        self,
        do: Callable[[Sequence[ItemT]], Sequence[ResultT | Exception]],
        executor: Executor,
        *,
        items_max: int,
    ) -> None:
        self._do = do
        self._executor = executor
        self._items_max = items_max
        self._waiting: list[tuple[ItemT, asyncio.Future[ResultT]]] = []
        self._doing: asyncio.Task[None] | None = None

    async def submit(self, item: ItemT) -> ResultT:
        """Have `item` done and return its result. A caller that is cancelled does not stop it."""
        answer: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._doing is None:
            self._doing = asyncio.create_task(self._do_lots())
        return await answer

    async def finish(self) -> None:
        """Return once everything submitted is done."""
        if self._doing is not None:
            await self._doing

    async def _do_lots(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            lot = self._waiting[: self._items_max]
            del self._waiting[: self._items_max]
            results: Sequence[ResultT | Exception]
            try:
                results = await loop.run_in_executor(
                    self._executor, self._do, [item for item, _ in lot]
                )
            except Exception as error:
                results = [error] * len(lot)
            for (_, answer), result in zip(lot, results, strict=True):
                if answer.done():
                    continue
                if isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)
        self._doing = None
