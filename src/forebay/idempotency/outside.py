"""Effects outside our database: checked for before they are done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from forebay.idempotency.guard import AlreadyDone, Guard, Performed
from forebay.idempotency.holding import Attempt, Effect, Elsewhere, describe, result_of
from forebay.idempotency.keys import keys_of, payload_digest, wire_payload, without
from forebay.idempotency.records import MessageRecords, SideEffect, SideEffects, Status
from forebay.worker.outcomes import Retry
from forebay.worker.received import Received


class OutsideRecords(MessageRecords, SideEffects, Protocol):
    """Keeps messages and effects; every store of ours does."""


class CheckBeforeDoing:
    """Does an effect in another system once, as far as that can be done from here.

    1. The message is STARTED in `message_status`, once more for each receive.
    2. Is the effect in `message_side_effects`? Then it is not done again.
    3. The effect is done, under the guard's lease, so that no two check at the same time.
    4. It is recorded in `message_side_effects`.
    5. The message is COMPLETED.

    A crash between 3 and 4 leaves an effect that nobody recorded: the next receive does it again.
    Only the other system can prevent that: hand it `attempt.key` as its idempotency key, or ask it
    before doing. A crash anywhere else repeats nothing.
    """

    def __init__(self, guard: Guard, records: OutsideRecords) -> None:
        self._guard = guard
        self._records = records

    async def once(
        self,
        received: Received[Any],
        effect: Effect,
        *,
        by: Sequence[str] = (),
        action: str | None = None,
        ignore: Sequence[str] = (),
    ) -> Performed | AlreadyDone:
        """Do the effect of a message unless it is recorded. Parameters and errors as Guard.once."""
        records, time = self._records, self._guard.time
        payload = wire_payload(received)
        keys = keys_of(received, payload, by, action)
        digest = payload_digest(without(payload, ignore))
        status = await records.start_message(received.id, await time.now_ms(), digest)
        if status.status is Status.COMPLETED:
            found = await records.find_effect(keys[-1])
            return AlreadyDone(found.result if found else None)

        async def checked(attempt: Attempt) -> bytes | None:
            found = await records.find_effect(attempt.key)
            if found is not None:
                return found.result
            result = await result_of(effect, attempt)
            performed = SideEffect(time.last_known_ms(), digest, received.id, result)
            await records.record_effect(attempt.key, performed)
            return result

        try:
            outcome = await self._guard.run(keys, checked, digest=digest, delivery=received)
        except Exception as error:
            await records.fail_message(received.id, describe(error), time.last_known_ms())
            raise
        if isinstance(outcome, Elsewhere):
            raise Retry(outcome.remaining_s)
        await records.complete_message(received.id, time.last_known_ms())
        return outcome
