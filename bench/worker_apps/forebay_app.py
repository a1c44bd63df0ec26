"""A Forebay worker with a handler that does nothing, with default settings."""

from __future__ import annotations

import asyncio
import logging
import os

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


async def main() -> None:
    """Work until SIGTERM."""
    async with HttpSqsClient(os.environ["AWS_ENDPOINT_URL_SQS"]) as client:
        await run_until_signalled(Worker(client, os.environ["QUEUE_URL"], router))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
