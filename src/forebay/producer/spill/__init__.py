"""Records on the disk until somebody acknowledges them: where a producer puts what it cannot send.

It knows nothing of producers, clients and packs. docs/reference/spill-format.md describes the
files, docs/decisions/0016-spill.md why they are so.
"""

from forebay.producer.spill.base import (
    LostRange,
    LostReason,
    SpillAccount,
    SpillError,
    SpillInUse,
    SpillLimits,
    SpillRecord,
    SpillToken,
    SpillTooNew,
)
from forebay.producer.spill.spill import Spill

__all__ = [
    "LostRange",
    "LostReason",
    "Spill",
    "SpillAccount",
    "SpillError",
    "SpillInUse",
    "SpillLimits",
    "SpillRecord",
    "SpillToken",
    "SpillTooNew",
]
