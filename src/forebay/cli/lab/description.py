"""All that is to be known of a scenario, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from forebay.lab.options import Option, options_in
from forebay.lab.scenario import Scenario


def describe(scenario: type[Scenario]) -> Group:
    """Its claim, what protects it and what breaks without, and its options."""
    return Group(*_parts(scenario))


def _parts(scenario: type[Scenario]) -> Iterator[RenderableType]:
    yield Text.assemble((scenario.name(), "bold"), f" ({scenario.speed}): {scenario.title()}")
    yield _paragraph(Text.assemble(("Claim: ", "bold"), scenario.claim))
    if scenario.own_broker_only:
        yield _paragraph(Text(f"On the lab's own broker only: {scenario.own_broker_only}"))
    for name, protection in scenario.protections.items():
        yield _paragraph(
            Text.assemble(
                (f"--without {name}: ", "bold"),
                f"{protection.text} Without it this is broken: “{protection.breaks}”.",
            )
        )
    for option in options_in(scenario):
        yield _paragraph(_option(option))
    yield Text("")


def _option(option: Option) -> Text:
    default = str(option.default).lower() if option.flag else f"{option.default}"
    return Text.assemble(
        (f"{option.name}: ", "bold"), f"{option.text} It is {option.allowed}; by default {default}."
    )


def _paragraph(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 4), expand=False)
