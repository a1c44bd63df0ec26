"""Which signals ask a process to stop."""

from __future__ import annotations

import signal

#: The exit code of a command that Ctrl-C has stopped: 128 and the number of SIGINT.
INTERRUPTED = 130

#: Signals that come this soon after another are the same request, in seconds: a wrapper passes on
#: what the terminal has sent to the whole process group already.
SAME_REQUEST_S = 0.25


class StopRequests:
    """Counts how often a process was asked to stop."""

    def __init__(self) -> None:
        self.count = 0
        self._latest_s = 0.0

    def heard(self, now_s: float) -> bool:
        """A signal came at this monotonic time. Returns whether it is another request."""
        again = not self.count or now_s - self._latest_s >= SAME_REQUEST_S
        self._latest_s = now_s
        self.count += again
        return again


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGTERM, and SIGINT unless whoever started this process had it ignored.

    A shell without job control starts background commands so: Ctrl-C is meant for what runs in
    front of them. Source: POSIX.1-2024, Shell Command Language, 2.12 Signals and Error Handling.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGTERM, signal.SIGINT)
