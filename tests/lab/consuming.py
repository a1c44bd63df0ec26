"""Consumers on the broker's real engine, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, NoReturn, cast

from forebay.clock import Clock
from forebay.errors import ServiceUnreachable
from forebay.idempotency import MemoryIdempotencyStore, MessageStatus
from forebay.lab.consumer import Consumed, Step, StepKind, consume, read_settings
from forebay.lab.consumer.tables import Tables
from forebay.protocol.actions import AnyRequest
from tests.runtime.engine_client import EngineClient
from tests.runtime.virtual_time import START_S, LoopClock, run


class Crashed(BaseException):
    """The consumer's process is gone."""


class Bench:
    """A queue with its dead-letter queue, two tables, and what consumers do with them."""

    def __init__(self, client: EngineClient, url: str, clock: Clock | None = None) -> None:
        self.client = client
        self.clock = clock or LoopClock()
        self.url = url
        self.store = MemoryIdempotencyStore()
        self.tables = Tables(
            status=self.store, effects=self.store, keys=self.store, versions=self.store
        )
        self.steps: list[Step] = []

    @property
    def dead_url(self) -> str:
        if self.url.endswith(".fifo"):
            return self.url.replace(".fifo", "-dlq.fifo")
        return f"{self.url}-dlq"

    async def send(self, *bodies: dict[str, Any] | str, group_id: str | None = None) -> None:
        for body in bodies:
            await self.client.send(self.url, body, group_id=group_id)

    async def consume(
        self,
        *,
        tables: Tables | None = None,
        without: Collection[str] = (),
        seed: str | None = None,
        **variables: object,
    ) -> Consumed:
        """One consumer, to its end; by default that is when nothing has come for 20 s.

        Raises Crashed when it crashes: then what it held stays hidden, as after a crash.
        """
        given = {"QUEUE_URL": self.url, "IDLE_TIMEOUT_SECONDS": 20, **variables}
        settings = read_settings({name: str(value) for name, value in given.items()})
        process: asyncio.Task[Consumed]
        crashed: list[int] = []

        def leave(code: int) -> NoReturn:
            crashed.append(code)
            process.cancel()
            raise Crashed

        client = _Mortal(self.client, crashed)
        process = asyncio.ensure_future(
            consume(
                settings,
                client=client,
                tables=tables or self.tables,
                clock=self.clock,
                without=without,
                note=self.steps.append,
                seed=seed,
                leave=leave,
            )
        )
        try:
            return await process
        except asyncio.CancelledError:
            if not crashed:
                raise
            raise Crashed(*crashed) from None

    async def status(self, message_id: str) -> MessageStatus:
        found = await self.store.find_message(message_id)
        assert found is not None
        return found

    async def left(self) -> tuple[int, int]:
        """Messages that are in the queue, and in its dead-letter queue."""
        counts = [await self.client.counts(url) for url in (self.url, self.dead_url)]
        return sum(counts[0]), sum(counts[1])

    def ids(self, kind: StepKind) -> list[str]:
        """The messages of the steps of one kind, in order."""
        return [step.id for step in self.steps if step.kind is kind]

    def texts(self, kind: StepKind) -> list[str]:
        return [step.text for step in self.steps if step.kind is kind]

    @property
    def performed(self) -> list[str]:
        """The messages whose effect was done, each time it was."""
        return self.ids(StepKind.PERFORMED)


class _Mortal(EngineClient):
    """The client of a process: what it asks for after its crash never leaves it."""

    def __init__(self, shared: EngineClient, crashed: list[int]) -> None:
        super().__init__(clock=shared.clock)
        self._shared = shared
        self._crashed = crashed

    async def call(self, request: AnyRequest, **options: Any) -> Any:
        if self._crashed:
            raise ServiceUnreachable
        return await self._shared.call(request, **options)


def on_bench(
    scenario: Any, *, fifo: bool = False, visibility_s: int = 10, max_receive_count: int = 3
) -> None:
    """Run a coroutine function of a bench to its end, in virtual time."""

    async def main() -> None:
        client = EngineClient()
        url = await client.create(
            "orders.fifo" if fifo else "orders",
            VisibilityTimeout=visibility_s,
            max_receive_count=max_receive_count,
        )
        await cast("Coroutine[Any, Any, None]", scenario(Bench(client, url)))

    run(main())


def elapsed_s() -> float:
    """Virtual seconds since the beginning."""
    return asyncio.get_running_loop().time() - START_S
