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
        bar = f"{self.text} {'≤' if self.at_most else '≥'} {self.wanted:,.10g}"
        if self.reached is None:
            return f"{bar}: not measured"
        return f"{bar}: {self.reached:,.1f}  {'MISSED' if self.missed else 'held'}"
