"""The outside service without a server: replays, conflicts, refusals and its ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from starlette.applications import Starlette

from forebay.clock import ManualClock
from forebay.lab.outside.ledger import EffectLedger, read_effects
from forebay.lab.outside.service import OutsideService
from forebay.lab.outside.wire import OutsideSettings
from tests.apps.asgi import Answer, ask


class WatchedClock(ManualClock):
    """A clock that tells when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = asyncio.Event()

    async def sleep(self, duration_s: float) -> None:
        if duration_s:
            self.awaited.set()
        await super().sleep(duration_s)


class Outside:
    """The service, and what is asked of it."""

    def __init__(self, ledger: EffectLedger, path: Path, settings: OutsideSettings) -> None:
        self.clock = WatchedClock()
        self.path = path
        service = OutsideService(ledger, clock=self.clock, settings=settings)
        self.application: Starlette = service.application()

    async def perform(
        self,
        subject: str = "order-1",
        key: str | None = None,
        *,
        action: str = "charge",
        query: str = "",
        **body: object,
    ) -> Answer:
        headers = {"Caller": "consumer-1"} | ({} if key is None else {"Idempotency-Key": key})
        return await ask(
            self.application,
            "POST",
            f"/effects/{action}",
            headers=headers,
            body=msgspec.json.encode({"subject": subject, **body}),
            query=query.encode(),
        )


@pytest.fixture
def settings() -> OutsideSettings:
    return OutsideSettings()


@pytest.fixture
async def outside(tmp_path: Path, settings: OutsideSettings) -> AsyncIterator[Outside]:
    path = tmp_path / "outside.db"
    ledger = await EffectLedger.open(path)
    yield Outside(ledger, path, settings)
    await ledger.close()


async def test_without_a_key_an_effect_is_done_every_time(outside: Outside) -> None:
    answers = [await outside.perform(amount=7) for _ in range(2)]
    assert [each.status for each in answers] == [200, 200]
    assert [each.json()["number"] for each in answers] == [1, 2]
    first = read_effects(outside.path)[0]
    assert (first.action, first.subject, first.key) == ("charge", "order-1", None)
    assert (first.caller, first.at_ms) == ("consumer-1", outside.clock.wall_ms())
    assert msgspec.json.decode(first.body) == {"subject": "order-1", "amount": 7}


async def test_the_same_key_and_body_get_the_stored_answer(outside: Outside) -> None:
    first = await outside.perform(key="k-1", amount=7)
    outside.clock.advance(1_000)
    again = await outside.perform(key="k-1", amount=7)
    assert again.status == 200
    assert again.body == first.body
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(read_effects(outside.path)) == 1


async def test_the_order_of_a_bodys_fields_makes_no_other_body(outside: Outside) -> None:
    for body in (b'{"subject":"s","a":1}', b'{ "a": 1, "subject": "s" }'):
        answer = await ask(
            outside.application,
            "POST",
            "/effects/charge",
            headers={"Idempotency-Key": "k-1"},
            body=body,
        )
        assert answer.status == 200
    assert len(read_effects(outside.path)) == 1


@pytest.mark.parametrize("other", [{"amount": 8}, {"subject": "order-2"}, {"action": "refund"}])
async def test_the_same_key_with_another_body_or_action_is_refused(
    outside: Outside, other: dict[str, str]
) -> None:
    await outside.perform(key="k-1")
    answer = await outside.perform(key="k-1", **other)
    assert answer.status == 422
    assert "'k-1' came with another action or body before" in answer.json()["error"]
    assert len(read_effects(outside.path)) == 1


@pytest.mark.parametrize(
    ("amount", "status", "says"),
    [(7, 409, "is being done just now"), (8, 422, "came with another action or body")],
)
async def test_the_same_key_while_the_first_is_at_it_is_refused(
    outside: Outside, amount: int, status: int, says: str
) -> None:
    first = asyncio.ensure_future(outside.perform(key="k-1", query="delay_s=5", amount=7))
    await outside.clock.awaited.wait()
    meanwhile = await outside.perform(key="k-1", amount=amount)
    assert meanwhile.status == status
    assert says in meanwhile.json()["error"]
    outside.clock.advance(5_000)
    assert (await first).status == 200
    assert (await outside.perform(key="k-1", amount=7)).headers["idempotency-replayed"] == "true"


async def test_the_service_knows_its_keys_again_after_a_restart(outside: Outside) -> None:
    first = await outside.perform(key="k-1")
    ledger = await EffectLedger.open(outside.path)
    restarted = Outside(ledger, outside.path, OutsideSettings())
    again = await restarted.perform(key="k-1")
    assert (again.body, again.headers["idempotency-replayed"]) == (first.body, "true")
    await ledger.close()


@pytest.mark.parametrize("settings", [OutsideSettings(declines=("order-1", "refund"))])
async def test_what_is_declined_has_not_happened(outside: Outside) -> None:
    assert (await outside.perform("order-1", "k-1")).status == 402
    assert (await outside.perform("order-2", "k-2", action="refund")).status == 402
    assert (await outside.perform("order-2", "k-3")).status == 200
    assert [each.key for each in read_effects(outside.path)] == ["k-3"]


@pytest.mark.parametrize("settings", [OutsideSettings(declines=("order-1",))])
async def test_a_key_that_was_declined_may_come_again(outside: Outside) -> None:
    assert (await outside.perform(key="k-1")).status == 402
    answer = await ask(outside.application, "PUT", "/settings", body=b"{}")
    assert answer.json() == {"delay_s": 0.0, "declines": []}
    assert (await outside.perform(key="k-1")).status == 200


@pytest.mark.parametrize("settings", [OutsideSettings(delay_s=30)])
async def test_a_slow_service_does_an_effect_after_its_delay(outside: Outside) -> None:
    asking = asyncio.ensure_future(outside.perform())
    await outside.clock.awaited.wait()
    assert read_effects(outside.path) == []
    outside.clock.advance(30_000)
    assert (await asking).status == 200


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "must be a JSON object"),
        (b"[1]", "must be a JSON object"),
        (b"{}", "The body has no subject"),
        (b'{"subject": 7}', "The body has no subject"),
        (b'{"subject": ""}', "The body has no subject"),
    ],
)
async def test_a_body_without_a_subject_is_refused(
    outside: Outside, body: bytes, says: str
) -> None:
    answer = await ask(outside.application, "POST", "/effects/charge", body=body)
    assert answer.status == 400
    assert says in answer.json()["error"]
    assert read_effects(outside.path) == []


@pytest.mark.parametrize("body", [b"", b'{"delay_s": -1}', b'{"delay": 1}'])
async def test_settings_that_are_none_are_refused(outside: Outside, body: bytes) -> None:
    assert (await ask(outside.application, "PUT", "/settings", body=body)).status == 400


async def test_the_ledger_is_listed(outside: Outside) -> None:
    await outside.perform(key="k-1", amount=7)
    answer = await ask(outside.application, "GET", "/effects")
    assert msgspec.json.decode(answer.body) == [
        {
            "number": 1,
            "at_ms": outside.clock.wall_ms(),
            "action": "charge",
            "subject": "order-1",
            "key": "k-1",
            "body": {"subject": "order-1", "amount": 7},
            "caller": "consumer-1",
        }
    ]
