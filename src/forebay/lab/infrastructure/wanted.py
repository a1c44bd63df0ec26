"""What the scenarios need of an SQS: their queues, from the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from forebay.broker.bootstrap import DeclaredQueue
from forebay.lab.catalogue import catalogue
from forebay.lab.scenario import PROJECT, Scenario

#: The scenario whose queue and tables .env names, for trying things by hand.
HAPPY = "happy"

_HEAD = """\
# The queues of every scenario of the lab, made from the scenarios by `forebay lab up`:
# changes here are lost. `forebay serve --config` takes this file.
"""


class WantedQueues(Struct, frozen=True):
    """The queues and dead-letter queues of one scenario."""

    scenario: str
    title: str
    queues: Sequence[DeclaredQueue]


def wanted_queues(
    project: str = PROJECT, scenarios: Mapping[str, type[Scenario]] | None = None
) -> list[WantedQueues]:
    """What every scenario needs; of all of the catalogue unless others are given."""
    return [
        WantedQueues(
            name,
            scenario.title(),
            [each for queue in scenario.queues for each in queue.declared(name, project)],
        )
        for name, scenario in (catalogue() if scenarios is None else scenarios).items()
    ]


def render_queues(wanted: Sequence[WantedQueues]) -> str:
    """The file that declares these queues: `read_declarations` gives them back."""
    parts = [_HEAD]
    for each in wanted:
        parts.append(f"\n# {each.scenario}: {each.title}\n")
        parts.append("\n".join(_table(queue) for queue in each.queues))
    return "".join(parts)


def _table(queue: DeclaredQueue) -> str:
    lines = [f"[queues.{_text(queue.name)}]"]
    lines += [f"{name} = {_value(value)}" for name, value in queue.attributes.items()]
    if queue.dead_letter_queue is not None:
        lines.append(f"dead_letter_queue = {_text(queue.dead_letter_queue)}")
        lines.append(f"max_receive_count = {queue.max_receive_count}")
    if queue.tags:
        tags = ", ".join(f"{_text(key)} = {_text(value)}" for key, value in queue.tags.items())
        lines.append(f"tags = {{ {tags} }}")
    return "\n".join(lines) + "\n"


def _value(text: str) -> str:
    """An attribute as people write it: a number, a boolean, or else text."""
    plain = text in {"true", "false"} or (text.isdecimal() and str(int(text)) == text)
    return text if plain else _text(text)


def _text(value: str) -> str:
    """A basic string of TOML, which has the escapes of JSON."""
    return msgspec.json.encode(value).decode()
