"""How long to wait before trying again: one rule for all who do. Pure."""

from __future__ import annotations

from collections.abc import Callable

#: Doubling stops here: any bound is reached long before.
_DOUBLINGS_MAX = 40


def jitter(entropy: Callable[[int], bytes]) -> float:
    """A random number from 0 up to, not including, 1. `entropy` gives that many random bytes."""
    return int.from_bytes(entropy(4)) / 2**32


def backoff_s(attempt: int, jitter: float, *, base_s: float, max_s: float) -> float:
    """How long to wait after the failure of attempt 1, 2, 3…, in seconds.

    Anything between nothing and a bound that begins at `base_s` and doubles with every attempt up
    to `max_s`. Drawing from the whole range spreads those whom one outage has aligned:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return jitter * min(max_s, base_s * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX))
