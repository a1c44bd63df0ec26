"""What keeps the consumer from losing and doubling, and can be switched off to see that it does."""

from __future__ import annotations

from collections.abc import Collection

from forebay.errors import SettingsError

#: The names, and what the consumer does without each.
PROTECTIONS: dict[str, str] = {
    "late-delete": "A message is deleted before its work, so that a crash in between loses it.",
    "delete": "No message is deleted, so that each comes again until it is dead-lettered.",
    "idempotency": "Nothing is looked up before an effect and no lease is taken: each receive does"
    " it again. Nor does an effect outside carry an Idempotency-Key.",
    "idempotency-key": "An effect outside carries no Idempotency-Key, so that a crash between the"
    " effect and its record doubles it.",
    "business-key": "BUSINESS_IDEMPOTENCY_FIELD is not looked at: two messages of one order are"
    " two effects.",
    "versions": "Whatever comes last is applied, be it newer or older.",
    "heartbeat": "The visibility timeout is not extended while a message is worked on.",
    "partial-batch": "The messages of one receive succeed or fail together: one that is bad takes"
    " the good ones along.",
    "drain": "SIGTERM ends the process at once, with messages in its hands.",
}


def check_protections(names: Collection[str]) -> frozenset[str]:
    """The names as a set. Raises SettingsError for one that is no protection."""
    for name in names:
        if name not in PROTECTIONS:
            raise SettingsError(
                f"{name!r} is no protection of the consumer. There are {', '.join(PROTECTIONS)}."
            )
    return frozenset(names)
