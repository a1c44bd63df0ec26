"""The profiles that a command means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forebay.parameters.profiles import Profiles, load_profiles
from forebay.tunables import SCHEMA

Directories = Annotated[
    list[Path] | None,
    typer.Option(
        "--profiles",
        metavar="DIRECTORY",
        help="Where profiles of your own are, as NAME.toml. One of the same name as one that comes"
        " with Forebay takes its place.",
    ),
]


def profiles(directories: list[Path] | None) -> Profiles:
    """Those that come with Forebay, and the user's own. Raises ProfileError."""
    return load_profiles(SCHEMA, directories or ())
