"""What was asked for, beside what was reached."""

from __future__ import annotations

from msgspec import Struct


class Bar(Struct):
    """A figure that was asked for."""

    text: str
    wanted: float
    #: None when it was not measured, or what it is compared with.
    reached: float | None
    #: Whether less is better.
    at_most: bool = False

    @property
    def missed(self) -> bool:
        if self.reached is None:
            return False
        return self.reached > self.wanted if self.at_most else self.reached < self.wanted

    @property
    def verdict(self) -> str:
        """A line for people."""
        reached = "not measured" if self.reached is None else f"{self.reached:,.1f}"
        sign = "≤" if self.at_most else "≥"
        return f"{self.text} {sign} {self.wanted:,g}: {reached}{'  MISSED' if self.missed else ''}"
