"""The pages of the scenarios: one each, in the index, with flags and protections that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from docs.draw_scenarios import KINDS, page, section
from docs.draw_scenarios import PATH as INDEX
from forebay.cli.main import app
from forebay.lab.catalogue import catalogue
from forebay.lab.options import options_in
from forebay.lab.scenario import Scenario

ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "docs" / "scenarios"
HOW_TO = ROOT / "docs" / "how-to" / "run-the-lab.md"
PAGES = [*sorted(SCENARIOS.glob("*.md")), HOW_TO]

FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")

#: What make runs for a target of the lab.
TARGETS = dict(
    re.findall(
        r"^([a-z%-]+): \$\(VENV\)/\.demo ##.*\n\t@\$\(BIN\)/forebay (.*) \$\(ARGS\)$",
        (ROOT / "Makefile").read_text(),
        re.MULTILINE,
    )
)

#: Where a variable is set before a command.
ASSIGNMENT = re.compile(r"[A-Z_]+=")


def options_of_command(words: list[str]) -> tuple[list[str], set[str]]:
    """The command that the words after `forebay` begin with, and its options."""
    for length in range(1, len(words) + 1):
        command = command_of(tuple(words[:length]))
        assert command is not None, f"there is no command {' '.join(words[:length])}"
        if not isinstance(command, TyperGroup):
            break
    options = {option for each in command.params for option in each.opts} | {"--help", "-h"}
    return words[:length], options


@cache
def command_of(words: tuple[str, ...]) -> Any:
    """The command of these words; None when there is none."""
    if not words:
        return typer.main.get_command(app)
    group = command_of(words[:-1])
    with group.make_context("forebay", [], resilient_parsing=True) as context:
        return group.get_command(context, words[-1])


def own_options(scenarios: list[type[Scenario]]) -> set[str]:
    return {option.name for scenario in scenarios for option in options_in(scenario)}


def commands_in(text: str) -> Iterator[list[str]]:
    """The words after `forebay` of each command that a page shows, also by make."""
    text = re.sub(r"\\\n\s*", "", text)
    blocks = re.findall(r"^```(?:sh|text|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    inline = re.findall(
        r"`((?:forebay|make) [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    )
    for line in [*lines, *inline]:
        if not re.match(r"(?:[A-Z_]+=\S* )*(?:forebay|make) ", line):
            continue
        words = shlex.split(line, comments=True)
        while ASSIGNMENT.match(words[0]):
            words.pop(0)
        made = words[1:] if words[0] == "forebay" else made_by_make(words[1:])
        if made:
            yield made


def made_by_make(words: list[str]) -> list[str]:
    """The words after `forebay` of what make runs; none when that is another program."""
    target, *others = words
    arguments = shlex.split(" ".join(each.removeprefix("ARGS=") for each in others))
    one = re.fullmatch(r"scenario-([A-Za-z-]+)", target)
    if one is not None:
        return ["lab", "run", one[1], *arguments]
    if target in TARGETS:
        return [*shlex.split(TARGETS[target]), *arguments]
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE), (
        f"there is no target {target}"
    )
    return []


def placeholder(word: str) -> bool:
    """Whether a word stands for another, such as NAME or PROTECTION."""
    return word.isupper() or "…" in word


@pytest.mark.parametrize("name", catalogue())
def test_a_scenario_has_a_page_and_a_kind(name: str) -> None:
    page = SCENARIOS / f"{name}.md"
    assert page.exists()
    assert page.read_text().startswith(f"# {name}")
    assert sum(name in names for names in KINDS.values()) == 1, "give it a kind, see KINDS"


def test_the_index_is_up_to_date() -> None:
    assert INDEX.read_text() == page(), "run `make docs`"
    assert f"]({next(iter(catalogue()))}.md)" in section()


@pytest.mark.parametrize("name", catalogue())
def test_a_page_tells_every_flag_and_every_protection_of_its_scenario(name: str) -> None:
    scenario = catalogue()[name]
    text = (SCENARIOS / f"{name}.md").read_text()
    told = set(FLAG.findall(text))
    assert own_options([scenario]) - told == set()
    assert {each for each in scenario.protections if f"without {each}" not in text} == set()
    assert f"make scenario-{name}" in text


def test_every_page_is_of_a_scenario_and_the_index_is_in_that_of_all() -> None:
    names = {page.stem for page in SCENARIOS.glob("*.md")} - {"README"}
    assert names <= catalogue().keys()
    assert "](scenarios/README.md)" in (ROOT / "docs" / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_such_that_can_be_given(page: Path) -> None:
    for words in commands_in(page.read_text()):
        command, options = options_of_command(words)
        rest = words[len(command) :]
        if command == ["lab", "run"]:
            check_run(rest, options)
            continue
        given = {word.partition("=")[0] for word in rest if word.startswith("-")}
        assert given <= options, f"{' '.join(words)}: {given - options}"


def check_run(words: list[str], options: set[str]) -> None:
    """A `forebay lab run`: its scenarios, their flags, and the protections it goes without."""
    names = [word for word in words if word in catalogue()]
    known = [catalogue()[name] for name in names] or list(catalogue().values())
    given = {word.partition("=")[0] for word in words if word.startswith("-")}
    unknown = given - options - own_options(known)
    assert not unknown, f"{' '.join(words)}: {unknown}"
    if words and not words[0].startswith("-") and not placeholder(words[0]):
        assert words[0] in catalogue(), f"there is no scenario {words[0]}"
    for flag, value in pairwise(words):
        if flag == "--without" and not placeholder(value):
            assert any(value in each.protections for each in known), f"{' '.join(words)}: {value}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_flags_and_protections_that_a_page_speaks_of_are_there(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    of = [catalogue()[page.stem]] if page.stem in catalogue() else list(catalogue().values())
    spoken = {flag for code in re.findall(r"`([^`\n]+)`", prose) for flag in FLAG.findall(code)}
    known = own_options(of).union(
        *(options_of_command(words)[1] for words in commands_in(page.read_text())),
        options_of_command(["lab", "run"])[1],
        *(options_of_command([name])[1] for name in ("consume", "produce", "serve", "redrive")),
    )
    assert spoken <= known, spoken - known
    protections = {name for scenario in of for name in scenario.protections}
    for name in re.findall(r"`[^`\n]*--without ([a-z][a-z-]*)", prose):
        assert name in protections, name
