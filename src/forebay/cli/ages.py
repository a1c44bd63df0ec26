"""How old the oldest message of each queue is: SQS does not tell, the broker's own page does."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from forebay.cli.own_pages import OwnPages
from forebay.clock import Clock

#: Where the broker lists its queues.
_PATH = "/_forebay/queues"


class _Queue(Struct):
    arn: str
    oldest_message_age_s: float


class _Page(Struct):
    queues: list[_Queue]


class Ages:
    """Asks an endpoint for the ages, until it turns out not to know them."""

    def __init__(
        self, endpoint_url: str | None, region: str | None, *, clock: Clock | None = None
    ) -> None:
        self._pages = OwnPages(endpoint_url, region, clock=clock)
        self._knows = self._pages.possible

    async def ask(self) -> dict[str, float]:
        """Seconds since each queue's oldest message was sent, by ARN; empty when nobody knows."""
        answer = await self._pages.read(_PATH) if self._knows else None
        if answer is None:
            return {}
        try:
            page = msgspec.json.decode(answer.body, type=_Page)
        except msgspec.DecodeError:
            # Another SQS, or one that does not let us see the page.
            self._knows = False
            return {}
        return {queue.arn: queue.oldest_message_age_s for queue in page.queues}


def readable_age(age_s: float) -> str:
    """An age for people, in the largest unit of which there is one."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age_s >= length_s:
            return f"{age_s / length_s:.1f} {unit}"
    return f"{age_s:.0f} s"
