"""List the scenarios by kind, from the scenarios themselves; `make docs` writes the list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from forebay.lab.catalogue import catalogue
from forebay.lab.scenario import Scenario, Speed

PATH = Path(__file__).parent / "scenarios" / "README.md"

#: What goes wrong, and the scenarios in which it does, the simple ones first.
KINDS = {
    "When all goes well": ("happy",),
    "When a consumer dies, or is told to stop": (
        "crash",
        "dup-side-effects",
        "dup-graceful-shutdown",
        "rolling-deploy",
    ),
    "When a message comes twice": (
        "dup",
        "business",
        "heartbeat",
        "duplicate-storm",
        "clock-skew",
    ),
    "When messages fail": (
        "poison",
        "poison-partial-batch",
        "fifo-poison-blocks-group",
        "dlq-redrive",
    ),
    "When order matters": ("fifo-order", "version-order", "out-of-order"),
    "When there is too much": ("backpressure", "backlog-drain", "noisy-neighbour", "throttled"),
    "When the queue itself is the trouble": ("broker-crash", "happy-purge-timing"),
    "When a database or another service is part of it": ("outbox", "saga", "oversell"),
}

_SECTION = re.compile(r"(?<=^## By kind\n).*?(?=^## )", re.DOTALL | re.MULTILINE)

_HEAD = "| scenario | what happens | `--without` |\n|---|---|---|\n"


def page() -> str:
    """The page with today's list in it."""
    return _SECTION.sub(lambda _: section(), PATH.read_text())


def section() -> str:
    """What is below the heading of the list."""
    known = catalogue()
    return "\n" + "".join(
        f"**{kind}**\n\n{_HEAD}{''.join(_rows([known[name] for name in names if name in known]))}\n"
        for kind, names in KINDS.items()
    )


def _rows(scenarios: list[type[Scenario]]) -> Iterator[str]:
    for scenario in scenarios:
        name = scenario.name()
        slow = " (slow)" if scenario.speed is Speed.SLOW else ""
        protections = ", ".join(f"`{each}`" for each in scenario.protections)
        yield f"| [{name}]({name}.md){slow} | {scenario.title()} | {protections} |\n"


if __name__ == "__main__":
    PATH.write_text(page())
