"""A consumer behind the proxy: sixty orders, every fault, one kill in mid-work, and the books."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from msgspec import Struct

from forebay.broker.embedded import EmbeddedBroker
from forebay.fault_injection import FaultRates, SeededFaults
from forebay.lab.chaos.fault_options import with_faults
from tests.clients.chaos.shops import Note, Shop, notes
from tests.clients.peers import PATIENCE_S, REGION, configuration, kill, own_client, running

#: Orders that are sent. From half of them on, the program is slow until it has been killed.
ORDERS = 60

QUEUE = "orders"

FAULTS = (
    "duplicate=0.2",
    "drop-reply=0.1",
    "reorder=0.5",
    "delay=20ms,probability:0.5",
    "throttle=0.03",
    "partition=every:8s,for:1s",
)

#: No proxy that the environment names.
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))

#: How long nothing has to change until a trial is over, in seconds.
_QUIET_S = 2.0

#: How long a program may take until it is killed, and then until it is through, in seconds. Celery
#: ends itself at many a lost answer, and has to be started again each time.
_TRIAL_S = 120.0

#: How long a program may take to start on a busy machine, in seconds.
_STARTS_S = 20.0

#: How long it may note nothing then while there is work, in seconds: longer than a partition, and
#: than the lease of a killed process in Forebay's guard.
_STALL_S = 8.0

#: How long a program that says that it is at its end may go on with what it has in hand.
_WRAPS_UP_S = 0.5


class Books(Struct, frozen=True, kw_only=True):
    """What became of the orders, by the shop's own notes and by the ledger of the proxy."""

    shop: str
    #: Times that an order was begun with, and charged.
    handled: int
    effects: int
    #: Orders that were never charged, and that were charged twice or more.
    lost: frozenset[int]
    doubled: frozenset[int]
    #: Orders that a process had begun with and not ended when it was killed or ended itself.
    in_hand: frozenset[int]
    #: Orders that the proxy delivered, that were deleted, and that then came again.
    came_after_deletion: frozenset[int]
    #: How a program ended by itself, or that it did nothing any more although there was work.
    failures: list[str]
    ledger: dict[str, Any]

    @property
    def line(self) -> str:
        """The row of a table."""
        figures = (ORDERS, self.handled, self.effects, len(self.failures))
        sets = (self.in_hand, self.lost, self.doubled)
        return f"| {self.shop} | {' | '.join(map(str, (*figures, *map(len, sets))))} |"


HEADINGS = """
| consumer | sent | handled | effects | failures | in hand at kills | lost | doubled |
|---|---|---|---|---|---|---|---|"""


def try_out(shop: Shop, directory: Path, seed: int) -> Books:
    """Run a shop behind the proxy, kill it once, and let it finish."""
    trial = _Trial(shop, directory)
    with EmbeddedBroker(region=REGION) as broker:
        return trial.run(broker.endpoint_url, seed)


class _Trial:
    def __init__(self, shop: Shop, directory: Path) -> None:
        self._shop = shop
        self._directory = directory
        self._slow = directory / "slow"
        self._failures: list[str] = []
        self._seen: list[int] = []
        #: Since when nothing was noted, and when the queue last had messages.
        self._still_s = self._full_s = monotonic()

    def run(self, broker_url: str, seed: int) -> Books:
        sqs = own_client(broker_url)
        url = sqs.create_queue(QueueName=QUEUE, Attributes={"VisibilityTimeout": "2"})["QueueUrl"]
        self._shop.send(ORDERS, self._environment(broker_url))
        number_of = self._messages(broker_url)
        self._slow.touch()
        ledger_file = self._directory / "ledger.json"
        command = [sys.executable, "-m", "forebay", "lab", "chaos", "--endpoint", broker_url]
        command += ["--listen", "0", "--seed", str(seed), "--json", str(ledger_file)]
        command += [word for fault in FAULTS for word in ("--fault", fault)]
        log = self._directory / "proxy.log"
        with running(
            *command, environment=configuration(""), directory=self._directory, log=log
        ) as proxy:
            proxy_url = self._until(
                lambda: re.search(r"Chaos at (http://[\d.:]+)", log.read_text())
            )[1]
            began_s = monotonic()
            environment = self._environment(proxy_url)
            self._work_until(
                environment, lambda process: self._is_worth_a_kill(process, broker_url, number_of)
            )
            self._slow.unlink()
            parted_s = began_s + _partition_after(monotonic() - began_s, seed)
            self._work_until(
                environment, lambda process: self._is_over(sqs, url) and monotonic() > parted_s
            )
            proxy.send_signal(signal.SIGTERM)
            assert proxy.wait(PATIENCE_S) == 0, log.read_text()
        sqs.close()
        ledger = json.loads(ledger_file.read_text())
        charges = self._shop.charged(self._directory)
        charged = Counter(charge.number for charge in charges)
        again = ledger["queues"][QUEUE]["came_after_deletion"]
        return Books(
            shop=self._shop.name,
            handled=len(notes(self._directory, "began")),
            effects=len(charges),
            lost=frozenset(range(ORDERS)) - charged.keys(),
            doubled=frozenset(number for number, times in charged.items() if times > 1),
            in_hand=frozenset(note.number for note in self._in_hand()),
            came_after_deletion=frozenset(number_of[message] for message in again),
            failures=self._failures,
            ledger=ledger,
        )

    def _environment(self, endpoint_url: str) -> dict[str, str]:
        return configuration(endpoint_url) | {
            "QUEUE": QUEUE,
            "QUEUE_URL": f"{endpoint_url}/000000000000/{QUEUE}",
            "JOURNAL": str(self._directory / "journal"),
            "DATABASE": str(self._directory / "shop.sqlite3"),
            "SLOW": str(self._slow),
            "SLOW_FROM": str(ORDERS // 2),
            "PYTHONPATH": str(Path(__file__).parent),
        }

    def _work_until(
        self, environment: dict[str, str], done: Callable[[subprocess.Popen[bytes]], bool]
    ) -> None:
        """Run the program until this is so, and kill it.

        One that ends by itself, or goes on for long without doing anything, is started again, as
        whatever supervises it in production would.
        """
        deadline = monotonic() + _TRIAL_S
        while True:
            with running(
                *self._shop.command,
                environment=environment,
                directory=self._directory,
                log=self._directory / "shop.log",
            ) as process:
                started_s, obituaries = monotonic(), self._obituaries()
                while process.poll() is None:
                    if done(process):
                        kill(process)
                        return
                    assert monotonic() < deadline, self._said()
                    still_s = self._seconds_still()
                    if self._obituaries() > obituaries and still_s > _WRAPS_UP_S:
                        break
                    if min(still_s, monotonic() - started_s - _STARTS_S) > _STALL_S:
                        break
                    sleep(0.05)
                ended = process.poll()
            self._failures.append("stalled" if ended is None else f"ended with {ended}")

    def _obituaries(self) -> int:
        """How often a program has said that it is at its end, whether it ended or not."""
        log = self._directory / "shop.log"
        return log.read_text().count(self._shop.obituary) if self._shop.obituary else 0

    def _seconds_still(self) -> float:
        """How long nothing has been noted."""
        if (seen := self._notes()) != self._seen:
            self._still_s, self._seen = monotonic(), seen
        return monotonic() - self._still_s

    def _notes(self) -> list[int]:
        """How much of each kind has been noted."""
        return [len(notes(self._directory, event)) for event in ("began", "charged", "ended")]

    def _is_worth_a_kill(
        self, process: subprocess.Popen[bytes], broker_url: str, number_of: dict[str, int]
    ) -> bool:
        """Whether this process has slow orders in hand, deleted ones if that is how it works."""
        hands = {
            note.number
            for note in self._in_hand()
            if note.process == process.pid and note.number >= ORDERS // 2
        }
        if self._shop.deletes_first:
            hands -= {number_of[message] for message in self._messages(broker_url)}
        return bool(hands)

    def _in_hand(self) -> Counter[Note]:
        """What was begun with and has not ended."""
        began = Counter(notes(self._directory, "began"))
        return began - Counter(self._shop.ended(self._directory))

    def _is_over(self, sqs: Any, url: str) -> bool:
        """Whether the queue has been empty for a while, and the program still."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        read = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        if any(map(int, read["Attributes"].values())):
            self._full_s = monotonic()
        return min(self._seconds_still(), monotonic() - self._full_s) >= _QUIET_S

    def _until(self, look: Callable[[], Any]) -> Any:
        """What `look` gives once it is true."""
        deadline = monotonic() + PATIENCE_S
        while not (seen := look()):
            assert monotonic() < deadline, self._said()
            sleep(0.05)
        return seen

    def _said(self) -> str:
        log = self._directory / "shop.log"
        return f"the program printed\n{log.read_text() if log.exists() else ''}"

    def _messages(self, broker_url: str) -> dict[str, int]:
        """The messages that the queue has, numbered in the order in which they were sent."""
        with DIRECTLY.open(f"{broker_url}/_forebay/messages?QueueUrl={QUEUE}") as page:
            messages = json.load(page)["messages"]
        return {message["message_id"]: number for number, message in enumerate(messages)}


def _partition_after(elapsed_s: float, seed: int) -> float:
    """When a partition is over that begins later than this, in seconds since the proxy began."""
    plane = SeededFaults(with_faults(FaultRates(seed=seed), FAULTS))
    partition = plane.partition(round(elapsed_s * 1000))
    while partition is not None and partition.begins_ms < elapsed_s * 1000 + 1000:
        partition = plane.partition(partition.ends_ms)
    assert partition is not None
    return partition.ends_ms / 1000 + 1
