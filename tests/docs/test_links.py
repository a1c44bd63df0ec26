"""Links between the pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Where the files of the repository are shown: as pages, as directories, and as they are.
SHOWN = re.compile(
    r"https://(?:github\.com/forebay/forebay/(?:blob|tree)|raw\.githubusercontent\.com/forebay/forebay)"
    r"/main/"
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in LINK.findall(text):
        target = SHOWN.sub(f"{ROOT}/", link)
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(file), f"{page.name} links to {link}"


@pytest.mark.parametrize("file", ["pyproject.toml", "deploy/forebay.service"])
def test_pages_that_a_file_names_are_there(file: str) -> None:
    text = (ROOT / file).read_text()
    pages = [text[found.end() :].split()[0].strip('",') for found in SHOWN.finditer(text)]
    assert pages
    assert [page for page in pages if not (ROOT / page).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/*/*.md")}
    listed = set(LINK.findall(index))
    # The scenarios have an index of their own, which is among these.
    in_other_indices = re.compile(r"decisions/|scenarios/(?!README)")
    assert {page for page in pages if not in_other_indices.match(page)} - listed == set()


def test_every_decision_has_a_number_of_its_own_and_says_it() -> None:
    decisions = sorted(ROOT.glob("docs/decisions/*.md"))
    numbers = [int(page.name.partition("-")[0]) for page in decisions]
    assert numbers == list(range(1, len(decisions) + 1))
    for number, page in zip(numbers, decisions, strict=True):
        assert page.read_text().startswith(f"# {number}. "), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_decision_is_cited_by_its_number(page: Path) -> None:
    cited = re.findall(r"\[decision (\d+)\]\((?:\S*/)?(\d+)-", page.read_text())
    assert all(int(said) == int(linked) for said, linked in cited), cited
