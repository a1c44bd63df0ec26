"""Crashing on purpose, as the variables say."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from forebay.lab.consumer.delivery import Delivery
from forebay.lab.consumer.settings import ConsumerSettings
from forebay.lab.consumer.steps import Note, Step, StepKind

#: How a crash ends the process. Source: EX_SOFTWARE of sysexits.h.
CRASH_EXIT_CODE = 70

#: Ends the process at once with an exit code: without draining, closing or cleaning up.
Leave = Callable[[int], None]


class Crashes:
    """Decides where the process crashes, and lets it."""

    def __init__(
        self,
        settings: ConsumerSettings,
        *,
        seed: int | str | None,
        note: Note,
        leave: Leave = os._exit,
    ) -> None:
        self._settings = settings
        self._seed = seed
        self._note = note
        self._leave = leave

    def before_effect(self, delivery: Delivery) -> None:
        """The message was received, and its effect has not begun."""
        if self._strikes(delivery):
            self._crash(delivery, "CRASH_RATE")
        if self._settings.crash_after_receive:
            self._crash(delivery, "CRASH_AFTER_RECEIVE")

    def after_effect(self, delivery: Delivery) -> None:
        """The effect was done now, and the message is not marked complete."""
        if self._settings.crash_after_side_effect:
            self._crash(delivery, "CRASH_AFTER_SIDE_EFFECT")

    def _strikes(self, delivery: Delivery) -> bool:
        """Whether CRASH_RATE strikes at this receive.

        With a seed that depends on the message and on how often it was received, and on nothing
        else: another order of messages crashes at the same ones, and one that is started again
        after a crash is not bound to crash at the same message.
        """
        if not self._settings.crash_rate:
            return False
        received = delivery.received
        dice = (
            random.Random()
            if self._seed is None
            else random.Random(f"{self._seed}/{received.id}/{received.receive_count}")
        )
        return dice.random() < self._settings.crash_rate

    def _crash(self, delivery: Delivery, variable: str) -> None:
        self._note(Step(kind=StepKind.CRASH, id=delivery.id, text=variable))
        self._leave(CRASH_EXIT_CODE)
