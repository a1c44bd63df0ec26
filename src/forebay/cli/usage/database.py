"""Which database a command means."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay.apps.usage.settings import DATABASE_VARIABLE, SECRET_VARIABLE

Database = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="The usage database: postgresql://USER@HOST/NAME or sqlite:///PATH. Without it:"
        f" {DATABASE_VARIABLE}, or the secret of AWS Secrets Manager that {SECRET_VARIABLE}"
        " names. The environment is the better place for a password.",
        show_default=False,
    ),
]
