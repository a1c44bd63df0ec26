"""The outside service over HTTP: what it does, answers and refuses."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.clock import Clock
from forebay.idempotency import payload_digest
from forebay.lab.outside.ledger import EffectLedger, PerformedEffect
from forebay.lab.outside.wire import (
    CALLER_HEADER,
    KEY_HEADER,
    REPLAYED_HEADER,
    OutsideAnswer,
    OutsideSettings,
    Refusal,
)
from forebay.worker.waiting import wait_at_most


class _Refused(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


class OutsideService:
    """Does each effect that it is asked for, as a service does that takes payments.

    `POST /effects/ACTION` with a JSON object that has a `subject`. With an Idempotency-Key an
    effect is done once: the same key and body get the stored answer, with the header
    `Idempotency-Replayed: true`; 409 while the first is at it; 422 for another action or body.
    Without a key it is done every time. An effect is on the disk before it is answered. One that
    is declined (402) has not happened, and its key may come again.

    `GET /effects` lists what was done; `GET` and `PUT /settings` show and change the settings.
    """

    def __init__(
        self, ledger: EffectLedger, *, clock: Clock, settings: OutsideSettings | None = None
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._settings = settings or OutsideSettings()
        #: The digests of the keys whose effect is being done.
        self._under_way: dict[str, bytes] = {}
        self._stopping = asyncio.Event()

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/effects/{action:path}", self._post_effect, methods=["POST"]),
                Route("/effects", self._get_effects, methods=["GET"]),
                Route("/settings", self._settings_of, methods=["GET", "PUT"]),
            ]
        )

    def stop(self) -> None:
        """Do no further effect: those that wait for their delay are answered with 503."""
        self._stopping.set()

    async def _post_effect(self, request: Request) -> Response:
        action = request.path_params["action"]
        key = request.headers.get(KEY_HEADER)
        try:
            body = _read_object(await request.body())
            delay_s = _delay_s(request.query_params.get("delay_s")) or self._settings.delay_s
            if key is None:
                done = await self._perform(action, body, None, request, delay_s)
                return _json(_answer(done))
            digest = _digest(action, body)
            self._claim(key, digest)
            try:
                done_before = await self._ledger.find(key)
                if done_before is None:
                    done = await self._perform(action, body, key, request, delay_s)
                    return _json(_answer(done))
            finally:
                del self._under_way[key]
            if _digest(done_before.action, _read_object(bytes(done_before.body))) != digest:
                raise _another(key)
            return _json(_answer(done_before), headers={REPLAYED_HEADER: "true"})
        except _Refused as refused:
            return _json(Refusal(str(refused)), status=refused.status)

    def _claim(self, key: str, digest: bytes) -> None:
        under_way = self._under_way.get(key)
        if under_way is None:
            self._under_way[key] = digest
            return
        if under_way != digest:
            raise _another(key)
        raise _Refused(409, f"The effect of the Idempotency-Key {key!r} is being done just now.")

    async def _perform(
        self,
        action: str,
        body: dict[str, object],
        key: str | None,
        request: Request,
        delay_s: float,
    ) -> PerformedEffect:
        subject = str(body["subject"])
        if delay_s:
            await wait_at_most(self._clock, delay_s, self._stopping)
        if self._stopping.is_set():
            raise _Refused(503, f"The service stops; {action} of {subject} is not done.")
        for declined in self._settings.declines:
            if declined in (action, subject):
                raise _Refused(402, f"{action} of {subject} is declined.")
        return await self._ledger.add(
            action,
            subject,
            at_ms=self._clock.wall_ms(),
            key=key,
            body=msgspec.json.encode(body),
            caller=request.headers.get(CALLER_HEADER, ""),
        )

    async def _get_effects(self, _: Request) -> Response:
        return _json(await self._ledger.effects())

    async def _settings_of(self, request: Request) -> Response:
        if request.method == "PUT":
            try:
                self._settings = msgspec.json.decode(await request.body(), type=OutsideSettings)
            except msgspec.MsgspecError as error:
                return _json(Refusal(f"The settings cannot be read: {error}."), status=400)
        return _json(self._settings)


def _read_object(body: bytes) -> dict[str, object]:
    try:
        read = msgspec.json.decode(body, type=dict[str, object])
    except msgspec.MsgspecError as error:
        raise _Refused(400, f"The body must be a JSON object: {error}.") from error
    if not isinstance(read.get("subject"), str) or not read["subject"]:
        raise _Refused(400, "The body has no subject; it must be a text that is not empty.")
    return read


def _delay_s(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError as error:
        raise _Refused(400, f"delay_s is {text!r}; it must be a number of seconds.") from error


def _digest(action: str, body: dict[str, object]) -> bytes:
    return payload_digest({"action": action, "body": body})


def _another(key: str) -> _Refused:
    return _Refused(
        422, f"The Idempotency-Key {key!r} came with another action or body before; take a new key."
    )


def _answer(effect: PerformedEffect) -> OutsideAnswer:
    return OutsideAnswer(
        number=effect.number, at_ms=effect.at_ms, action=effect.action, subject=effect.subject
    )


def _json(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(value),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )
