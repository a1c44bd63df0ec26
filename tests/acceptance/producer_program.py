"""Programs that use a BackgroundProducer, each a process of its own, and what came of them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

from forebay.messages.envelope import decode_envelope
from forebay.testing import BrokerForTests

#: How long a program may take, in seconds. Each takes less than two where nothing else runs.
PATIENCE_S = 60

QUEUE = "usage-logs"

#: What each of them begins with. A long flush keeps what is sent in the buffer.
_BEGINNING = """
import multiprocessing, os, signal, sys, threading, time
from forebay.producer.background import BackgroundProducer
from forebay.producer.settings import ProducerSettings

KEPT = ProducerSettings(flush_ms=60_000)

def producer(**options):
    return BackgroundProducer(os.environ["QUEUE_URL"], **options)

def send(it, name, count):
    for number in range(count):
        assert it.send("click", f"{name}-{number}"), it.ledger
"""


class Programs:
    """Runs programs against the queue of a broker."""

    def __init__(self, broker: BrokerForTests, directory: Path) -> None:
        self._broker = broker
        self._path = directory / "program.py"
        self.queue_url = broker.create_queue(QUEUE)
        # By a name, as most endpoints are, so that it has to be looked up.
        self._environment = {
            **os.environ,
            **broker.environment,
            "QUEUE_URL": self.queue_url,
            "AWS_ENDPOINT_URL_SQS": broker.endpoint_url.replace("127.0.0.1", "localhost"),
        }

    def start(self, text: str, **environment: str) -> subprocess.Popen[str]:
        """Start a program."""
        self._path.write_text(_BEGINNING + textwrap.dedent(text))
        return subprocess.Popen(
            [sys.executable, "-W", "always::ResourceWarning", str(self._path)],
            env=self._environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, text: str, **environment: str) -> str:
        """Run a program that succeeds and has nothing to complain of; what it printed."""
        with self.start(text, **environment) as process:
            try:
                printed, complaints = process.communicate(timeout=PATIENCE_S)
            finally:
                process.kill()
        assert (process.returncode, complaints) == (0, ""), complaints
        return printed

    def arrived(self) -> Counter[str]:
        """How many messages came of each name that was sent with. Each came once."""
        envelopes = [decode_envelope(each.body) for each in self._broker.messages(QUEUE)]
        payloads = Counter(bytes(each.payload).decode().strip('"') for each in envelopes)
        assert set(payloads.values()) <= {1}
        assert len({each.id for each in envelopes}) == len(envelopes)
        return Counter(name.rpartition("-")[0] for name in payloads)
