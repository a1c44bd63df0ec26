"""One process of `forebay worker run`, which starts it: `python -m forebay.cli.worker.process`."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from forebay.cli.logs import LogFormat, LogLevel, log_what_nobody_catches
from forebay.cli.worker.logs import set_up_worker_logs
from forebay.supervisor.child import ChildSettings, run_child
from forebay.supervisor.supervisor import Command


class ProcessSettings(Struct, frozen=True, kw_only=True):
    """What a process is started with."""

    child: ChildSettings
    log_format: LogFormat
    log_level: LogLevel
    #: The file descriptor of its socket to the process above.
    descriptor: int = -1


def command_of(settings: ProcessSettings) -> Command:
    """What starts processes that are alike but for their numbers."""

    def command(number: int, descriptor: int) -> Sequence[str]:
        own = msgspec.structs.replace(
            settings,
            child=msgspec.structs.replace(settings.child, number=number),
            descriptor=descriptor,
        )
        # -P: nothing of the user's directory may stand for a module of Python's or ours.
        return [sys.executable, "-P", "-m", __name__, msgspec.json.encode(own).decode()]

    return command


def main() -> None:
    settings = msgspec.json.decode(sys.argv[1], type=ProcessSettings)
    set_up_worker_logs(settings.log_format, settings.log_level, settings.child.number)
    log_what_nobody_catches()
    sys.exit(run_child(settings.child, socket.socket(fileno=settings.descriptor)))


if __name__ == "__main__":
    main()
