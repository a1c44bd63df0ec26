"""How long to wait before trying again."""

from __future__ import annotations

from collections.abc import Callable

#: Doubling stops here: any setting is reached long before.
_DOUBLINGS_MAX = 40


def jitter(entropy: Callable[[int], bytes]) -> float:
    """A random number from 0 up to, not including, 1."""
    return int.from_bytes(entropy(4)) / 2**32


def backoff_s(attempt: int, jitter: float, *, base_s: float, max_s: float) -> float:
    """How long to wait after the nth attempt failed, in seconds.

    It doubles with every attempt up to the maximum, and lies between half and the whole of that, so
    that those who failed together come back apart.
    """
    whole_s = min(max_s, base_s * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX))
    return whole_s * (1 + jitter) / 2
