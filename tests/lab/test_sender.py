"""What `forebay produce` sends, at what rate, and what it says of what was not sent."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Any
from uuid import UUID

import pytest

from forebay.client.base import SqsClient
from forebay.client.retry import RetryPolicy
from forebay.errors import ServiceUnreachable, SettingsError
from forebay.lab.sender import Payloads, Sent, payloads, send_payloads
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    BatchResultErrorEntry,
    SendMessageBatchRequest,
    SendMessageBatchResult,
)
from forebay.protocol.errors import SqsError
from tests.runtime.engine_client import EngineClient
from tests.runtime.virtual_time import START_S, LoopClock, run


def poisoned(plan: Payloads, most: int = 100) -> list[int]:
    """The places of poison."""
    made = islice(payloads(plan, random.Random(7)), most)
    return [place for place, payload in enumerate(made) if payload.get("poison")]


def test_a_payload_is_an_id_and_work() -> None:
    made = list(payloads(Payloads(n=500), random.Random(7)))
    assert {tuple(payload) for payload in made} == {("id", "work")}
    assert len({payload["id"] for payload in made}) == 500
    assert all(UUID(payload["id"]).version == 4 for payload in made)
    work = [payload["work"] for payload in made]
    assert 1 <= min(work) < 50 < 950 < max(work) <= 1000


def test_poison_has_the_word_in_its_work() -> None:
    [payload] = payloads(Payloads(n=1, poison_every=1), random.Random(7))
    assert list(payload) == ["id", "poison", "work"]
    assert (payload["poison"], payload["work"]) == (True, "POISON")


@pytest.mark.parametrize(
    ("plan", "places"),
    [
        (Payloads(n=10), []),
        (Payloads(n=10, poison_every=3), [2, 5, 8]),
        (Payloads(n=3, poison_every=1), [0, 1, 2]),
        (Payloads(n=2, poison_every=3), []),
        (Payloads(n=0, poison_every=40), [39, 79]),
        (Payloads(n=10, poison_every=5, poison_count=7), [4, 9]),
        (Payloads(n=0, poison_every=50, poison_count=7), [49, 99]),
    ],
)
def test_every_nth_is_poison(plan: Payloads, places: list[int]) -> None:
    assert poisoned(plan) == places


@pytest.mark.parametrize("count", [1, 5, 10])
def test_a_count_of_poison_is_spread(count: int) -> None:
    assert len(poisoned(Payloads(n=10, poison_count=count))) == count


def test_the_same_seed_sends_the_same() -> None:
    plan = Payloads(n=20, poison_count=3)
    first, again, other = (list(payloads(plan, random.Random(seed))) for seed in ("a", "a", "b"))
    assert first == again != other


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"n": -1}, "--n is -1; it must be at least 0"),
        ({"poison_every": -1}, "--poison-every is -1; it must be at least 0"),
        ({"poison_count": -1}, "--poison-count is -1; it must be at least 0"),
        ({"n": 0, "poison_count": 1}, "--n 0 has no end. Say --poison-every instead"),
        ({"n": 3, "poison_count": 4}, "--poison-count is 4; it must be at most --n, which is 3"),
    ],
)
def test_what_does_not_fit_together_is_refused(values: dict[str, int], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Payloads(**values)


class Unwell(SqsClient):
    """Passes batches on, but for what `fail` says of each entry by its payload's place."""

    def __init__(self, client: SqsClient, fail: Callable[[int, int], str | None]) -> None:
        self._client = client
        self._fail = fail
        self._tries: dict[str, int] = {}

    async def call(self, request: AnyRequest, **options: Any) -> AnyResult:
        if not isinstance(request, SendMessageBatchRequest):
            return await self._client.call(request, **options)
        failed, passed = [], []
        for entry in request.entries:
            place = json.loads(entry.message_body)["place"]
            tries = self._tries[entry.message_body] = self._tries.get(entry.message_body, 0) + 1
            code = self._fail(place, tries)
            if code is None:
                passed.append(entry)
            else:
                failed.append(
                    BatchResultErrorEntry(
                        id=entry.id,
                        sender_fault=code != "InternalError",
                        code=code,
                        message="because",
                    )
                )
        successful: list[Any] = []
        if passed:
            answer = await self._client.call(
                SendMessageBatchRequest(queue_url=request.queue_url, entries=passed), **options
            )
            assert isinstance(answer, SendMessageBatchResult)
            successful = answer.successful or []
        return SendMessageBatchResult(successful=successful, failed=failed)


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"id": f"id-{place}", "place": place} for place in range(count)]


def sending(scenario: Callable[[EngineClient], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await scenario(EngineClient())

    run(main())


def batches(client: EngineClient) -> list[int]:
    return [
        len(request.entries)
        for request in client.requests
        if isinstance(request, SendMessageBatchRequest)
    ]


@pytest.mark.parametrize(("size", "sizes"), [(10, [10, 10, 5]), (4, [4] * 6 + [1]), (1, [1] * 25)])
def test_messages_leave_in_batches_of_the_size_as_plain_json(size: int, sizes: list[int]) -> None:
    async def scenario(client: EngineClient) -> None:
        url = await client.create("orders")
        told: list[int] = []
        sent = await send_payloads(
            client,
            url,
            numbered(25),
            clock=LoopClock(),
            batch_size=size,
            progress=lambda so_far: told.append(so_far.sent),
        )
        assert sent == Sent(sent=25)
        assert batches(client) == sizes
        assert told[-1] == 25
        assert sorted(told) == told
        bodies = [json.loads(message.body) for message in await client.everything_in(url)]
        assert sorted(bodies, key=lambda body: body["place"]) == numbered(25)

    sending(scenario)


@pytest.mark.parametrize(("rate", "least_s"), [(5, 4.0), (100, 0.2), (0, 0.0)])
def test_no_more_are_sent_in_a_second_than_the_rate(rate: float, least_s: float) -> None:
    async def scenario(client: EngineClient) -> None:
        url = await client.create("orders")
        await send_payloads(client, url, numbered(30), clock=LoopClock(), rate=rate)
        took_s = asyncio.get_running_loop().time() - START_S
        assert least_s <= took_s <= least_s + 0.1

    sending(scenario)


def test_a_fifo_queue_gets_them_in_order_in_one_group_each_once() -> None:
    async def scenario(client: EngineClient) -> None:
        url = await client.create("orders.fifo", VisibilityTimeout=30)
        for _ in range(2):
            await send_payloads(client, url, numbered(35), clock=LoopClock(), group="tenant-1")
        places: list[int] = []
        while messages := await client.receive(url, wait_s=0):
            places += [json.loads(message.body)["place"] for message in messages]
            for message in messages:
                await client.delete(url, message)
        assert places == list(range(35))

    sending(scenario)


def test_what_fails_for_a_while_is_sent_again() -> None:
    async def scenario(client: EngineClient) -> None:
        url = await client.create("orders")
        unwell = Unwell(
            client, lambda place, tries: "InternalError" if tries <= place % 3 else None
        )
        sent = await send_payloads(unwell, url, numbered(30), clock=LoopClock())
        assert sent == Sent(sent=30)
        assert await client.counts(url) == (30, 0)

    sending(scenario)


def test_what_cannot_be_sent_is_counted_with_its_reason_and_the_rest_is_sent() -> None:
    async def scenario(client: EngineClient) -> None:
        url = await client.create("orders")
        unwell = Unwell(client, lambda place, _: "InvalidMessageContents" if place < 3 else None)
        sent = await send_payloads(unwell, url, numbered(30), clock=LoopClock())
        assert (sent.sent, sent.not_sent) == (27, 3)
        assert list(sent.reasons.values()) == [3]
        assert "because" in next(iter(sent.reasons))

    sending(scenario)


def test_an_outage_longer_than_the_patience_is_told() -> None:
    async def scenario(client: EngineClient) -> None:
        url = await client.create("orders")

        def away(request: AnyRequest) -> None:
            raise ServiceUnreachable("away")

        client.before = away
        retry = RetryPolicy(deadline_ms=2_000)
        sent = await send_payloads(client, url, numbered(5), clock=LoopClock(), retry=retry)
        assert (sent.sent, sent.not_sent, dict(sent.reasons)) == (0, 5, {"away": 5})

    sending(scenario)


def test_a_queue_that_is_not_there_ends_it_at_once() -> None:
    async def scenario(client: EngineClient) -> None:
        with pytest.raises(SqsError, match="does not exist"):
            await send_payloads(
                client, "http://sqs.test/000000000000/none", numbered(5_000), clock=LoopClock()
            )
        assert len(batches(client)) < 50

    sending(scenario)


def test_once_it_is_told_to_stop_nothing_more_is_begun() -> None:
    async def scenario(client: EngineClient) -> None:
        url = await client.create("orders")
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(4.3, stop.set)
        sent = await send_payloads(
            client,
            url,
            payloads(Payloads(n=0), random.Random(7)),
            clock=LoopClock(),
            rate=10,
            batch_size=5,
            stop=stop,
        )
        assert sent == Sent(sent=45)
        assert asyncio.get_running_loop().time() - START_S < 5

    sending(scenario)
