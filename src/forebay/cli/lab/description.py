"""All that is to be known of a scenario, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from forebay.lab.options import Option, options_in
from forebay.lab.scenario import Scenario

#: How far what is said of a scenario stands in, below its name.
_INDENT = 4


def describe(scenario: type[Scenario], out: Console) -> None:
    """Print its claim, what protects it and what breaks without, and its options."""
    title = Text.assemble((scenario.name(), "bold"), f" ({scenario.speed}): {scenario.title()}")
    out.print(title, soft_wrap=True)
    for each in _parts(scenario):
        if out.is_terminal:
            out.print(Padding(each, (0, 0, 0, _INDENT)))
        else:
            out.print(Text(" " * _INDENT) + each, soft_wrap=True)
    out.print()


def _parts(scenario: type[Scenario]) -> Iterator[Text]:
    yield Text.assemble(("Claim: ", "bold"), scenario.claim)
    if scenario.own_broker_only:
        yield Text(f"On the lab's own broker only: {scenario.own_broker_only}")
    for name, protection in scenario.protections.items():
        yield Text.assemble(
            (f"--without {name}: ", "bold"),
            f"{protection.text} Broken then: “{protection.breaks}”.",
        )
    yield from map(_option, options_in(scenario))


def _option(option: Option) -> Text:
    default = str(option.default).lower() if option.flag else f"{option.default}"
    return Text.assemble(
        (f"{option.name}: ", "bold"), f"{option.text} It is {option.allowed}; by default {default}."
    )
