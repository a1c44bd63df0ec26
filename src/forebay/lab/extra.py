"""What the lab needs and the broker does not."""

from __future__ import annotations

from importlib.util import find_spec

from forebay.errors import ForebayError

#: The libraries that its service outside is made with.
EXTRA = ("starlette", "uvicorn")


class LabExtraMissing(ForebayError):
    """The lab needs more than the broker. Run: pip install starlette uvicorn"""


def missing_extra() -> list[str]:
    """The libraries that are not installed of those that the processes of a run need."""
    return [name for name in EXTRA if find_spec(name) is None]


def require_extra() -> None:
    """Raise LabExtraMissing unless all is installed that the processes of a run need."""
    if missing_extra():
        raise LabExtraMissing
