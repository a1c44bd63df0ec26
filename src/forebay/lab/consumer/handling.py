"""What a consumer does with one message, step by step.

1. It is STARTED in the table of statuses, once more for each receive.
2. One that is COMPLETED was done before: it is deleted.
3. One with REJECT_PAYLOAD_MARKER fails, and so does each receive of it.
4. One whose id is in the cache in memory was done before: it is deleted.
5. CRASH_RATE and CRASH_AFTER_RECEIVE strike.
6. The effect is looked for and done under a lease; with VERSIONING_ENABLED, the version is applied
   under a lease of its entity if it is newer.
7. CRASH_AFTER_SIDE_EFFECT strikes.
8. The message is COMPLETED, and the worker deletes it.
"""

from __future__ import annotations

from collections import OrderedDict

from forebay.client.base import SqsClient
from forebay.clock import Clock
from forebay.errors import ForebayError, with_type
from forebay.idempotency import Status, payload_digest
from forebay.idempotency.keys import wire_payload
from forebay.lab.consumer.crashes import Crashes
from forebay.lab.consumer.delivery import Delivery, delivery_of
from forebay.lab.consumer.effects import Effects
from forebay.lab.consumer.entities import Entities
from forebay.lab.consumer.settings import ConsumerSettings
from forebay.lab.consumer.steps import Note, Step, StepKind
from forebay.lab.consumer.tables import Tables
from forebay.protocol.actions import DeleteMessageRequest
from forebay.worker import Received, Retry


class Poisoned(ForebayError):
    """The message has the text that REJECT_PAYLOAD_MARKER names. Its queue's redrive policy moves
    it to the dead-letter queue."""


class RecentIds:
    """The ids that were used last, at most so many. With 0 it knows none."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, message_id: str) -> bool:
        """Whether it is known. Asking is using."""
        if message_id not in self._ids:
            return False
        self._ids.move_to_end(message_id)
        return True

    def add(self, message_id: str) -> None:
        self._ids[message_id] = None
        self._ids.move_to_end(message_id)
        while len(self._ids) > self._size:
            self._ids.popitem(last=False)


class Handling:
    """Handles messages one at a time."""

    def __init__(
        self,
        settings: ConsumerSettings,
        tables: Tables,
        effects: Effects,
        entities: Entities | None,
        crashes: Crashes,
        *,
        client: SqsClient,
        clock: Clock,
        note: Note,
        without: frozenset[str],
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._effects = effects
        self._entities = entities
        self._crashes = crashes
        self._client = client
        self._clock = clock
        self._note = note
        self._without = without
        self._recent = RecentIds(settings.idempotency_cache_size)

    async def handle(self, received: Received[str]) -> None:
        """Handle a message. It may be deleted when this returns, and comes again when it raises."""
        delivery = delivery_of(received)
        if "late-delete" in self._without:
            await self._client.delete_message(
                DeleteMessageRequest(
                    queue_url=received.queue_url,
                    receipt_handle=received.lease.message.receipt_handle,
                )
            )
        try:
            await self._handle(delivery)
        except Retry:
            raise
        except Exception as error:
            reason = with_type(error)
            self._note(Step(kind=StepKind.FAILED, id=delivery.id, text=reason))
            await self._tables.fail(delivery.id, reason, self._clock.wall_ms())
            raise
        await self._tables.complete(delivery.id, self._clock.wall_ms())
        self._recent.add(delivery.id)

    async def _handle(self, delivery: Delivery) -> None:
        checks = "idempotency" not in self._without
        digest = payload_digest(wire_payload(delivery.received)) if checks else None
        status = await self._tables.start(delivery.id, self._clock.wall_ms(), digest)
        if checks and status.status is Status.COMPLETED:
            self._skip(delivery, "it was completed")
            return
        marker = self._settings.reject_payload_marker
        if marker and marker in delivery.received.body:
            raise Poisoned(
                f"Message {delivery.id} contains {marker!r}, which REJECT_PAYLOAD_MARKER rejects."
            )
        if checks and self._entities is None and delivery.id in self._recent:
            self._skip(delivery, "this consumer has done it")
            return
        self._crashes.before_effect(delivery)
        if self._entities is None:
            await self._effects.once(delivery, status)
        else:
            await self._entities.apply(delivery)

    def _skip(self, delivery: Delivery, why: str) -> None:
        self._note(Step(kind=StepKind.SKIPPED, id=delivery.id, text=why))
