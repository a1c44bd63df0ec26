"""Sizes as people write them."""

from __future__ import annotations

import pytest
import typer

from forebay.cli.sizes import size_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1048576", 1_048_576),
        ("500MB", 500_000_000),
        ("500 mb", 500_000_000),
        ("1GiB", 1_073_741_824),
        ("1.5KiB", 1_536),
        ("2TB", 2_000_000_000_000),
        ("7B", 7),
    ],
)
def test_a_size_is_a_number_with_a_unit_or_without(text: str, expected: int) -> None:
    assert size_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "MB", "-1", "1XB", "1_0", "1e9", "٣MB", "1 0MB", "inf"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no size"):
        size_bytes(text)
