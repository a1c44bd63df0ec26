"""Faults between a broker and its clients: refusals, duplicates, disorder, lost and late answers.

A fault never breaks a promise of SQS. What is refused is not carried out; what is carried out stays
durable, even when its answer is lost; only standard queues deliver twice or out of order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from forebay.broker.broker import Broker
from forebay.broker.core.engine import Caller
from forebay.broker.polls import Answer, ParkedPoll, Reply
from forebay.clock import Clock
from forebay.errors import SettingsError
from forebay.fault_injection import FaultPlane, FaultRates
from forebay.protocol.actions import (
    ACTION_OF,
    AnyRequest,
    ChangeMessageVisibilityRequest,
    ReceiveMessageRequest,
    ReceiveMessageResult,
)
from forebay.protocol.errors import REQUEST_THROTTLED, SqsError
from forebay.protocol.identifiers import FIFO_SUFFIX


def read_rates(path: Path) -> FaultRates:
    """The rates in a TOML file. Raises SettingsError, which names the file and the field."""
    try:
        rates = msgspec.toml.decode(path.read_bytes(), type=FaultRates)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise SettingsError(f"The fault rates in {path} could not be read: {error}.") from error
    for name in ("duplicate", "reorder", "lose_reply"):
        if not 0 <= getattr(rates, name) <= 1:
            raise SettingsError(f"{path}: {name} is {getattr(rates, name)}; it must be 0 to 1.")
    for name in ("latency_ms", "calls_per_second"):
        if getattr(rates, name) < 0:
            raise SettingsError(
                f"{path}: {name} is {getattr(rates, name)}; it must not be negative."
            )
    return rates


class FaultySubmit:
    """Hands requests to a broker, and gets in the way as a fault plane says."""

    def __init__(self, broker: Broker, plane: FaultPlane, clock: Clock) -> None:
        self._broker = broker
        self._plane = plane
        self._clock = clock
        self._loop = asyncio.get_running_loop()

    def submit(
        self, request: AnyRequest, caller: Caller, reply: Reply, lose: Callable[[], None]
    ) -> ParkedPoll | None:
        """As `Broker.submit`. `lose` is called instead of `reply` when the answer is lost."""
        queue_url = getattr(request, "queue_url", "")
        fifo = queue_url.endswith(FIFO_SUFFIX)
        action = ACTION_OF[type(request)].name
        now_ms = self._clock.monotonic_ms()
        if self._plane.throttles(action, queue_url, fifo=fifo, now_ms=now_ms):
            self._loop.call_soon(reply, SqsError(REQUEST_THROTTLED))
            return None

        def deliver(answer: Answer) -> None:
            if isinstance(request, ReceiveMessageRequest) and not fifo:
                self._disturb(answer, queue_url, caller)
            if self._plane.loses_reply():
                lose()
                return
            latency_s = self._plane.latency_s()
            if latency_s:
                self._loop.call_later(latency_s, reply, answer)
            else:
                reply(answer)

        return self._broker.submit(request, caller, deliver)

    def _disturb(self, answer: Answer, queue_url: str, caller: Caller) -> None:
        """Deliver some messages twice, by making them visible again, and change the order."""
        if not isinstance(answer, ReceiveMessageResult) or not answer.messages:
            return
        for message in answer.messages:
            if self._plane.duplicates():
                again = ChangeMessageVisibilityRequest(
                    queue_url=queue_url,
                    receipt_handle=message.receipt_handle,
                    visibility_timeout=0,
                )
                self._broker.submit(again, caller, _unheard)
        self._plane.reorder(answer.messages)


def _unheard(_: Answer) -> None:
    """Nobody waits for the answer to a fault."""
