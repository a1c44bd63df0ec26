"""Runs a command that does not outlive the process that started it.

    python leash.py PARENT_PID COMMAND [ARGUMENT …]

The command replaces this process and keeps its process id. On Linux the kernel kills it when the
parent dies, in whatever way; elsewhere the parent has to do it itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: prctl's option that names the signal a process gets when its parent dies. prctl(2).
_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent_pid, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent_pid):
        sys.exit("The process that started this one is gone already.")
    os.execvp(command[0], command)  # noqa: S606 - a command, not a shell


if __name__ == "__main__":
    main()
