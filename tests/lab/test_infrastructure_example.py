"""`.env.example` has the variables that there are, with their defaults and meanings."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from forebay.lab.consumer.settings import read_settings
from forebay.lab.consumer.variables import VARIABLES
from forebay.lab.infrastructure.dotenv import parse_dotenv
from forebay.lab.infrastructure.standing import DOTENV_VARIABLES
from forebay.lab.infrastructure.wanted import HAPPY
from forebay.lab.scenario import LabQueue

EXAMPLE = (Path(__file__).parents[2] / ".env.example").read_text()

#: Each variable that is commented out, with the comment above it.
COMMENTED = re.findall(r"((?:^# .*\n)+)^#([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE)

#: What others than the consumer read.
OTHERS = {"AWS_PROFILE": "", "FOREBAY_TIME_SCALE": "1"}


def test_it_sets_what_the_lab_sets() -> None:
    variables = parse_dotenv(EXAMPLE)
    assert tuple(variables) == DOTENV_VARIABLES
    queue = LabQueue()
    assert variables["QUEUE_URL"].endswith(f"/{queue.full_name(HAPPY)}")
    assert variables["DLQ_ARN"].endswith(f":{queue.dead_name(HAPPY)}")


def test_it_has_every_other_variable_of_the_consumer_with_its_default_and_meaning() -> None:
    shown = {name: (default, _text(comment)) for comment, name, default in COMMENTED}
    expected = {
        each.name: (each.default, each.meaning)
        for each in VARIABLES
        if each.name not in DOTENV_VARIABLES
    }
    assert {name: value for name, value in shown.items() if name not in OTHERS} == expected
    assert {name: shown[name][0] for name in OTHERS} == OTHERS


def test_the_defaults_that_it_shows_are_those_of_the_consumer() -> None:
    variables = parse_dotenv(re.sub(r"^#(?=[A-Z_]+=)", "", EXAMPLE, flags=re.MULTILINE))
    shown = msgspec.structs.asdict(read_settings(variables))
    set_by_it = {name: variables[name] for name in DOTENV_VARIABLES}
    defaults = msgspec.structs.asdict(read_settings(set_by_it))
    assert shown == defaults


def _text(comment: str) -> str:
    return " ".join(line.removeprefix("# ") for line in comment.splitlines())
