"""Whether this machine has what the lab needs, before anything is started."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from botocore.exceptions import BotoCoreError
from botocore.session import Session
from msgspec import Struct

from forebay.client.endpoint import REGION_VARIABLES
from forebay.lab.extra import EXTRA, missing_extra

#: The oldest Python. Source: pyproject.toml.
_PYTHON_MIN = (3, 11)


class Tool(Struct, frozen=True, kw_only=True):
    """One thing that the lab needs of this machine."""

    name: str
    #: What was found, or is missing.
    found: str
    here: bool = True
    #: Whether most of the lab works without it.
    optional: bool = False
    #: What to do when it is not here.
    advice: str = ""

    @property
    def stops(self) -> bool:
        """Whether the lab cannot go on without what is missing."""
        return not self.here and not self.optional


def check_python(version: tuple[int, int, int] = sys.version_info[:3]) -> Tool:
    """The interpreter that runs this."""
    least = ".".join(map(str, _PYTHON_MIN))
    return Tool(
        name="Python",
        found=f"{'.'.join(map(str, version))} in {sys.prefix}",
        here=version >= _PYTHON_MIN,
        advice=f"Forebay needs Python {least} or newer: make PYTHON=/path/to/python{least} venv",
    )


def check_extra() -> Tool:
    """The libraries that the lab's servers need."""
    missing = missing_extra()
    return Tool(
        name="libraries",
        found=f"without {', '.join(missing)}" if missing else ", ".join(EXTRA),
        here=not missing,
        advice="Run `make venv`, or: pip install starlette uvicorn",
    )


def check_port(host: str, port: int, lab_broker_url: str | None) -> Tool:
    """The port of the lab's broker: free, or its own."""
    name = f"port {port}"
    if lab_broker_url == f"http://{host}:{port}":
        return Tool(name=name, found="the lab's broker listens there")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Tool(
                name=name,
                found=f"cannot be listened on: {error.strerror}",
                here=False,
                advice="Stop what listens there, or choose another: forebay lab up --port 9400",
            )
    return Tool(name=name, found="free")


def check_directory(path: Path) -> Tool:
    """The directory for data, or the one that it will be made in."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    name = f"directory {path}"
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Tool(
            name=name,
            found=f"{there} cannot be written: {error.strerror}",
            here=False,
            advice="Go to a directory that you may write to, or name one with --data.",
        )
    return Tool(name=name, found="can be written")


def check_aws(environment: Mapping[str, str] = os.environ) -> list[Tool]:
    """What runs on Amazon SQS need: credentials and a region; and Terraform, which is optional."""
    session = Session()
    try:
        credentials = session.get_credentials()
        configured = session.get_config_variable("region")
        problem = "none were found"
    except BotoCoreError as error:
        credentials, configured, problem = None, None, f"cannot be read: {error}"
    region = next(
        (environment[name] for name in REGION_VARIABLES if environment.get(name)), configured
    )
    terraform = shutil.which("terraform", path=environment.get("PATH", ""))
    return [
        Tool(
            name="AWS credentials",
            found=f"from {credentials.method}" if credentials else problem,
            here=credentials is not None,
            advice="Run `aws configure` or `aws sso login`, or set AWS_PROFILE.",
        ),
        Tool(
            name="AWS region",
            found=str(region) if region else "none is set",
            here=bool(region),
            advice="Set AWS_REGION, or run `aws configure`.",
        ),
        Tool(
            name="terraform",
            found=terraform or "not on the PATH",
            here=terraform is not None,
            optional=True,
            advice="Only the queues on AWS need it: https://developer.hashicorp.com/terraform/install",
        ),
    ]
