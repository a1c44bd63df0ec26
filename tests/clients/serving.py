"""`forebay serve` as a user runs it, with keys: every request of a peer must be signed well."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from forebay.protocol.identifiers import DEFAULT_ACCOUNT_ID
from tests.clients.peers import ACCESS_KEY_ID, PATIENCE_S, SECRET_ACCESS_KEY, configuration, running

KEYS = f"""
[[key]]
access_key_id = "{ACCESS_KEY_ID}"
secret_access_key = "{SECRET_ACCESS_KEY}"
account_id = "{{account_id}}"
"""


@contextmanager
def serving(directory: Path, account_id: str = DEFAULT_ACCOUNT_ID) -> Iterator[str]:
    """The endpoint URL of a broker that keeps everything in memory and checks signatures.

    The peers' key belongs to the account.
    It must survive its peers: at the end of the block it stops cleanly and has reported no error.
    """
    keys = directory / "keys.toml"
    keys.touch(mode=0o600)
    keys.write_text(KEYS.format(account_id=account_id))
    log = directory / "serve.log"
    command = [sys.executable, "-m", "forebay", "serve", "--port", "0", "--durability", "memory"]
    with running(
        *command, "--keys", keys, environment=configuration(""), directory=directory, log=log
    ) as process:
        yield announced_url(process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, log.read_text()
        assert not re.search(r"ERROR|CRITICAL|Traceback", log.read_text()), log.read_text()


def announced_url(process: subprocess.Popen[bytes], log: Path) -> str:
    """The URL that the broker prints once it listens."""
    deadline = monotonic() + PATIENCE_S
    while not (announced := re.search(r"serves SQS at (\S+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert monotonic() < deadline, log.read_text()
        sleep(0.02)
    return announced[1]
