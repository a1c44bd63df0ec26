"""What the batch actions share: an entry that fails is answered, and does not stop the others."""

from __future__ import annotations

from forebay.protocol.actions import BatchResultErrorEntry
from forebay.protocol.errors import SqsError


def failed_entry(entry_id: str, error: SqsError) -> BatchResultErrorEntry:
    """The answer to an entry of a batch that failed."""
    return BatchResultErrorEntry(
        id=entry_id, sender_fault=error.fault.sender, code=error.code, message=error.message
    )
