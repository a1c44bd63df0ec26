"""Waiting for an event, but not for ever."""

from __future__ import annotations

import asyncio

from forebay.clock import Clock


async def wait_at_most(clock: Clock, duration_s: float, event: asyncio.Event) -> None:
    """Wait until the event is set, or for so long by this clock."""
    timer = asyncio.ensure_future(clock.sleep(duration_s))
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((timer, waiter), return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        waiter.cancel()
