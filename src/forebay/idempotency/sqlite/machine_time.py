"""The time of a file that the processes of one machine share.

The wall clock is no measure for leases: it is set while they last. The monotonic clock is not, and
all processes of a machine have the same one, but it begins anew when the machine does. So the file
says how far its time is ahead of the monotonic clock, and since which start of the machine.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from forebay.sql.steps import Steps

#: Another text after each start of the machine. Source: proc_sys_kernel(5).
_BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")

#: What of it fits SQLite's whole numbers of 64 bits.
_HEX_DIGITS = 15


@cache
def boot_number() -> int | None:
    """What tells this start of the machine from others; None where the system does not say."""
    try:
        return int(_BOOT_FILE.read_text().replace("-", "")[:_HEX_DIGITS], 16)
    except (OSError, ValueError):
        return None


def machine_time(boot: int, wall_ahead_ms: int) -> Steps[int]:
    """How far the file's time is ahead of the monotonic clock, in milliseconds.

    The first process after a start of the machine decides it, by what its wall clock is ahead.
    """
    rows = yield (
        "SELECT ahead.value FROM idempotency_meta AS boot, idempotency_meta AS ahead"
        " WHERE boot.name = 'boot' AND boot.value = :boot AND ahead.name = 'ahead_ms'",
        {"boot": boot},
    )
    if rows:
        known: int = rows[0][0]
        return known
    yield (
        "INSERT OR REPLACE INTO idempotency_meta VALUES ('boot', :boot), ('ahead_ms', :ahead_ms)",
        {"boot": boot, "ahead_ms": wall_ahead_ms},
    )
    return wall_ahead_ms
