"""The side effect of a message: what it is, and doing it once."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from forebay.clock import Clock
from forebay.errors import ForebayError
from forebay.idempotency import Attempt, CheckBeforeDoing, Guard, MessageStatus, SideEffect
from forebay.idempotency.keys import keys_of
from forebay.lab.consumer.crashes import Crashes
from forebay.lab.consumer.delivery import Delivery
from forebay.lab.consumer.lines import append_line
from forebay.lab.consumer.settings import ConsumerSettings
from forebay.lab.consumer.steps import Note, Step, StepKind
from forebay.lab.consumer.tables import Begun, Tables
from forebay.lab.outside.client import OutsideBusy, OutsideClient

#: How long a duplicate waits for the effect that another consumer is doing, in milliseconds: longer
#: than the lease of one that dies. Whoever gives the message back spends one of its few receives.
WAIT_MS = 60_000


#: How long after the outside service was busy with an effect it is asked again, in seconds.
_ASK_AGAIN_S = 0.5


class Effects:
    """Does side effects as the settings say: with a delay, in a table or an outside service."""

    def __init__(
        self,
        settings: ConsumerSettings,
        tables: Tables,
        crashes: Crashes,
        *,
        clock: Clock,
        note: Note,
        outside: OutsideClient | None,
        without: frozenset[str],
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._crashes = crashes
        self._clock = clock
        self._note = note
        self._outside = outside
        self._without = without
        keys = tables.keys
        self._guard = None if keys is None else Guard(keys, clock=clock, wait_ms=WAIT_MS)

    async def once(self, delivery: Delivery, status: MessageStatus) -> None:
        """Do the effect of a message that was started, unless it was done.

        Raises Retry while another consumer is at it, and what the effect raises.
        """
        if "idempotency" in self._without:
            await self._again(delivery)
            return
        received, by, ignore = delivery.received, *self._business_key(delivery)
        if "business-key" in self._without:
            received = replace(received, key=None)
        if self._guard is None:
            # There is no table that others could see, so only the outside service can know.
            await self._do(delivery, keys_of(received, delivery.fields, by, delivery.action)[-1])
            self._recorded(delivery)
            return
        done_now = False

        async def effect(attempt: Attempt) -> None:
            nonlocal done_now
            await self._do(delivery, attempt.key)
            done_now = True

        begun = Begun(self._tables.effects, status, lambda: self._recorded(delivery))
        await CheckBeforeDoing(self._guard, begun).once(
            received, effect, by=by, action=delivery.action, ignore=ignore
        )
        if not done_now:
            self._note(Step(kind=StepKind.SKIPPED, id=delivery.id, text="its effect was done"))

    async def _again(self, delivery: Delivery) -> None:
        """Do the effect without looking whether it was done."""
        await self._do(delivery, None)
        if self._tables.effects is not None:
            receive = f"{delivery.id}/receive {delivery.received.receive_count}"
            now_ms = self._clock.wall_ms()
            await self._tables.effects.record_effect(receive, SideEffect(now_ms, None, delivery.id))
        self._recorded(delivery)

    async def _do(self, delivery: Delivery, key: str | None) -> None:
        settings = self._settings
        field = settings.side_effect_log_field
        if settings.side_effect_log_path and field not in delivery.fields:
            raise FieldMissing(
                f"The payload of message {delivery.id} has no field {field!r}, which"
                " SIDE_EFFECT_LOG_FIELD names."
            )
        await self._clock.sleep(settings.side_effect_delay_seconds)
        if self._outside is not None:
            if "idempotency-key" in self._without:
                key = None
            await self._perform_outside(self._outside, delivery, key)
            self._note_performed(delivery)
            # The hardest moment: it is done, and nobody here has written it down.
            self._crashes.after_effect(delivery)
        if settings.side_effect_log_path:
            append_line(Path(settings.side_effect_log_path), delivery.fields[field])

    async def _perform_outside(
        self, outside: OutsideClient, delivery: Delivery, key: str | None
    ) -> None:
        """Ask for the effect, again while another consumer's request of this key is under way."""
        until_ms = self._clock.monotonic_ms() + WAIT_MS
        while True:
            try:
                await outside.perform(delivery.action, self._subject(delivery), key)
            except OutsideBusy:
                if self._clock.monotonic_ms() >= until_ms:
                    raise
                await self._clock.sleep(_ASK_AGAIN_S)
            else:
                return

    def _recorded(self, delivery: Delivery) -> None:
        if self._outside is None:
            self._note_performed(delivery)
            self._crashes.after_effect(delivery)

    def _note_performed(self, delivery: Delivery) -> None:
        value = delivery.fields.get(self._settings.side_effect_log_field)
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0
        self._note(
            Step(
                kind=StepKind.PERFORMED,
                id=delivery.id,
                subject=delivery.received.group_id or self._subject(delivery),
                value=number,
            )
        )

    def _subject(self, delivery: Delivery) -> str:
        """To what the effect is done: the business fact, or else the message."""
        field = self._settings.business_idempotency_field
        return str(delivery.fields[field]) if delivery.has_key(field) else delivery.id

    def _business_key(self, delivery: Delivery) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The field of the business key, and those in which two messages of one fact may differ."""
        field = self._settings.business_idempotency_field
        if "business-key" in self._without or not delivery.has_key(field):
            return (), ()
        return (field,), tuple(name for name in delivery.fields if name not in (field, "action"))


class FieldMissing(ForebayError):
    """The payload lacks a field that a setting names."""
