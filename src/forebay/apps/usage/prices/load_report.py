"""What the clients of the price API saw."""

from __future__ import annotations

from msgspec import Struct, field


class LoadReport(Struct):
    """All requests of a load."""

    #: Requests that were sent.
    asked: int = 0
    #: Answers by their HTTP status.
    answered: dict[int, int] = field(default_factory=dict)
    #: Requests without an answer.
    unanswered: int = 0
    #: Requests that the rate would have had too, had the API kept up with it.
    left_out: int = 0
