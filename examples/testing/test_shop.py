"""Tests of handlers: no broker, no network, no waiting."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import shop
from shop import Order, app

from forebay.testing import WorkerHarness

ADA = "ada@example.org"


def run(story: Callable[[WorkerHarness], Awaitable[None]]) -> None:
    asyncio.run(_with_harness(story))


async def _with_harness(story: Callable[[WorkerHarness], Awaitable[None]]) -> None:
    async with app:
        await story(WorkerHarness(app))


def test_an_order_is_sold_and_its_ticket_is_mailed() -> None:
    async def story(harness: WorkerHarness) -> None:
        ended = await harness.perform(None, Order("A-12", ADA))
        assert ended.is_done
        harness.assert_enqueued("ticket", {"to": ADA}, queue="mail", count=1)

    run(story)


def test_a_seat_that_is_not_there_is_rejected() -> None:
    async def story(harness: WorkerHarness) -> None:
        ended = await harness.perform(None, Order("X-0", ADA))
        assert ended.is_rejected
        assert ended.reason == "there is no seat X-0"
        assert harness.enqueued == []

    run(story)


def test_while_the_bank_is_closed_orders_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop, "bank_is_open", False)

    async def story(harness: WorkerHarness) -> None:
        assert (await harness.perform(None, Order("A-12", ADA))).delay_s == 30

    run(story)


def test_whoever_is_not_done_at_first_is_done_at_last() -> None:
    async def story(harness: WorkerHarness) -> None:
        harness.enqueue("orders", None, Order("B-7", ADA))
        harness.enqueue("orders", None, Order("X-0", ADA))
        drained = await harness.drain("orders")
        assert (drained.done, drained.retried, drained.rejected) == (1, 1, 1)

    run(story)
