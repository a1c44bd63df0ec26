"""The `forebay` command."""

from __future__ import annotations

import errno
import io
import os
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.exceptions import TyperException

import forebay
from forebay.cli.advice import with_advice
from forebay.cli.logs import LogFormat, format_asked_for, say_error, set_up_logs
from forebay.cli.server_settings import give_variables
from forebay.errors import ForebayError, SettingsError
from forebay.lab.infrastructure.dotenv import load_dotenv
from forebay.protocol.errors import SqsError
from forebay.stop_signals import INTERRUPTED

#: The subcommands: each is the function of its name in the module of its name beside this one.
COMMANDS = (
    "serve",
    "demo",
    "queues",
    "create",
    "delete",
    "attributes",
    "tag",
    "send",
    "receive",
    "peek",
    "purge",
    "redrive",
    "produce",
    "consume",
    "worker",
    "usage",
    "parameters",
    "profile",
    "spill",
    "lab",
)

#: The subcommands that have subcommands, with what help says of them. Each of theirs is the
#: function of its name in the module of its name in the package of the group's name, with _ for -.
GROUPS = {
    "worker": (
        ("run", "check", "watch"),
        """Run workers, and look at them.

        The worker that the module shop.py has under the name worker, in four processes:

            forebay worker run shop:worker --processes 4
        """,
    ),
    "usage": (
        ("serve-demo", "writer", "report", "partitions", "demo"),
        """Log every use of an API without slowing it down, and count it exactly.

        All of it on this machine, with crashes, in half a minute:

            forebay usage demo

        An API of simulated prices that does so, on two ports:

            forebay usage serve-demo --processes 2

        What writes the log into a database, each use once:

            forebay usage writer --database sqlite:///usage.sqlite3
        """,
    ),
    "parameters": (
        ("list", "get", "set", "reset", "history", "watch"),
        """Change producers and workers while they work.

        The table application_parameters has what is set. Programs that follow it
        have a new value within seconds, and need no restart:

            forebay parameters set sqs_flush_ms 50 --note "a sale begins at noon"
        """,
    ),
    "profile": (
        ("list", "show", "diff", "apply"),
        """Set parameters that belong together.

        What a load test needs, and what that would change:

            forebay profile show stress --resolved
            forebay profile apply stress --dry-run
        """,
    ),
    "spill": (
        ("inspect", "verify", "export"),
        """Look at what producers keep on the disk until they can send it.

        What waits, whether it can all be read, and as lines of JSON:

            forebay spill inspect /var/spool/forebay
            forebay spill verify /var/spool/forebay
            forebay spill export /var/spool/forebay --output logs.jsonl
        """,
    ),
    "lab": (
        ("list", "run", "chaos", "preflight", "up", "validate", "down"),
        """See every way in which queues fail, and what keeps a program right all the same.

        What there is, what happens in one of them, and to run it:

            forebay lab list
            forebay lab list crash
            forebay lab run crash

        A broker with all their queues, to try things by hand on; and its end:

            forebay lab up
            forebay lab down

        Variables that are not set are taken from .env in the current directory.

        A proxy that loses, doubles and delays, between your own consumer and its SQS:

            forebay lab chaos --fault duplicate=0.2 --fault drop-reply=0.1
        """,
    ),
}

#: The subcommand whose options can also be set by variables and in a file.
_SERVER = "serve"

#: The subcommands that take variables from the file .env of the current directory.
_READ_DOTENV = ("consume", "produce", "lab")

#: What is said of an argument that no request can hold.
_NOT_TEXT = "An argument is not text in UTF-8, and SQS takes no other."

#: Every command explains itself with either.
_CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


class _Flags:
    """Shows a flag without a type: it takes no value, and `<bool>` behind it says that it does."""

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if isinstance(parameter, TyperOption) and parameter.is_bool_flag:
                parameter.metavar = ""
        return parameters


class _Command(_Flags, TyperCommand):
    """A subcommand."""


class _Commands(_Flags, TyperGroup):
    """Imports a subcommand when it is used, so that none waits for the libraries of another."""

    #: The subcommands, and the package that has them.
    names: tuple[str, ...] = COMMANDS
    package = "forebay.cli"

    def list_commands(self, ctx: object) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.names)

    def resolve_command(
        self, ctx: Any, args: list[str]
    ) -> tuple[str | None, TyperCommand | None, list[str]]:
        near = get_close_matches(args[0], self.names, n=1)
        if near and args[0] not in self.names:
            raise SettingsError(f"There is no command {args[0]}. Did you mean {near[0]}?")
        return super().resolve_command(ctx, args)  # type: ignore[return-value]

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | None:  # noqa: ARG002
        if cmd_name not in self.names:
            return None
        if self.package == "forebay.cli" and cmd_name in GROUPS:
            return _group(cmd_name)
        single = typer.Typer(
            add_completion=False, pretty_exceptions_enable=False, context_settings=_CONTEXT
        )
        name = cmd_name.replace("-", "_")
        module = import_module(f"{self.package}.{name}")
        context = {**_CONTEXT, **getattr(module, "CONTEXT", {})}
        single.command(cmd_name, cls=_Command, context_settings=context)(getattr(module, name))
        command = typer.main.get_command(single)
        assert isinstance(command, TyperCommand)
        if cmd_name == _SERVER:
            give_variables(command)
        return command


def _group(name: str) -> TyperCommand:
    """A subcommand that has subcommands."""
    names, text = GROUPS[name]
    kind = type(
        f"_{name}", (_Commands,), {"names": names, "package": f"{_Commands.package}.{name}"}
    )
    group = typer.Typer(
        name=name,
        cls=kind,
        help=text,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings=_CONTEXT,
    )
    group.callback()(lambda: None)
    return cast("TyperCommand", typer.main.get_command(group))


app = typer.Typer(
    name="forebay",
    cls=_Commands,
    help="An SQS-native queue system for Python: a broker that every AWS SDK takes for Amazon SQS.",
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
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
    """Run the command.

    An error is one line and exit code 1, or 2 when the command was used wrongly; Ctrl-C is 130.
    """
    arguments = sys.argv[1:]
    silent = sys.stdout is None
    _give_streams()
    if silent and arguments[:1] != [_SERVER]:
        say_error("There is no standard output to write to.")
        sys.exit(1)
    if arguments[:1] == [_SERVER] and format_asked_for(arguments) is LogFormat.JSON:
        set_up_logs(LogFormat.JSON)
    try:
        _load_dotenv(arguments)
        code = app(_asked(arguments), prog_name="forebay", standalone_mode=False) or 0
        sys.stdout.flush()
    except typer.Abort as error:
        # A question that Ctrl-C answered ends so, as one that was answered with no does.
        code = INTERRUPTED if isinstance(error.__context__, KeyboardInterrupt) else 1
    except TyperException as error:
        say_error(_usage(error))
        code = error.exit_code
    except UnicodeEncodeError:
        say_error(_NOT_TEXT)
        code = 2
    except OSError as error:
        code = 1
        if error.filename:
            say_error(f"{error.filename} cannot be used: {error.strerror}.")
        else:
            _drop_output()
            if error.errno != errno.EPIPE:
                say_error(f"The output cannot be written: {error.strerror}.")
    except SqsError as error:
        if isinstance(error.__cause__, UnicodeEncodeError):
            say_error(_NOT_TEXT)
            sys.exit(2)
        say_error(with_advice(error))
        code = 1
    except ForebayError as error:
        say_error(f"{error}")
        code = 2 if isinstance(error, SettingsError) else 1
    sys.exit(code)


def _load_dotenv(arguments: list[str]) -> None:
    """Set the variables of .env for the commands that say so; help needs none."""
    asks_for_help = any(each in _CONTEXT["help_option_names"] for each in arguments)
    if arguments[:1] and arguments[0] in _READ_DOTENV and not asks_for_help:
        load_dotenv()


def _asked(arguments: list[str]) -> list[str]:
    """The command line; a command that only has others explains itself."""
    alone = not arguments or (len(arguments) == 1 and arguments[0] in GROUPS)
    return [*arguments, "--help"] if alone else arguments


def _give_streams() -> None:
    """Let every standard stream be there, and take any text."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Let Python not try again, at its end, to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _usage(error: TyperException) -> str:
    """What is wrong with the command line, or the setting, and where to read more."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    if context is None:
        return f"{message}."
    option = getattr(error, "param", None)
    source = context.get_parameter_source(option.name) if option is not None else None
    if source is not None and source.name == "DEFAULT_MAP":
        return f"{context.params['config']}: {message}."
    if source is not None and source.name == "ENVIRONMENT" and _set_by_kubernetes(option):
        return (
            f"{message}. Kubernetes sets the variable for a service called forebay. Give the pod"
            " enableServiceLinks: false, or the service another name."
        )
    return f"{message}. See {context.command_path} -h."


def _set_by_kubernetes(option: object) -> bool:
    """Whether the variable of an option tells where a service is, as those of a pod do."""
    variable = option.envvar if isinstance(option, TyperOption) else None
    return isinstance(variable, str) and "://" in os.environ.get(variable, "")
