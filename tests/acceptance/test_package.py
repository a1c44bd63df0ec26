"""The package: what an index would show of it, and what is in it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import readme_renderer.markdown
from packaging.metadata import Metadata

import forebay

ROOT = Path(__file__).parents[2]
HOME = "https://github.com/forebay/forebay"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive and, built from it, the wheel."""
    directory = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (archive,) = directory.glob("*.tar.gz")
    (wheel,) = directory.glob("*.whl")
    return archive, wheel


@pytest.fixture(scope="module")
def metadata(built: tuple[Path, Path]) -> Metadata:
    """The wheel's metadata, which an index would refuse if they did not keep to its rules."""
    with zipfile.ZipFile(built[1]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return Metadata.from_email(wheel.read(name), validate=True)


def test_the_wheel_has_the_whole_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = wheel.namelist()
    ours = {name for name in names if ".dist-info/" not in name}
    source = ROOT / "src"
    assert ours == {
        str(path.relative_to(source))
        for path in source.glob("forebay/**/*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_source_archive_has_the_tests_and_the_documents(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "conftest.py", "docs/README.md", "tests/conftest.py"} <= names
    assert not any(name.startswith((".venv", ".git/", ".ci")) for name in names)


def test_the_version_stands_in_one_place_and_in_the_changelog(metadata: Metadata) -> None:
    assert str(metadata.version) == forebay.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    version = re.escape(forebay.__version__)
    assert re.search(rf"^## \[{version}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE)
    for reference in re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE):
        assert f"\n[{reference}]: {HOME}/" in changelog


def test_the_metadata_lead_a_newcomer_to_everything(metadata: Metadata) -> None:
    urls = metadata.project_urls or {}
    assert {"Homepage", "Documentation", "Changelog", "Issues", "Source"} <= set(urls)
    assert all(url.startswith(HOME) for url in urls.values())
    assert metadata.author == "The Forebay authors"
    classifiers = metadata.classifiers or []
    assert "Framework :: Pytest" in classifiers
    assert "Typing :: Typed" in classifiers
    assert metadata.license_expression == "Apache-2.0"
    assert metadata.description_content_type == "text/markdown"


def test_an_index_can_render_the_readme(metadata: Metadata) -> None:
    assert metadata.description is not None
    page = readme_renderer.markdown.render(metadata.description)
    assert page is not None
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert links
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert re.search(r'<img [^>]*src="https://raw.githubusercontent.com/forebay/forebay/', page)
    assert "mermaid" not in page
