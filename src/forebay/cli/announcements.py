"""What `forebay serve` says of itself: to people on standard output, to machines in its log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from rich.console import Console

import forebay
from forebay.broker.bootstrap import Outcome
from forebay.broker.journal.base import Durability
from forebay.cli.logs import LogFormat

_log = logging.getLogger(__name__)

#: What each level keeps, for people.
_KEPT = {
    Durability.FSYNC: "every answered request survives a power cut",
    Durability.OS: "every answered request survives a killed broker, not a power cut",
    Durability.MEMORY: "nothing outlives the broker",
}


class Served(Struct, frozen=True):
    """What is served, and how."""

    data: Path | None
    durability: Durability
    region: str
    #: Whether requests must be signed.
    signed: bool


class Announcements:
    """Says what a broker does. A full disk or a reader who is gone does not stop the broker."""

    def __init__(self, served: Served, log_format: LogFormat) -> None:
        self._served = served
        self._to_log = log_format is LogFormat.JSON
        self._console = Console(soft_wrap=True, highlight=False)

    def queues(self, outcomes: Sequence[Outcome]) -> None:
        """What was done about the declared queues."""
        for outcome in outcomes:
            changed = f": {', '.join(outcome.changed)}" if outcome.changed else ""
            self._say(f"Queue {outcome.name} {outcome.deed.value}{changed}")

    def serving(self, endpoint_url: str) -> None:
        """That the broker listens."""
        served, title = self._served, f"Forebay {forebay.__version__} serves SQS at"
        where = "in memory" if served.data is None else f"in {served.data}"
        kept = f"Data {where}, durability {served.durability.value}: {_KEPT[served.durability]}."
        if self._to_log:
            extra = {
                "endpoint_url": endpoint_url,
                "region": served.region,
                "durability": served.durability.value,
            }
            _log.info("%s %s. %s", title, endpoint_url, kept, extra=extra)
            return
        credentials = "" if served.signed else ', aws_access_key_id="x", aws_secret_access_key="x"'
        self._say(f"{title} {endpoint_url}", style="bold")
        self._say(kept)
        self._say(
            "Requests must be signed with a key of --keys." if served.signed else "From Python:"
        )
        self._say(
            f'  boto3.client("sqs", endpoint_url="{endpoint_url}", region_name="{served.region}"'
            f"{credentials})"
        )
        self._say("Stop it with Ctrl-C.")

    def stopped(self) -> None:
        """That the broker has answered what it owed, and is gone."""
        self._say("Stopped.")

    def _say(self, text: str, style: str | None = None) -> None:
        if self._to_log:
            _log.info("%s", text)
            return
        # rich ends the process when nobody reads any more.
        with suppress(OSError, SystemExit):
            self._console.print(text, style=style, markup=False)
            sys.stdout.flush()
