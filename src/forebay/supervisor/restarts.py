"""When a process that has died is started again, and what its death is called. Pure."""

from __future__ import annotations

import signal

#: The pause after the first death, in seconds. It doubles with each that follows soon.
PAUSE_S = 0.5

#: The longest pause, in seconds: what a worker can be away for after its cause has gone.
PAUSE_MAX_S = 30.0

#: A process that has lived so long, in seconds, was well: the next death is a first one.
WELL_AFTER_S = 60.0


def pause_s(deaths_in_a_row: int) -> float:
    """How long to wait after this death, the first being 1, in seconds.

    Without jitter: these are the few processes of one machine, and the line that announces the next
    start says when it comes.
    """
    return min(PAUSE_MAX_S, PAUSE_S * 2.0 ** min(deaths_in_a_row - 1, 16))


def deaths_in_a_row(before: int, lived_s: float) -> int:
    """How many deaths have followed each other soon, this one included."""
    return 1 if lived_s >= WELL_AFTER_S else before + 1


def death(exit_code: int) -> str:
    """What an exit code says, in words. Below zero it is the number of a signal."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"
    # Nobody else sends it unasked, and it leaves no other trace.
    return f"{name}, as the kernel does when memory is short" if name == "SIGKILL" else name
