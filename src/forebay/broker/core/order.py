"""What decides which visible message of a queue comes next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from forebay.broker.core.message import Message


class Order(Protocol):
    """The visible messages of a queue in the order in which they are served.

    The queue tells it what becomes of its messages, after their state has changed.
    """

    def __bool__(self) -> bool:
        """Whether a receive would find a message in memory now."""
        ...

    def appear(self, message: Message) -> None:
        """The message became visible."""
        ...

    def vanish(self, message: Message) -> None:
        """The message is visible no more."""
        ...

    def took_off(self, message: Message, now_ms: int) -> None:
        """The message is in flight."""
        ...

    def landed(self, message: Message, now_ms: int) -> None:
        """The message is in flight no more."""
        ...

    def select(self, limit: int, now_ms: int) -> Iterator[Message]:
        """The visible messages as they are served, as long as the caller asks.

        At most `limit` of them will be delivered. Take them out after the last one, not meanwhile.
        """
        ...

    def clear(self) -> None:
        """Forget every message, as a purge does."""
        ...
