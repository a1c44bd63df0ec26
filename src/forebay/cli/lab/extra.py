"""What the lab needs and the broker does not."""

from __future__ import annotations

from importlib.util import find_spec

from forebay.errors import ForebayError

_EXTRA = ("starlette", "uvicorn")


class LabExtraMissing(ForebayError):
    """The lab needs more than the broker. Run: pip install starlette uvicorn"""


def require_extra() -> None:
    """Raise LabExtraMissing unless all is installed that the processes of a run need."""
    if not all(find_spec(name) for name in _EXTRA):
        raise LabExtraMissing
