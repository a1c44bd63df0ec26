"""A Forebay worker with a handler that does nothing, with default settings."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop
from msgspec import Struct

from forebay import HttpSqsClient, Received, Router, Worker, run_until_signalled


class Nothing(Struct):
    """What its messages carry."""

    number: int


router = Router()


@router.handler("nothing", Nothing)
async def nothing(received: Received[Nothing]) -> None:
    """Does nothing."""


@asynccontextmanager
async def worker() -> AsyncIterator[Worker]:
    """The worker of the queue QUEUE, for this script and for `forebay worker run`."""
    async with HttpSqsClient() as client:
        yield Worker(client, os.environ["QUEUE"], router)


async def main() -> None:
    """Work until SIGTERM."""
    async with worker() as made:
        await run_until_signalled(made)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
