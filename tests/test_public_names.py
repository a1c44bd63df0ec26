"""The public names are there, and importing the package alone is cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest

import forebay


@pytest.mark.parametrize("name", forebay.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(forebay, name).__module__.startswith("forebay.")
    assert name in dir(forebay)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Kwyjibo'"):
        forebay.Kwyjibo  # noqa: B018


def test_importing_forebay_imports_none_of_its_dependencies() -> None:
    code = "import forebay, sys; print(sorted(sys.modules.keys() & {'aiohttp', 'apsw', 'uvloop'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
