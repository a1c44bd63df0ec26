"""What the batch actions share: an entry that fails is answered, and does not stop the others."""

from __future__ import annotations

from forebay.protocol.actions import BatchResultErrorEntry
from forebay.protocol.errors import SqsError


def failed_entry(entry_id: str, error: SqsError) -> BatchResultErrorEntry:
    """The answer to an entry of a batch that failed."""
    told = error.in_batch or error
    return BatchResultErrorEntry(
        id=entry_id, sender_fault=told.fault.sender, code=told.code, message=told.message
    )
