"""Settings of the whole suite."""

from __future__ import annotations

from hypothesis import settings

# The machine may be busy with other tests, so the time of an example says nothing of the code.
settings.register_profile("forebay", deadline=None, print_blob=True)
settings.load_profile("forebay")
