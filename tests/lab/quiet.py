"""Nobody watches."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.apps.progress import Count


class Quiet:
    """An audience that is not there."""

    def say(self, text: str) -> None:
        pass

    def show(self, counts: Sequence[Count], *, at: str = "") -> None:
        pass
