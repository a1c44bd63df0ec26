"""Which signals ask a process to stop."""

from __future__ import annotations

import signal

#: The exit code of a command that Ctrl-C has stopped: 128 and the number of SIGINT.
INTERRUPTED = 130


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGTERM, and SIGINT unless whoever started this process had it ignored.

    A shell without job control starts background commands so: Ctrl-C is meant for what runs in
    front of them. Source: POSIX.1-2024, Shell Command Language, 2.12 Signals and Error Handling.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGTERM, signal.SIGINT)
