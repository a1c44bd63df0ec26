"""Draw lives from the one table that rules each; `make docs` writes the pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Generic, TypeVar

from msgspec import Struct

from forebay.broker.core import message
from forebay.worker import lease

_REFERENCE = Path(__file__).parent / "reference"

_S = TypeVar("_S", bound=IntEnum)
_E = TypeVar("_E", bound=IntEnum)


class Life(Struct, Generic[_S, _E], frozen=True):
    """One life and its page."""

    path: Path
    introduction: str
    transitions: Mapping[tuple[_S, _E], _S]
    born: str
    endings: Sequence[_S]

    def page(self) -> str:
        """The whole page."""
        return f"{self.introduction}\n```mermaid\n{self._diagram()}\n```\n\n{self._table()}\n"

    def _diagram(self) -> str:
        """The life as a Mermaid state diagram, one arrow for each pair of states."""
        arrows: dict[tuple[_S, _S], list[_E]] = {}
        for (state, event), target in self.transitions.items():
            arrows.setdefault((state, target), []).append(event)
        first = next(iter(self.transitions))[0]
        lines = ["stateDiagram-v2", f"    [*] --> {first.name}: {self.born}"]
        for (state, target), events in arrows.items():
            label = ", ".join(event.name for event in events)
            lines.append(f"    {state.name} --> {target.name}: {label}")
        lines += [f"    {ending.name} --> [*]" for ending in self.endings]
        return "\n".join(lines)

    def _table(self) -> str:
        """The life as a table: a row for each event, a column for each state."""
        states = list(dict.fromkeys(state for state, _ in self.transitions))
        lines = [
            "| event | " + " | ".join(state.name for state in states) + " |",
            "|---|" + "---|" * len(states),
        ]
        for event in sorted({event for _, event in self.transitions}):
            targets = [self.transitions.get((state, event)) for state in states]
            cells = " | ".join("" if target is None else target.name for target in targets)
            lines.append(f"| {event.name} | {cells} |")
        return "\n".join(lines)


MESSAGE = Life(
    _REFERENCE / "life-cycle.md",
    """\
# The life cycle of a message

Drawn by `make docs` from `TRANSITIONS` in `src/forebay/broker/core/message.py`, the table that
every change of a message's state goes through. A message is born `DELAYED`; with a delay of 0 the
delay ends at once. A pair of state and event that is not here cannot happen.
""",
    message.TRANSITIONS,
    "SENT",
    [message.State.GONE],
)

LEASE = Life(
    _REFERENCE / "lease.md",
    """\
# The life of a received message in a worker

Drawn by `make docs` from `TRANSITIONS` in `src/forebay/worker/lease.py`, the table that everything
that a worker does with a received message goes through. A pair of state and event that is not here
cannot happen. The five states in which a life ends are the columns of the worker's ledger.

- A message that is `LOST` is not gone: its lease was over, or SQS could not be told while it
  lasted, so SQS delivers it again.
- While it is `WAITING`, `RUNNING` or `COPYING` it is kept hidden: by the queue's visibility timeout
  at first, then by extensions of half the time since its receive, up to `heartbeat_max_s`. When a
  worker is killed, its messages come back when the latest extension is over.
- `POSTPONED` is what a failure leads to, or a `Retry`. After the nth failure it comes back within
  `backoff_base_s` × 2ⁿ⁻¹ seconds, at most `backoff_max_s`.
- `INTERRUPTED` is no failure: a drain, or a failure before it in its group. It comes back at once.
  SQS counts it as a receive nevertheless, so give the queue a `maxReceiveCount` that leaves room
  for some interruptions beside the failures that you allow.
- `Queue(failures_max=3)` rejects a message at the third failure that one worker has seen. SQS tells
  a worker how often a message was received and not why it came back, so failures in other
  processes are not counted: with four of them it may fail nine times, but it is never rejected
  before the third. `maxReceiveCount` bounds them all together.
- In its state `LEFT` a handler is over its `timeout_s` and could not be stopped. Its message is
  never deleted for that; when the handler ends after all, what it says counts.
""",
    lease.TRANSITIONS,
    "RECEIVED",
    lease.ENDINGS,
)

LIVES = (MESSAGE, LEASE)


if __name__ == "__main__":
    for life in LIVES:
        life.path.write_text(life.page())
