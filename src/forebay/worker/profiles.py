"""Settings of a worker that belong together, by name."""

from __future__ import annotations

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.worker.scaling import Document002, ScalingPolicy
from forebay.worker.settings import WorkerSettings


class Profile(Struct, frozen=True, kw_only=True):
    """What to make a worker with: `Worker(…, settings=profile.settings, scaling=profile.scaling)`.

    `msgspec.structs.replace(profile.settings, …)` changes single settings.
    """

    settings: WorkerSettings
    scaling: ScalingPolicy


#: The numbers of source document 002, a consumer of queues of three priorities.
DOCUMENT_002 = Profile(
    settings=WorkerSettings(
        concurrency=100,
        concurrency_min=10,
        pollers=100,
        pollers_min=5,
        batch=10,
        wait_s=20,
        visibility_timeout_s=300,
        buffer_high=6_000,
        buffer_medium=5_000,
        buffer_low=4_000,
        scale_interval_s=5.0,
        attributes_interval_s=1.0,
    ),
    scaling=Document002(),
)

PROFILES = {"document-002": DOCUMENT_002}


def profile(name: str) -> Profile:
    """The profile of this name. Raises SettingsError when there is none."""
    try:
        return PROFILES[name]
    except KeyError:
        names = ", ".join(PROFILES)
        raise SettingsError(f"There is no worker profile {name!r}; there is {names}.") from None
