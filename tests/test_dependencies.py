"""What a plain installation brings is enough for all that is not an extra's."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"

#: What needs an extra, and says so when it is missing or is only reached with it.
EXTRAS = {
    "forebay/apps": "demo",
    "forebay/apps/usage/demo_ledger": "postgres",
    "forebay/apps/usage/postgres": "postgres",
    "forebay/idempotency/postgres": "postgres",
    "forebay/lab/outside": "demo",
    "forebay/parameters/postgres": "postgres",
    "forebay/sql/on_postgres": "postgres",
}

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.sub("[-_.]+", "-", re.split(r"[^\w.-]", each)[0]).lower() for each in requirements}


def imported_at_once(module: Path) -> set[str]:
    """The packages that importing the module needs: not those of functions or for types alone."""
    found: set[str] = set()
    for statement in ast.parse(module.read_text()).body:
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            found.add(statement.module)
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names - {"forebay"}


def test_every_module_can_be_imported_with_the_dependencies_that_are_installed_with_it() -> None:
    distributions = packages_distributions()
    missing = []
    # pytest alone imports its plugin.
    for module in sorted({*SOURCE.rglob("*.py")} - {SOURCE / "forebay/pytest_plugin.py"}):
        path = str(module.relative_to(SOURCE))
        allowed = names(PROJECT["dependencies"])
        for part, extra in EXTRAS.items():
            if path.startswith(part):
                allowed |= names(PROJECT["optional-dependencies"][extra])
        missing += [
            f"{path} imports {package}"
            for package in imported_at_once(module)
            if not names(distributions.get(package, [])) & allowed
        ]
    assert missing == []
