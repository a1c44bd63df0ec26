"""What a scaling policy is shown, with everything at rest unless a test says otherwise."""

from __future__ import annotations

from typing import Any

from forebay.worker.scaling import Load, Pool, ScalingInput


def load(**values: Any) -> Load:
    """A buffer of 6,000, 5,000 and 4,000 with nothing in it, unless told otherwise."""
    return Load(**({"buffered": (0, 0, 0), "capacity": (6_000, 5_000, 4_000)} | values))


def pool(target: int, *, busy: int = 0, least: int = 1, most: int = 100, **since: float) -> Pool:
    return Pool(target=target, busy=busy, least=least, most=most, **since)


def seen(
    load: Load, *, pollers: Pool | None = None, processors: Pool | None = None
) -> ScalingInput:
    return ScalingInput(pollers=pollers or pool(5), processors=processors or pool(10), load=load)
