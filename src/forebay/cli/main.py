"""The `forebay` command."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

import forebay
from forebay.errors import ForebayError, SettingsError

#: The subcommands: each is the function of its name in the module of its name beside this one.
COMMANDS = ("serve", "demo", "queues", "send", "receive", "purge", "redrive")


class _Commands(TyperGroup):
    """Imports a subcommand when it is used, so that none waits for the libraries of another."""

    def list_commands(self, ctx: object) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        function = getattr(import_module(f"forebay.cli.{cmd_name}"), cmd_name)
        single.command(cmd_name)(function)
        command = typer.main.get_command(single)
        assert isinstance(command, TyperCommand)
        return command


app = typer.Typer(
    name="forebay",
    cls=_Commands,
    help="An SQS-native queue system for Python: a broker that every AWS SDK takes for Amazon SQS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"forebay {forebay.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command. An error is one line and exit code 1, or 2 when it was used wrongly."""
    try:
        app()
    except ForebayError as error:
        Console(stderr=True, soft_wrap=True).print(f"Error: {error}", style="red", markup=False)
        sys.exit(2 if isinstance(error, SettingsError) else 1)
