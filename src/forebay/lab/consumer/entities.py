"""Versions of entities: the newest is applied, in whatever order the messages come."""

from __future__ import annotations

from pathlib import Path

from forebay.clock import Clock
from forebay.idempotency import Applied, Attempt, Elsewhere, VersionError, Versions
from forebay.idempotency.versions import Version, VersionStore, version_number
from forebay.lab.consumer.crashes import Crashes
from forebay.lab.consumer.delivery import Delivery
from forebay.lab.consumer.effects import WAIT_MS
from forebay.lab.consumer.lines import append_line
from forebay.lab.consumer.settings import ConsumerSettings
from forebay.lab.consumer.steps import Note, Step, StepKind
from forebay.worker import Retry


class Entities:
    """Applies the versions that messages bring."""

    def __init__(
        self,
        settings: ConsumerSettings,
        store: VersionStore,
        crashes: Crashes,
        *,
        clock: Clock,
        note: Note,
        without: frozenset[str],
    ) -> None:
        self._settings = settings
        self._crashes = crashes
        self._clock = clock
        self._note = note
        self._checks = "versions" not in without
        self._versions = Versions(store, clock=clock, wait_ms=WAIT_MS)

    async def apply(self, delivery: Delivery) -> None:
        """Apply the version of a message unless its entity has a newer one.

        The line in VERSION_LOG_PATH is written while nobody else applies one of this entity, so
        the file is in the order of the state. Raises VersionError, and Retry while another
        consumer is at it.
        """
        settings = self._settings
        entity, version = self._read(delivery)
        number = version_number(version)
        if settings.version_seen_log_path:
            append_line(Path(settings.version_seen_log_path), version)

        async def apply(_: Attempt | None) -> None:
            await self._clock.sleep(settings.side_effect_delay_seconds)
            append_line(Path(settings.version_log_path), version)
            self._note(Step(kind=StepKind.APPLIED, id=delivery.id, subject=entity, value=number))

        if not self._checks:
            await apply(None)
            self._crashes.after_effect(delivery)
            return
        outcome = await self._versions.apply_if_newer(
            entity, version, apply, delivery=delivery.received
        )
        if isinstance(outcome, Elsewhere):
            raise Retry(outcome.remaining_s)
        if isinstance(outcome, Applied):
            self._crashes.after_effect(delivery)
        else:
            self._note(Step(kind=StepKind.SKIPPED, id=delivery.id, text="its version is stale"))

    def _read(self, delivery: Delivery) -> tuple[str, Version]:
        settings = self._settings
        if not delivery.has_key(settings.entity_key):
            raise VersionError(
                f"The payload of message {delivery.id} names no entity: its field"
                f" {settings.entity_key!r}, as ENTITY_KEY says, must be a text or a number."
            )
        if settings.version_key not in delivery.fields:
            raise VersionError(
                f"The payload of message {delivery.id} has no field {settings.version_key!r},"
                " which VERSION_KEY names."
            )
        return str(delivery.fields[settings.entity_key]), delivery.fields[settings.version_key]
