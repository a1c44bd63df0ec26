"""The architecture page describes the tree as it is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "explanation" / "architecture.md").read_text()


def test_every_file_and_directory_that_it_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py|[\w]+/[\w/]+)`", TEXT)
    assert len(named) > 20
    places = [ROOT, ROOT / "src" / "forebay", ROOT / "src" / "forebay" / "broker"]
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    assert missing == []


def test_the_map_names_every_package_and_every_module_beside_them() -> None:
    (packages,) = re.findall(r"```text\n(src/forebay/.*?)```", TEXT, re.DOTALL)
    source = ROOT / "src" / "forebay"
    entries = {f"{path.parent.name}/" for path in source.glob("*/__init__.py")}
    entries |= {path.name for path in source.glob("*.py") if not path.name.startswith("__")}
    assert {entry for entry in entries if entry not in packages} == set()
    for name in re.findall(r"([\w]+\.py)\b", packages):
        assert list(source.glob(f"**/{name}")), f"the map names {name}"
