"""What the applications' stores raise."""

from __future__ import annotations

from forebay.errors import ForebayError


class StoreError(ForebayError):
    """The store could not be read or written. See that its disk has room and can be written."""
