"""Which texts are integers, wherever one is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.protocol.integers import read_integer


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("-0", 0), ("007", 7), ("-12", -12), ("9" * 18, 10**18 - 1)]
)
def test_digits_are_an_integer(text: str, number: int) -> None:
    assert read_integer(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "1_0",
        " 5",
        "5 ",
        "5\n",
        "+5",
        "--5",
        "5.0",
        "1e3",
        "0x5",
        "\u0663",
        "\uff15",
        "9" * 19,
    ],
)
def test_nothing_else_is(text: str) -> None:
    with pytest.raises(ValueError, match="Not an integer"):
        read_integer(text)


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_an_integer_is_read_as_it_was_written(number: int) -> None:
    assert read_integer(str(number)) == number
