"""What is sent: work to do, and poison among it. Pure: randomness is an argument."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import UUID

from msgspec import Struct

from forebay.errors import SettingsError

#: The `work` of a poison message: what REJECT_PAYLOAD_MARKER finds.
POISON = "POISON"

#: The most that `work` is; the least is 1.
_WORK_MAX = 1000


class Payloads(Struct, frozen=True, kw_only=True):
    """How many messages, and which of them are poison.

    Raises SettingsError for what does not fit together.
    """

    #: 0 is without end.
    n: int = 10
    #: So many are poison, at places that are drawn.
    poison_count: int = 0
    #: Each time after so many one is poison, in place of `poison_count`: with 3 those at the places
    #: 2, 5, 8, counted from 0.
    poison_every: int = 0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 0:
                raise SettingsError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least 0."
                )
        if self.poison_every or not self.poison_count:
            return
        if not self.n:
            raise SettingsError(
                "--poison-count draws places among --n messages, and --n 0 has no end. Say"
                " --poison-every instead."
            )
        if self.poison_count > self.n:
            raise SettingsError(
                f"--poison-count is {self.poison_count}; it must be at most --n, which is {self.n}."
            )


def payloads(plan: Payloads, dice: random.Random) -> Iterator[dict[str, Any]]:
    """The payloads in order, each with an id of its own."""
    drawn = frozenset[int]()
    if not plan.poison_every and plan.poison_count:
        drawn = frozenset(dice.sample(range(plan.n), plan.poison_count))
    for place in range(plan.n) if plan.n else count():
        every = plan.poison_every
        poisoned = (place + 1) % every == 0 if every else place in drawn
        identifier = str(UUID(int=dice.getrandbits(128), version=4))
        yield poison(identifier) if poisoned else work(identifier, dice)


def work(identifier: str, dice: random.Random) -> dict[str, Any]:
    """A payload that can be handled."""
    return {"id": identifier, "work": dice.randint(1, _WORK_MAX)}


def poison(identifier: str) -> dict[str, Any]:
    """A payload that no consumer with REJECT_PAYLOAD_MARKER=POISON can handle."""
    return {"id": identifier, "poison": True, "work": POISON}


def body_of(payload: dict[str, Any]) -> str:
    """A payload as it travels: plain JSON, in no envelope."""
    return json.dumps(payload, separators=(",", ":"))
