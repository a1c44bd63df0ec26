"""The page of parameters and profiles is the one that the schema says."""

from __future__ import annotations

from docs.draw_parameters import PATH, page
from forebay.parameters import load_profiles
from forebay.tunables import SCHEMA


def test_the_page_is_up_to_date() -> None:
    assert PATH.read_text() == page(), "run `make docs`"


def test_every_parameter_and_every_profile_is_on_it() -> None:
    text = page()
    for parameter in SCHEMA:
        assert f"| `{parameter.name}` | " in text
        assert parameter.range in text
    for profile in load_profiles(SCHEMA):
        assert f"### {profile.name}\n\n{profile.description}" in text
