"""Draw the life cycle of a message from its one table; `make docs` writes the page."""

from __future__ import annotations

from pathlib import Path

from forebay.broker.core.message import TRANSITIONS, Event, State

PAGE = Path(__file__).parent / "reference" / "life-cycle.md"

INTRODUCTION = """\
# The life cycle of a message

Drawn by `make docs` from `TRANSITIONS` in `src/forebay/broker/core/message.py`, the table that
every change of a message's state goes through. A message is born `DELAYED`; with a delay of 0 the
delay ends at once. A pair of state and event that is not here cannot happen.
"""


def diagram() -> str:
    """The life cycle as a Mermaid state diagram, one arrow for each pair of states."""
    arrows: dict[tuple[State, State], list[Event]] = {}
    for (state, event), target in TRANSITIONS.items():
        arrows.setdefault((state, target), []).append(event)
    lines = ["stateDiagram-v2", f"    [*] --> {State.DELAYED.name}: SENT"]
    for (state, target), events in arrows.items():
        label = ", ".join(event.name for event in events)
        lines.append(f"    {state.name} --> {target.name}: {label}")
    lines.append(f"    {State.GONE.name} --> [*]")
    return "\n".join(lines)


def table() -> str:
    """The life cycle as a table: a row for each event, a column for each state."""
    states = [state for state in State if state is not State.GONE]
    lines = [
        "| event | " + " | ".join(state.name for state in states) + " |",
        "|---|" + "---|" * len(states),
    ]
    for event in Event:
        targets = [TRANSITIONS.get((state, event)) for state in states]
        cells = " | ".join("" if target is None else target.name for target in targets)
        lines.append(f"| {event.name} | {cells} |")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    return f"{INTRODUCTION}\n```mermaid\n{diagram()}\n```\n\n{table()}\n"


if __name__ == "__main__":
    PAGE.write_text(page())
